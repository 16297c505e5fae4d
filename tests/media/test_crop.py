"""The crop around a face: geometry against hand-made cases, pixels against OpenCV-free resampling."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from portrayal.face.camera import camera_from_pose, world_to_picture
from portrayal.face.pose import angles_to_rotation, head_to_picture
from portrayal.media.crop import (
    Crop,
    apply_crop,
    crop_around,
    params_to_crop,
    params_to_picture,
    picture_window,
    points_to_crop,
    points_to_picture,
)
from portrayal.types import FaceParams


def similarity(scale, angle, shift, size=64):
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return Crop(np.column_stack([turn, shift]), size)


crops = st.builds(
    similarity, st.floats(0.2, 4), st.floats(-3, 3), st.tuples(st.floats(-200, 200), st.floats(-200, 200)),
    st.integers(16, 64),
)  # fmt: skip


def face(t=1, seed=0):
    """(t, 478, 3) landmarks that fill the box (100, 200) to (160, 280) in every frame; eyes level."""
    points = torch.rand(t, 478, 3, generator=torch.Generator().manual_seed(seed)) * torch.tensor([60.0, 80, 30])
    points[:, 0], points[:, 1] = torch.tensor([0.0, 0, 0]), torch.tensor([60.0, 80, 0])
    for index, x in ((33, 8), (133, 24), (362, 36), (263, 52)):
        points[:, index] = torch.tensor([x, 30.0, 0])
    return points + torch.tensor([100.0, 200, 0])


def params(t=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    head = torch.randn(478, 3, generator=generator)
    rotation = angles_to_rotation(torch.randn(t, 3, generator=generator) * 0.3)
    translation = torch.randn(t, 3, generator=generator) * 20 + 150
    scale = torch.rand(t, generator=generator) * 20 + 30
    return FaceParams(
        landmarks=head_to_picture(head, scale, rotation, translation),
        identity=torch.randn(t, 80, generator=generator),
        expression=torch.randn(t, 64, generator=generator),
        rotation=rotation,
        translation=translation,
        scale=scale,
        gaze=torch.zeros(t, 2, 2),
        camera=camera_from_pose(rotation, translation, scale, width=300, height=300),
        eye_openness=torch.full((t, 2), 0.3),
        confidence=torch.ones(t),
    ), head


def test_one_picture():
    crop = crop_around(face(), size=512, scale=2, shift_y=0)
    corners = points_to_crop(torch.tensor([[130.0, 240], [130 - 80, 240 - 80], [130 + 80, 240 + 80]]), crop)
    assert torch.allclose(corners, torch.tensor([[256.0, 256], [0, 0], [512, 512]]), atol=1e-3)
    raised = crop_around(face(), size=512, scale=2, shift_y=-0.1)
    assert torch.allclose(points_to_crop(torch.tensor([130.0, 240]), raised), torch.tensor([256.0, 256 + 51.2]))


def test_one_crop_shows_all_frames_of_a_moving_head():
    moving = face(5) + torch.tensor([[0.0, 0, 0], [40, 0, 0], [-40, 10, 0], [200, 0, 0], [0, -20, 0]])[:, None]
    inside = points_to_crop(moving[..., :2], crop_around(moving, size=256, shift_y=-0.1))
    assert inside.min() >= 0
    assert inside.max() <= 256


def test_upright_levels_the_eyes():
    landmarks = face()
    middle, angle = torch.tensor([130.0, 240, 0]), 0.4
    roll = angles_to_rotation(torch.tensor([0.0, 0, angle]))
    rolled = (landmarks - middle) @ roll.T + middle
    crop = crop_around(rolled, upright=True)
    assert crop.angle == pytest.approx(-angle, abs=1e-4)
    eyes = points_to_crop(rolled, crop)[0, [33, 263], 1]
    assert eyes[0] == pytest.approx(float(eyes[1]), abs=1e-3)
    assert crop_around(rolled).angle == 0


@pytest.mark.parametrize(
    "landmarks", [torch.zeros(0, 478, 3), torch.full((1, 478, 3), torch.nan), torch.ones(1, 478, 3)]
)
def test_useless_landmarks(landmarks):
    with pytest.raises(ValueError, match="crop_around needs"):
        crop_around(landmarks)


def test_a_matrix_that_is_no_similarity():
    with pytest.raises(ValueError, match="similarity"):
        Crop(np.array([[1.0, 0, 0], [0, 2, 0]]), 64)


@given(crops)
def test_points_there_and_back(crop):
    points = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 100
    there = points_to_crop(points, crop)
    assert torch.allclose(points_to_picture(there, crop), points, atol=1e-6)
    assert torch.allclose(there[:, 2], points[:, 2] * crop.scale)


@pytest.mark.parametrize("angle", [0, 0.5])
@pytest.mark.parametrize("scale", [0.7, 1.0, 2.5])
def test_pixels_lie_where_points_say(scale, angle):
    """A crop of a smooth picture equals the picture's own function at the points that the matrix gives."""
    y, x = np.mgrid[0:120, 0:160] + 0.5
    image = np.stack([x, y, 100 + 50 * np.sin(x / 20)], -1).astype(np.uint8)
    crop = similarity(scale, angle, (10 - 40 * scale, 5 - 20 * scale), 64)
    crop = Crop(crop.matrix, 64)
    rows, columns = np.mgrid[0:64, 0:64] + 0.5
    at = crop.inverse @ np.stack([columns.ravel(), rows.ravel(), np.ones(64 * 64)])
    want = np.stack([map_coordinates(image[..., c].astype(float), [at[1] - 0.5, at[0] - 0.5], order=1, mode="nearest")
                     for c in range(3)], -1).reshape(64, 64, 3)  # fmt: skip
    assert np.abs(apply_crop(image, crop) - want).max() <= 2


