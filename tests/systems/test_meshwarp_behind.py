"""What is behind a head that moves far."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from portrayal.face.topology import FACE_OVAL
from portrayal.media.image import to_tensor
from portrayal.systems import meshwarp
from portrayal.systems.meshwarp import animate
from portrayal.systems.meshwarp.behind import MOVED, moved_away, neck_moved
from portrayal.systems.meshwarp.mesh import Pose
from portrayal.systems.portrait_mesh import PortraitMesh
from portrayal.types import FaceParams, Portrait
from tests.systems.conftest import SIZE, draw, mean_params
from tests.systems.test_meshwarp import picture, turned

MODEL = meshwarp.build(meshwarp.Config.compact())
HAIR = (30, 20, 15)


def shifted(params: FaceParams, right: float, down: float) -> FaceParams:
    by = torch.tensor([right, down, 0.0])
    return params.replace(landmarks=params.landmarks + by, translation=params.translation + by)


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    """A face with black hair before a wall with a vertical line through the head, wearing red."""
    params = mean_params(SIZE)
    face, oval = draw(params), params.landmarks[0, list(FACE_OVAL), :2].numpy()
    inside = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(inside, [oval.round().astype(np.int32)], 1)
    scene = np.full((SIZE, SIZE, 3), (120, 150, 190), np.uint8)
    (x, y), low = oval.mean(0).astype(int).tolist(), int(oval[:, 1].max())
    scene[:, x - 4 : x + 4] = (240, 240, 90)
    scene[low + 20 :] = (190, 30, 40)
    cv2.rectangle(scene, (x - 18, low - 10), (x + 18, SIZE), (200, 150, 120), -1)
    cv2.ellipse(scene, (x, y - 10), (62, 76), 0, 0, 360, HAIR, -1)
    scene[inside > 0] = face[inside > 0]
    return Portrait(to_tensor(scene), params)


@pytest.fixture(scope="module")
def source(portrait: Portrait) -> animate.MeshwarpSource:
    return meshwarp.encode_source(MODEL, portrait)


def dark(frame: torch.Tensor) -> torch.Tensor:
    return frame[0].mean(0) < 0.2


def test_hair_goes_with_a_head_and_leaves_no_streak(portrait: Portrait, source: animate.MeshwarpSource) -> None:
    own, frame = picture(MODEL, source, portrait.params), picture(MODEL, source, shifted(portrait.params, 0, 44))
    top = int(dark(own).any(1).nonzero()[0])
    assert int(dark(frame).any(1).nonzero()[0]) == pytest.approx(top + 44, abs=5)
    columns = dark(own)[top + 20].nonzero()[[0, -1], 0]
    moved = dark(frame)[top + 64].nonzero()[[0, -1], 0]
    assert torch.equal((columns - moved).abs() < 4, torch.tensor([True, True]))


def test_the_background_stays_and_goes_on_where_the_head_was(
    portrait: Portrait, source: animate.MeshwarpSource
) -> None:
    frame = picture(MODEL, source, shifted(portrait.params, 20, 40))[0].movedim(0, -1)
    own = portrait.image[0].movedim(0, -1)
    top = int(dark(portrait.image).any(1).nonzero()[0])
    torch.testing.assert_close(frame[: top - 6, 4:-4], own[: top - 6, 4:-4], atol=0.03, rtol=0)
    uncovered = frame[top + 6 : top + 24]
    line = int((own[4, :, 2] < 0.5).nonzero().float().mean())
    assert float(uncovered[:, line, 2].mean()) < float(uncovered[:, line - 30, 2].mean()) - 0.15, "the line goes on"


def test_a_head_that_hardly_moves_is_one_mesh_with_what_is_around(source: animate.MeshwarpSource) -> None:
    near = shifted(source.portrait.params, MOVED[0] * source.pose.scale - 0.5, 0)
    pose, drawn = Pose.of(near, 0), torch.rand(1, 3, SIZE, SIZE)
    assert moved_away(source.pose, pose) == 0
    assert neck_moved(source.rings.neck, source.pose, pose) == 0
    assert PortraitMesh(source.portrait).lay_over(drawn, near, within=(0.2, 0.3)) is drawn


def test_frames_of_a_video_are_one_mesh_with_what_is_around(portrait: Portrait) -> None:
    moving, far = replace(portrait, moving=True), shifted(portrait.params, 0, 44)
    source = meshwarp.encode_source(MODEL, moving)
    assert animate.read_own(MODEL, source, far, 0).apart == 0
    drawn = torch.rand(1, 3, SIZE, SIZE)
    assert PortraitMesh(moving).lay_over(drawn, far, within=(0.1, 0.2)) is drawn


def test_the_outline_of_the_portrait_is_none_of_a_head_that_looks_elsewhere(source: animate.MeshwarpSource) -> None:
    far = shifted(source.portrait.params, source.pose.scale, 0)
    shares = [moved_away(source.pose, Pose.of(turned(far, yaw=yaw, roll=20), 0)) for yaw in (0, 18, 40)]
    assert shares[0] == 1
    assert 0 < shares[1] < 1
    assert shares[2] == 0


def test_what_others_draw_is_laid_over_the_background_with_the_meshs_neck(
    portrait: Portrait, source: animate.MeshwarpSource
) -> None:
    params = shifted(portrait.params, 0, -50)
    drawn = np.full((SIZE, SIZE, 3), (0, 1, 0), np.float32)
    laid = animate.lay_over(MODEL, source, drawn, params, 0, share=1)
    nose, chin = (params.landmarks[0, i, :2].int().tolist() for i in (1, 152))
    assert np.allclose(laid[nose[1], nose[0]], (0, 1, 0), atol=0.01)
    shown = animate.render_frame(MODEL, source, params, 0)
    assert np.abs(laid - shown)[chin[1] + 8 : chin[1] + 40, chin[0] - 8 : chin[0] + 8].max() < 0.02
    assert np.abs(laid - shown)[: nose[1], :6].max() < 0.02


def test_a_neck_that_rises_far_keeps_its_length(portrait: Portrait, source: animate.MeshwarpSource) -> None:
    def collar(frame: torch.Tensor, below: int, column: int) -> int:
        red = (frame[0, 0] - frame[0, 1] > 0.35)[below:, column]
        return int(red.nonzero()[0])

    chin = portrait.params.landmarks[0, 152, :2].int().tolist()
    rise = round(0.9 * source.pose.scale)
    before = collar(portrait.image, chin[1] - 4, chin[0] - 30)
    frame = picture(MODEL, source, shifted(portrait.params, 0, -rise))
    assert collar(frame, chin[1] - 4 - rise, chin[0] - 30) == pytest.approx(before, abs=0.25 * rise)
