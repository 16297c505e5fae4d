"""Shapes between two pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portrayal.media.morph import Morph, Picture

SIZE = 200


def disc(x: float, y: float, *, size: int = SIZE) -> Picture:
    """White on a dark wall that has something to see."""
    wall = np.random.default_rng(0).uniform(0, 0.3, (size // 10, size // 10, 3)).astype(np.float32)
    picture = cv2.resize(wall, (size, size), interpolation=cv2.INTER_CUBIC)
    cv2.circle(picture, (round(x * 16), round(y * 16)), size * 4, (1, 1, 1), -1, cv2.LINE_AA, 4)
    return np.asarray(picture.clip(0, 1), np.float32)


def even(share: float, size: int = SIZE) -> Picture:
    return np.full((size, size), share, np.float32)


@settings(deadline=None, max_examples=20)
@given(st.floats(-8, 8), st.floats(-8, 8), st.floats(0.2, 0.8))
def test_a_disc_is_between_its_places_and_seen_once(x: float, y: float, share: float) -> None:
    first, second = disc(100, 100), disc(100 + x, 100 + y)
    between, truth = Morph(first, second, even(share)).of(first, second), disc(100 + share * x, 100 + share * y)
    error, blended = (np.abs(p - truth).mean() for p in (between, (1 - share) * first + share * second))
    assert error < max(0.4 * blended, 0.004)


@pytest.mark.parametrize("size", [100, 512])
def test_the_ends_are_the_pictures_themselves(size: int) -> None:
    first, second = disc(size / 2, size / 2, size=size), disc(size / 2 + 5, size / 2, size=size)
    share = even(0.0, size)
    share[:, size // 2 :] = 1
    mixed = Morph(first, second, share).of(first, second)
    np.testing.assert_allclose(mixed[:, : size // 2 - 8], first[:, : size // 2 - 8], atol=1e-4)
    np.testing.assert_allclose(mixed[:, size // 2 + 8 :], second[:, size // 2 + 8 :], atol=1e-4)


def test_masks_move_with_what_was_compared() -> None:
    first, second = disc(90, 100), disc(102, 100)
    morph = Morph(first, second, even(0.5))
    moved = morph.of(*(np.float32(x[..., 0] > 0.6) for x in (first, second)))
    truth = disc(96, 100)[..., 0] > 0.6
    assert moved.shape == truth.shape
    assert ((moved > 0.5) != truth).mean() < 0.005


def test_pictures_with_nothing_to_see_are_blended() -> None:
    grey, white = np.full((40, 60, 3), 0.4, np.float32), np.ones((40, 60, 3), np.float32)
    share = np.full((40, 60), 0.25, np.float32)
    np.testing.assert_allclose(Morph(grey, white, share).of(grey, white), 0.55, atol=1e-3)
