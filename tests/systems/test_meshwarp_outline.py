"""The outline of a face, and what its oval hides behind it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrayal.face.topology import FACE_OVAL
from portrayal.systems.meshwarp.mesh import Face
from portrayal.systems.meshwarp.outline import beyond_oval, face_mask, skull_outline
from tests.systems.conftest import SIZE, mean_params
from tests.systems.test_meshwarp import turned

OVAL = list(FACE_OVAL)


def landmarks(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    return Face.of(turned(mean_params(SIZE), yaw=yaw, pitch=pitch, roll=roll), 0).landmarks


@given(st.floats(-50, 50), st.floats(-25, 25), st.floats(-40, 40))
def test_the_oval_and_what_is_beyond_it_reach_the_hull(yaw: float, pitch: float, roll: float) -> None:
    points = landmarks(yaw, pitch, roll)
    hull = cv2.convexHull(points[:468, :2].astype(np.float32))
    for x, y in points[OVAL, :2] + beyond_oval(points):
        assert abs(cv2.pointPolygonTest(hull, (float(x), float(y)), True)) < 0.05


@pytest.mark.parametrize("yaw", [-35.0, 35.0])
def test_only_the_far_side_of_a_face_hides_its_oval(yaw: float) -> None:
    ahead, points = np.linalg.norm(beyond_oval(landmarks()), axis=1), landmarks(yaw)
    beyond = np.linalg.norm(beyond_oval(points), axis=1)
    far = points[OVAL, 2] > np.median(points[OVAL, 2])
    assert ahead.max() < 5
    assert beyond[far].max() > 12
    assert beyond[~far].max() < 5


def test_points_that_are_all_in_one_place_have_nothing_beyond() -> None:
    assert np.array_equal(beyond_oval(np.full((478, 3), 7.0)), np.zeros((36, 2)))


def test_the_mask_of_a_face_is_soft_and_inside() -> None:
    points = landmarks(20.0)
    mask = face_mask(points, (SIZE, SIZE))
    inside = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(inside, [np.round(cv2.convexHull(points[:468, :2].astype(np.float32))).astype(np.int32)], 1)
    assert mask[inside == 0].max() < 0.5
    x, y = points[:468, :2].mean(0).astype(int)
    assert mask[y, x] == 1
    assert np.abs(np.diff(mask, axis=0)).max() < 0.2


def test_a_skull_is_around_its_middle_and_ends_below_the_ears() -> None:
    around = skull_outline(np.array([0.1, 0.2, 0.3]))
    assert np.allclose(around[:, 2], 0.3)
    assert around[:, 1].max() < 0.2 + 0.66
    assert around[:, 0].min() < 0.1 - 0.9
    assert around[:, 0].max() > 0.1 + 0.9
