"""Completing a picture with patches of itself."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from portrayal.media.exemplar import complete

RNG = np.random.default_rng(0)


def scene() -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """A picture, a hole in it, and a person in front of it."""
    picture = RNG.random((90, 120, 3), np.float32)
    y, x = np.mgrid[:90, :120]
    return picture, np.hypot(x - 60, y - 40) < 20, (y > 55) & (np.abs(x - 60) < 30)


def test_everything_hidden_is_copied_from_what_is_known_and_behind_the_person() -> None:
    picture, hole, person = scene()
    person &= ~hole
    completed = complete(picture, hole, person, picture)
    assert completed is not None
    n, m = completed.found.shape
    rows, columns = (np.arange(k) * side // k + side // (2 * k) for k, side in ((n, 90), (m, 120)))
    cells = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    assert completed.found[hole[rows][:, columns]].all()
    to = cells + np.moveaxis(completed.ways[..., ::-1], -1, 0).round().astype(int)
    at = to[:, completed.found]
    assert ((at >= 0) & (at < np.array([[90], [120]]))).all()
    assert not hole[*at].any()
    assert not person[*at].any()


def test_a_pattern_is_completed_as_it_was() -> None:
    y, x = np.mgrid[:90, :120]
    pattern = np.stack([((x // 6 + y // 6) % 2), (x // 6) % 2, (y // 6) % 2], -1).astype(np.float32)
    _, hole, _ = scene()
    torn = np.where(hole[..., None], np.float32(0.5), pattern)
    completed = complete(torn, hole, np.zeros_like(hole), torn)
    assert completed is not None
    filled, share = completed.enlarged(torn)
    assert float(share[hole].min()) > 0.99
    assert np.abs(filled - pattern)[hole].mean() < 0.1


def test_plain_places_are_copied_from_beside_each_other() -> None:
    """The one patch that is nearest in hue would come again and again, as a pattern of its grain."""
    grain = 0.02 * RNG.standard_normal((240, 320, 1)).astype(np.float32)
    picture = np.clip(np.float32([0.4, 0.5, 0.6]) + grain, 0, 1)
    y, x = np.mgrid[:240, :320]
    hole = np.hypot(x - 160, y - 110) < 60
    torn = np.where(hole[..., None], np.float32([0.4, 0.5, 0.6]), picture)
    completed = complete(torn, hole, np.zeros_like(hole), torn)
    assert completed is not None
    inner = completed.found[1:-1, 1:-1]
    same = [
        (np.abs(np.diff(completed.ways, axis=axis)).max(-1) < 1e-3)[1:-1, 1:-1][: len(inner) - 1, : inner.shape[1] - 1]
        for axis in (0, 1)
    ]
    assert np.mean([s[inner[:-1, :-1]].mean() for s in same]) > 0.6
    filled, _ = completed.enlarged(torn)
    deep = np.hypot(x - 160, y - 110) < 50
    assert filled[deep].std(0).mean() > 0.7 * grain.std(), "the grain is there"


@pytest.mark.parametrize("size", [(12, 12), (90, 120)])
def test_too_little_is_known(size: tuple[int, int]) -> None:
    picture, hole = RNG.random((*size, 3), np.float32), np.ones(size, bool)
    hole[0, 0] = False
    assert complete(picture, hole, np.zeros(size, bool), picture) is None


def test_the_same_picture_is_completed_in_the_same_way() -> None:
    picture, hole, person = scene()
    one, two = (complete(picture, hole, person & ~hole, picture) for _ in range(2))
    assert one is not None
    assert two is not None
    assert np.array_equal(one.ways, two.ways)
