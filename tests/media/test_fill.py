"""Filling in what a picture hides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrayal.media.fill import RIM, fill_in


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:120, :200]
    return np.hypot(columns - x, rows - y) < radius


def test_the_rim_of_a_hole_mirrors_what_is_beside_it_and_the_rest_stays() -> None:
    """A ramp with stripes, along the row through the middle."""
    y, x = np.mgrid[:240, :255]
    striped = np.stack([x, y, 110 + 60 * np.sin(x / 8)], -1).astype(np.uint8)
    hidden = np.hypot(x - 125, y - 120) < 100
    filled = fill_in(np.where(hidden[..., None], np.uint8(0), striped), hidden)
    assert np.array_equal(filled[~hidden], striped[~hidden])
    left, right = 25.5, 224.5  # borders of the hole in that row
    rim = np.arange(1, int(RIM * 100))
    for inside, beside in ((left + rim, left - rim), (right - rim, right + rim)):
        found, wanted = (x[120, at.round().astype(int)].astype(int) for x, at in ((filled, inside), (striped, beside)))
        assert len(rim) > 5
        assert np.abs(found[:, 0] - wanted[:, 0]).max() <= 7, "pixels beside the place"
        assert np.corrcoef(found[:, 2], wanted[:, 2])[0, 1] > 0.8
    middle = filled[100:140, 105:145].astype(int)
    assert np.ptp(middle[..., 2]) < 20, "no stripes, no seams"
    assert abs(middle[..., 0].mean() - 125) < 12


@given(st.integers(10, 190), st.integers(10, 110), st.integers(1, 90), st.tuples(*[st.integers(0, 255)] * 3))
def test_before_a_plain_wall_everything_becomes_the_wall(x: int, y: int, radius: int, colour: tuple[int, ...]) -> None:
    wall = np.broadcast_to(np.array(colour, np.uint8), (120, 200, 3))
    hidden = disc(x, y, radius)
    filled = fill_in(np.where(hidden[..., None], 255 - wall, wall), hidden)
    assert np.abs(filled.astype(int) - wall).max() <= 20


def test_nothing_hidden_is_nothing_changed() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    assert np.array_equal(fill_in(picture, np.zeros((20, 30), bool)), picture)


@pytest.mark.parametrize("size", [(32, 32), (1, 1)])
def test_a_picture_that_is_all_head_gets_its_mean_colour(size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    picture[:, size[1] // 2 :] = 100
    assert np.abs(fill_in(picture, np.ones(size, bool)).astype(int) - picture.mean()).max() <= 6
