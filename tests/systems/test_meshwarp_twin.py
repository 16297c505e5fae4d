"""The half of a face that a portrait shows from the side."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from portrayal.face.morphable import load_face_model
from portrayal.face.topology import FACE_OVAL
from portrayal.media.image import to_tensor
from portrayal.systems import meshwarp
from portrayal.systems.meshwarp import animate
from portrayal.systems.meshwarp.mesh import Face, Pose
from portrayal.systems.meshwarp.outline import beyond_oval
from portrayal.systems.meshwarp.twin import turned_back
from portrayal.types import FaceParams, Portrait
from tests.systems.conftest import SIZE, mean_params
from tests.systems.test_meshwarp import picture, turned

MODEL = meshwarp.build(meshwarp.Config.compact())


def drawn(params: FaceParams) -> np.ndarray:
    """(256, 256, 3) a face that is alike on both sides, in front of blue."""
    face, model = Face.of(params, 0), load_face_model()
    points, triangles = face.landmarks, model.triangles.cpu().numpy()
    head = face.pose.picture_to_head(points)
    canvas = np.full((SIZE, SIZE, 3), (20, 30, 160), np.uint8)
    for corners in triangles[np.argsort(-points[triangles][..., 2].mean(1))]:
        x, y, _ = head[corners].mean(0)
        colour = (250 - 180 * abs(x), 140 + 70 * np.sin(9 * y), 60 + 150 * abs(x))
        polygon = np.round(points[corners, :2] * 16 - 8).astype(np.int32)
        cv2.fillConvexPoly(canvas, polygon, colour, cv2.LINE_8, 4)
    return canvas


def halves(params: FaceParams) -> tuple[np.ndarray, np.ndarray]:
    """(256, 256) bool: the face on the person's right, which is left in the picture, and on the left."""
    oval = params.landmarks[0, list(FACE_OVAL), :2].numpy()
    face = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(face, [oval.round().astype(np.int32)], 1)
    middle = params.landmarks[0, [10, 152], 0].mean().item()
    columns = np.arange(SIZE)
    inside = cv2.erode(face, np.ones((9, 9), np.uint8)) > 0
    return inside & (columns < middle - 4), inside & (columns > middle + 4)


@pytest.mark.parametrize("yaw", [-50.0, 50.0])
def test_a_portrait_from_the_side_that_looks_ahead_has_two_halves(yaw: float, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = mean_params(SIZE)
    aside = turned(ahead, yaw=yaw)
    source = meshwarp.encode_source(MODEL, Portrait(to_tensor(drawn(aside)), aside))
    truth = drawn(ahead) / 255.0
    shown = [picture(MODEL, source, ahead)[0].movedim(0, -1).numpy()]
    monkeypatch.setattr(animate, "turned_back", lambda *poses: 0.0)
    shown.append(picture(MODEL, source, ahead)[0].movedim(0, -1).numpy())
    with_twin, without = (np.abs(frame - truth).mean(-1) for frame in shown)
    visible = int(Face.of(aside, 0).landmarks[[234, 454], 2].argmin())  # the cheek that is nearer
    near, far = halves(ahead)[:: 1 if visible == 0 else -1]
    assert with_twin[far].mean() < 0.6 * without[far].mean()
    assert with_twin[near].mean() < without[near].mean() + 0.005


def test_only_what_turns_back_from_the_side_has_a_twin() -> None:
    ahead = mean_params(SIZE)
    poses = {yaw: Pose.of(turned(ahead, yaw=yaw), 0) for yaw in (-30, -12, 0, 3, 5, 12, 30, 50)}
    assert turned_back(poses[30], poses[0]) == 1
    assert 0.4 < turned_back(poses[50], poses[30]) < 0.8
    assert turned_back(poses[-30], poses[5]) == 1
    assert turned_back(poses[12], poses[-12]) == 1
    for before, now in ((0, 30), (3, -30), (30, 30), (30, 50), (-30, -30)):
        assert turned_back(poses[before], poses[now]) == 0


def test_what_is_taken_from_the_other_half_counts_as_known() -> None:
    """Systems that draw where the portrait shows nothing leave it (`portrait_detail`)."""
    ahead = mean_params(SIZE)
    aside = turned(ahead, yaw=50.0)
    source = meshwarp.encode_source(MODEL, Portrait(torch.rand(1, 3, SIZE, SIZE), aside))
    reading = animate.read_skin(MODEL, source, ahead, 0)
    assert reading.twin is not None
    taken = reading.twin.share > 0.9
    assert taken.mean() > 0.02
    assert np.median(reading.density[taken]) > 0.3


@pytest.mark.parametrize("yaw", [-30.0, 30.0])
def test_what_is_beside_a_face_joins_it_where_the_portrait_hides_its_edge(yaw: float) -> None:
    """The cheek covers the far edge of the oval; what is drawn beside that edge must not be more cheek."""
    ahead = mean_params(SIZE)
    aside = turned(ahead, yaw=yaw)
    source = meshwarp.encode_source(MODEL, Portrait(to_tensor(drawn(aside)), aside))
    frame = picture(MODEL, source, ahead)[0]
    oval = ahead.landmarks[0, list(FACE_OVAL), :2]
    middle = oval.mean(0)
    hidden = torch.from_numpy(np.linalg.norm(beyond_oval(Face.of(aside, 0).landmarks), axis=1) > 4)
    assert 4 < hidden.sum() < 20
    out = (oval + 6 * torch.nn.functional.normalize(oval - middle, dim=1))[hidden].int()
    colours = frame[:, out[:, 1], out[:, 0]]
    assert (colours[2] > colours[0] + 0.1).float().mean() > 0.8, "the wall is blue"


def test_hair_that_only_one_side_shows_is_on_both(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = mean_params(SIZE)
    aside = turned(ahead, yaw=45.0)
    near = -1.0 if aside.landmarks[0, 234, 2] < aside.landmarks[0, 454, 2] else 1.0
    scene = np.full((SIZE, SIZE, 3), (120, 150, 190), np.uint8)
    x, y = aside.landmarks[0, list(FACE_OVAL), :2].mean(0).int().tolist()
    cv2.ellipse(scene, (x + int(near * 34), y - 16), (52, 68), 0, 0, 360, (30, 20, 15), -1)
    head = drawn(aside)
    scene[head[..., 0] > 40] = head[head[..., 0] > 40]
    source = meshwarp.encode_source(MODEL, Portrait(to_tensor(scene), aside))
    far = ahead.landmarks[0, 127 if near > 0 else 356, :2] - torch.tensor([near * 10, 10])
    (left, top), size = (far - torch.tensor([2, 10])).int().tolist(), (20, 5)

    def brightness() -> float:
        frame = picture(MODEL, source, ahead)[0]
        return float(frame[:, top : top + size[0], left : left + size[1]].mean())

    assert brightness() < 0.4
    monkeypatch.setattr(animate, "turned_back", lambda *poses: 0.0)
    assert brightness() > 0.5
