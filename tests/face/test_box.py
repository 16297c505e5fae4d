"""Face boxes and crops: by hand, and against rotation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrayal.face.box import box_of_landmarks, crop_matrix, overlaps, transform_points, warp
from portrayal.face.morphable import load_face_model

MEAN = load_face_model().mean.numpy()


@given(roll=st.floats(-3.0, 3.0), scale=st.floats(10, 500), x=st.floats(-100, 1000), y=st.floats(-100, 1000))
def test_box_follows_the_face(roll, scale, x, y):
    upright = box_of_landmarks(MEAN)
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    points = MEAN.copy()
    points[:, :2] = scale * MEAN[:, :2] @ turn.T + [x, y]
    box = box_of_landmarks(points)
    assert box[2] == pytest.approx(scale * upright[2], rel=1e-4)
    assert np.sin(box[3] - roll - upright[3]) == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(box[:2], scale * turn @ upright[:2] + [x, y], atol=1e-3 * scale)


def test_crop_matrix_by_hand():
    """The box's centre goes to the crop's centre, its upper left corner to the origin."""
    matrix = crop_matrix(np.array([50.0, 40.0, 20.0, 0.0]), 10)
    np.testing.assert_allclose(matrix, [[0.5, 0, -20], [0, 0.5, -15]])
    turned = crop_matrix(np.array([50.0, 40.0, 20.0, np.pi / 2]), 10)
    # Clockwise by 90 degrees: the box's own right points down in the picture.
    np.testing.assert_allclose(turned @ [50, 50, 1], [10, 5], atol=1e-9)


def test_transform_points_scales_depth():
    points = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(transform_points(points, np.array([[2.0, 0, 1], [0, 2, 1]])), [[3, 5, 6]])


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_warp_keeps_half_pixel_centres(scale):
    """A ramp stays a ramp at the right place, also through the area-averaged reduction."""
    ramp = np.repeat(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))[..., None], 3, 2)
    size = int(64 * scale)
    out = warp(ramp, np.array([[scale, 0, 0], [0, scale, 0]]), (size, size))
    expected = ((np.arange(size) + 0.5) / scale - 0.5) * 4
    np.testing.assert_allclose(out[size // 2, 1:-1, 0], expected[1:-1], atol=1.5)


def test_overlaps_by_hand():
    a = np.array([[0.0, 0.0, 2.0, 0.0]])
    b = np.array([[1.0, 0.0, 2.0, 0.0], [5.0, 5.0, 1.0, 0.0]])
    np.testing.assert_allclose(overlaps(a, b), [[2 / 6, 0]])
