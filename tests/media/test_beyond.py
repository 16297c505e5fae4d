"""What is beyond the border that cuts a head."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from portrayal.face.camera import camera_from_pose
from portrayal.face.topology import FACE_OVAL
from portrayal.media.beyond import close_head
from portrayal.media.crop import Crop, apply_crop
from portrayal.media.image import to_tensor, to_uint8
from portrayal.types import Portrait
from tests.systems.conftest import SIZE, mean_params

WALL, HAIR, SKIN = (90, 110, 150), (60, 40, 25), (214, 168, 140)
MIDDLE, HALF = np.array((0.0, -12.0)), np.array((58.0, 74.0))
"""Of the head, in pixels from the middle of the face's oval."""


def scene(*, left: int = 0, top: int = 0, head: bool = True) -> tuple[Portrait, Crop, tuple[int, int], np.ndarray]:
    """A head before a wall with noise, of which a picture shows what is right of `left` and below `top`; the crop
    that shows all, the picture's size, and (SIZE, SIZE) bool where the head is."""
    params = mean_params(SIZE)
    oval = params.landmarks[0, list(FACE_OVAL), :2].numpy()
    places = np.stack(np.meshgrid(*(np.arange(SIZE) + 0.5,) * 2), -1) - oval.mean(0)
    picture = np.array(WALL) + np.random.default_rng(0).integers(-12, 12, (SIZE, SIZE, 3))
    hair = np.hypot(*np.moveaxis((places - MIDDLE) / HALF, -1, 0)) < 1
    skin = np.hypot(*np.moveaxis(places / (0.5 * np.ptp(oval, axis=0)), -1, 0)) < 1
    if head:
        picture[hair], picture[skin] = HAIR, SKIN
    shown = picture[top:, left:].astype(np.uint8)
    crop = Crop(np.array([[1.0, 0, left], [0, 1, top]]), SIZE)
    return Portrait(to_tensor(apply_crop(shown, crop)), params), crop, shown.shape[1::-1], hair | skin


def off_the_wall(picture: np.ndarray) -> np.ndarray:
    return np.abs(picture.astype(int) - WALL).max(-1)


def top_of_hair() -> int:
    _, _, _, head = scene()
    return int(head.any(1).argmax())


@pytest.mark.parametrize("cut", [12, 25, 40])
def test_a_head_that_the_upper_border_cuts_ends_about_where_it_did(cut: int) -> None:
    top = top_of_hair() + cut
    portrait, crop, size, head = scene(top=top)
    closed = close_head(portrait, crop, size)
    picture, before = to_uint8(closed.image)[0], to_uint8(portrait.image)[0]
    np.testing.assert_array_equal(picture[top:], before[top:])
    drawn = off_the_wall(picture[:top]) > 40
    assert (off_the_wall(before[:top]) > 40)[: top // 3].any()  # the bar
    assert not drawn[: top_of_hair() - 16].any()
    assert drawn[top - 3 : top, head[top]].mean() > 0.9
    assert (drawn & head[:top]).sum() / (drawn | head[:top]).sum() > 0.45
    assert closed.params is portrait.params


def test_a_head_that_a_side_cuts_ends_there_too() -> None:
    oval = mean_params(SIZE).landmarks[0, list(FACE_OVAL), 0]
    left = int(oval.mean()) - 40
    portrait, crop, size, head = scene(left=left)
    picture = to_uint8(close_head(portrait, crop, size).image)[0]
    above = slice(0, int(mean_params(SIZE).landmarks[0, 152, 1]) - 8)
    np.testing.assert_array_equal(picture[:, left:], to_uint8(portrait.image)[0][:, left:])
    drawn = off_the_wall(picture[above, :left]) > 40
    assert not drawn[:, : left - 40].any()
    assert (drawn & head[above, :left]).sum() / head[above, :left].sum() > 0.6


def test_what_is_copied_is_hair_and_not_the_face() -> None:
    top = top_of_hair() + 25
    portrait, crop, size, head = scene(top=top)
    picture = to_uint8(close_head(portrait, crop, size).image)[0]
    off = np.abs(picture[:top].astype(int) - HAIR).max(-1)
    assert np.median(off[top - 12 : top][head[top - 12 : top]]) < 8


def test_nothing_is_changed_where_no_border_cuts_the_head() -> None:
    whole, crop, size, _ = scene()
    assert close_head(whole, crop, size) is whole
    below, crop, size, _ = scene(top=top_of_hair() - 20)
    assert close_head(below, crop, size) is below


def test_shoulders_that_a_border_cuts_go_on() -> None:
    portrait, *_ = scene()
    picture = to_uint8(portrait.image)[0].copy()
    chin = int(portrait.params.landmarks[0, 152, 1])
    picture[chin + 20 :] = (160, 30, 40)
    shown = picture[:, 40:]
    crop = Crop(np.array([[1.0, 0, 40], [0, 1, 0]]), SIZE)
    cut = Portrait(to_tensor(apply_crop(shown, crop)), portrait.params)
    closed = close_head(cut, crop, (shown.shape[1], shown.shape[0]))
    torch.testing.assert_close(closed.image[..., chin + 20 :, :], cut.image[..., chin + 20 :, :])


def test_a_turned_head_is_closed_as_well() -> None:
    portrait, crop, size, _ = scene(top=top_of_hair() + 25)
    params = portrait.params
    camera = camera_from_pose(params.rotation, params.translation, params.scale, width=SIZE, height=SIZE)
    turned = Portrait(portrait.image, params.replace(camera=camera))
    assert close_head(turned, crop, size) is not turned