def test_identity_crop_changes_no_pixel():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert np.array_equal(apply_crop(image, Crop(np.eye(2, 3), 64)), image)


def test_the_border_is_repeated():
    image = np.full((20, 20, 3), 90, np.uint8)
    image[:, -1] = 200
    crop = apply_crop(image, Crop(np.array([[1.0, 0, -15], [0, 1, 5]]), 32))
    assert (crop[:, 6:] == 200).all()
    far = apply_crop(image, Crop(np.array([[1.0, 0, 500], [0, 1, 0]]), 32))
    assert (far == 90).all()


def test_reducing_averages():
    """A checkerboard of single pixels becomes grey, not a pattern."""
    image = np.zeros((256, 256, 3), np.uint8)
    image[::2, ::2] = image[1::2, 1::2] = 200
    reduced = apply_crop(image, similarity(0.25, 0, (0, 0), 64))
    assert np.abs(reduced.astype(int) - 100).max() <= 2


@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_params_follow(angle):
    original, head = params()
    crop = similarity(1.7, angle, (-30, 12), 400)
    moved = params_to_crop(original, crop)
    assert torch.allclose(moved.landmarks, points_to_crop(original.landmarks, crop), atol=1e-3)
    again = head_to_picture(head, moved.scale, moved.rotation, moved.translation)
    assert torch.allclose(again, moved.landmarks, atol=2e-3)
    for name in ("identity", "expression", "gaze", "eye_openness", "confidence"):
        assert getattr(moved, name) is getattr(original, name)
    world = torch.zeros(2, 1, 3)
    seen = world_to_picture(world, original.camera, width=300, height=300)
    expected = camera_from_pose(moved.rotation, moved.translation, moved.scale, width=400, height=400)
    assert torch.allclose(moved.camera, expected)
    assert seen.isfinite().all()
    back = params_to_picture(moved, crop, width=300, height=300)
    for name in ("landmarks", "rotation", "translation", "scale", "camera"):
        assert torch.allclose(getattr(back, name), getattr(original, name), atol=2e-3), name


def test_repeated_border_is_not_picture():
    image = np.random.default_rng(0).random((60, 60, 3), dtype=np.float32)
    image[:10] = image[10]
    image[:, 52:] = image[:, 51:52]
    assert picture_window(image) == (0, 10, 52, 60)
    assert picture_window(np.ones((60, 60, 3), np.float32)) == (0, 0, 60, 60)
