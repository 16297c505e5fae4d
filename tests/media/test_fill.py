"""Filling in what a picture hides."""

from __future__ import annotations

import numpy as np

from portrayal.media.fill import fill_in


def test_what_is_hidden_goes_on_from_its_surroundings() -> None:
    """A ramp is what a membrane over a hole in it has; its other pixels stay."""
    y, x = np.mgrid[:120, :200]
    ramp = np.stack([x, y + 60, 230 - x // 2], -1).astype(np.uint8)
    hidden = np.hypot(x - 90, (y - 60) * 1.3) < 45
    broken = np.where(hidden[..., None], np.uint8(0), ramp)
    filled = fill_in(broken, hidden)
    assert np.array_equal(filled[~hidden], ramp[~hidden])
    wrong = np.abs(filled.astype(int) - ramp)[hidden]
    assert wrong.mean() < 3
    assert wrong.max() < 12
    assert np.array_equal(fill_in(ramp, np.zeros_like(hidden)), ramp)


def test_a_picture_that_is_all_head_gets_its_mean_colour() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, 16:] = 100
    assert np.abs(fill_in(picture, np.ones((32, 32), bool)).astype(int) - 50).max() <= 6
