"""What is behind a head that moves far."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from portrayal.systems import meshwarp
from portrayal.systems.meshwarp import animate
from portrayal.systems.meshwarp.behind import MOVED, moved_away, neck_moved, turned_away
from portrayal.systems.meshwarp.mesh import Pose
from portrayal.systems.portrait_mesh import PortraitMesh
from portrayal.types import FaceParams, Portrait
from tests.systems.conftest import SIZE
from tests.systems.test_meshwarp import picture, turned

MODEL = meshwarp.build(meshwarp.Config.compact())


def shifted(params: FaceParams, right: float, down: float) -> FaceParams:
    by = torch.tensor([right, down, 0.0])
    return params.replace(landmarks=params.landmarks + by, translation=params.translation + by)


@pytest.fixture(scope="module")
def source(haired: Portrait) -> animate.MeshwarpSource:
    return meshwarp.encode_source(MODEL, haired)


def dark(frame: torch.Tensor) -> torch.Tensor:
    return frame[0].mean(0) < 0.2


def test_hair_goes_with_a_head_and_leaves_no_streak(haired: Portrait, source: animate.MeshwarpSource) -> None:
    own, frame = picture(MODEL, source, haired.params), picture(MODEL, source, shifted(haired.params, 0, 44))
    top = int(dark(own).any(1).nonzero()[0])
    assert int(dark(frame).any(1).nonzero()[0]) == pytest.approx(top + 44, abs=5)
    columns = dark(own)[top + 20].nonzero()[[0, -1], 0]
    moved = dark(frame)[top + 64].nonzero()[[0, -1], 0]
    assert torch.equal((columns - moved).abs() < 4, torch.tensor([True, True]))


def test_the_background_stays_and_goes_on_where_the_head_was(haired: Portrait, source: animate.MeshwarpSource) -> None:
    frame = picture(MODEL, source, shifted(haired.params, 20, 40))[0].movedim(0, -1)
    own = haired.image[0].movedim(0, -1)
    top = int(dark(haired.image).any(1).nonzero()[0])
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


def test_frames_of_a_video_are_one_mesh_with_what_is_around(haired: Portrait) -> None:
    moving, far = replace(haired, moving=True), shifted(haired.params, 0, 44)
    source = meshwarp.encode_source(MODEL, moving)
    assert animate.read_skin(MODEL, source, far, 0).apart == 0
    drawn = torch.rand(1, 3, SIZE, SIZE)
    assert PortraitMesh(moving).lay_over(drawn, far, within=(0.1, 0.2)) is drawn


def test_how_far_a_head_has_turned_does_not_depend_on_its_place(source: animate.MeshwarpSource) -> None:
    far = shifted(source.portrait.params, source.pose.scale, 0)
    shares = [turned_away(source.pose, Pose.of(turned(far, yaw=yaw, roll=20), 0)) for yaw in (0, 17, 40)]
    assert shares[0] == 0
    assert 0 < shares[1] < 1
    assert shares[2] == 1


def test_what_others_draw_is_laid_over_the_background_with_the_meshs_neck(
    haired: Portrait, source: animate.MeshwarpSource
) -> None:
    params = shifted(haired.params, 0, -50)
    green = torch.tensor([0.0, 1.0, 0.0])[None, :, None, None].expand(1, 3, SIZE, SIZE)
    laid = PortraitMesh(haired).lay_over(green, params, within=(0.1, 0.2))[0].movedim(0, -1).numpy()
    nose, chin = (params.landmarks[0, i, :2].int().tolist() for i in (1, 152))
    assert np.allclose(laid[nose[1], nose[0]], (0, 1, 0), atol=0.01)
    shown = animate.render_frame(MODEL, source, params, 0)
    assert np.abs(laid - shown)[chin[1] + 8 : chin[1] + 40, chin[0] - 8 : chin[0] + 8].max() < 0.02
    assert np.abs(laid - shown)[: nose[1], :6].max() < 0.02


def test_a_neck_that_rises_far_keeps_its_length(haired: Portrait, source: animate.MeshwarpSource) -> None:
    def collar(frame: torch.Tensor, below: int, column: int) -> int:
        red = (frame[0, 0] - frame[0, 1] > 0.35)[below:, column]
        return int(red.nonzero()[0])

    chin = haired.params.landmarks[0, 152, :2].int().tolist()
    rise = round(0.9 * source.pose.scale)
    before = collar(haired.image, chin[1] - 4, chin[0] - 30)
    frame = picture(MODEL, source, shifted(haired.params, 0, -rise))
    assert collar(frame, chin[1] - 4 - rise, chin[0] - 30) == pytest.approx(before, abs=0.25 * rise)


def test_a_head_takes_none_of_its_wall_along(haired: Portrait) -> None:
    """It goes to the side over a wall that is dark; where it was, it was bright."""
    x, y = haired.params.landmarks[0, 5, :2].int().tolist()
    image = haired.image.clone()
    wall = ~((haired.image - haired.image[..., :1, :1]).abs().amax(1, keepdim=True) > 0.35)
    wall = wall.expand_as(image) & (torch.arange(SIZE) >= 0)
    image[wall] = 1.0
    image[..., x + 85 :] = torch.tensor([0.0, 0.5, 0.0]).view(1, 3, 1, 1)
    bright = meshwarp.encode_source(MODEL, replace(haired, image=image))
    frame = picture(MODEL, bright, shifted(haired.params, 70, 0))[0]
    row = frame[:, y - 60, x + 85 :]
    assert float(row.amin(0).max()) < 0.6, "no white beside the hair"


def test_a_head_that_has_half_left_its_place_has_no_band_around(haired: Portrait) -> None:
    """Before a white wall all is as dark as hair or as bright as the wall, but for a thin outline."""
    image = haired.image.clone()
    wall = (haired.image - haired.image[..., :1, :1]).abs().amax(1, keepdim=True) <= 0.35
    image[wall.expand_as(image)] = 1.0
    image[..., : int(dark(haired.image).any(1).nonzero()[0]), :] = 1.0  # a line on the wall
    bright = meshwarp.encode_source(MODEL, replace(haired, image=image))
    moved = shifted(haired.params, 0.5 * sum(MOVED) * bright.pose.scale, 0)
    assert 0.3 < moved_away(bright.pose, Pose.of(moved, 0)) < 0.7
    grey = picture(MODEL, bright, moved)[0, :, : int(haired.params.landmarks[0, 10, 1])].mean(0)
    assert float(((grey > 0.4) & (grey < 0.96)).float().mean()) < 0.01
