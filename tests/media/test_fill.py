"""Filling in what a picture hides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portrayal.media.fill import fill_in


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:120, :200]
    return np.hypot(columns - x, rows - y) < radius


def test_stripes_go_on_through_a_hole_and_the_rest_stays() -> None:
    y, x = np.mgrid[:240, :255]
    striped = np.stack([110 + 60 * np.sin(x / 5), y, 110 + 60 * np.sin(x / 8)], -1).astype(np.uint8)
    hidden = np.hypot(x - 125, y - 120) < 70
    filled = fill_in(np.where(hidden[..., None], np.uint8(0), striped), hidden)
    assert np.array_equal(filled[~hidden], striped[~hidden])
    for colour in (0, 2):
        assert np.corrcoef(filled[hidden][:, colour], striped[hidden][:, colour])[0, 1] > 0.8


def test_a_slow_change_of_colour_has_no_seams() -> None:
    y, x = np.mgrid[:200, :200]
    ramp = np.stack([x, y, (x + y) / 2], -1).astype(np.uint8)
    hidden = disc(100, 60, 40)[:, :200]
    hidden = np.pad(hidden, ((40, 40), (0, 0)))
    filled = fill_in(np.where(hidden[..., None], np.uint8(0), ramp), hidden).astype(int)
    inside = hidden[1:, 1:] & hidden[:-1, :-1]
    for axis in (0, 1):
        steps = np.abs(np.diff(filled, axis=axis)).max(-1)
        assert int(steps[:199, :199][inside].max()) <= 10


def test_what_is_in_front_does_not_go_on_in_the_hole() -> None:
    """A head, which is hidden, on a red coat before a blue wall."""
    picture = np.empty((200, 200, 3), np.uint8)
    picture[...] = (40, 60, 200)
    y, x = np.mgrid[:200, :200]
    coat = (y > 130) & (np.abs(x - 100) < 60)
    picture[coat] = (220, 30, 30)
    hidden = np.hypot(x - 100, y - 90) < 50
    picture[hidden] = (200, 160, 130)
    red = [(fill_in(picture, hidden, given)[hidden & ~coat][:, 0] > 100).mean() for given in (None, coat)]
    assert red[1] < 0.01 < red[0]


@settings(deadline=None)
@given(st.integers(10, 190), st.integers(10, 110), st.integers(1, 90), st.tuples(*[st.integers(0, 255)] * 3))
def test_before_a_plain_wall_everything_becomes_the_wall(x: int, y: int, radius: int, colour: tuple[int, ...]) -> None:
    wall = np.broadcast_to(np.array(colour, np.uint8), (120, 200, 3))
    hidden = disc(x, y, radius)
    filled = fill_in(np.where(hidden[..., None], 255 - wall, wall), hidden)
    assert np.abs(filled.astype(int) - wall).max() <= 4


def test_frames_of_a_video_are_filled_in_alike() -> None:
    """Noise that changes from frame to frame changes copied patches, and hardly a membrane."""
    wall = np.random.default_rng(1).integers(40, 215, (6, 8, 3)).repeat(20, 0).repeat(20, 1)
    hidden = disc(80, 60, 34)[:, :160]
    frames = [
        np.clip(wall + np.random.default_rng(i).normal(0, 4, wall.shape), 0, 255).astype(np.uint8) for i in (2, 3)
    ]
    changes = []
    for smooth in (False, True):
        one, other = (fill_in(frame, hidden, smooth=smooth).astype(int) for frame in frames)
        changes.append(np.abs(one - other)[hidden].mean())
    assert changes[1] < 2 < changes[0]


def test_nothing_hidden_is_nothing_changed() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    assert np.array_equal(fill_in(picture, np.zeros((20, 30), bool)), picture)


@pytest.mark.parametrize("size", [(32, 32), (1, 1)])
def test_a_picture_that_is_all_head_gets_its_mean_colour(size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    picture[:, size[1] // 2 :] = 100
    assert np.abs(fill_in(picture, np.ones(size, bool)).astype(int) - picture.mean()).max() <= 6
