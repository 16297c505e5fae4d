"""Completing a picture with patches of itself.

Y. Wexler, E. Shechtman, M. Irani: "Space-Time Completion of Video", PAMI 29 (3), 2007, for one picture: every patch
over a hole shall look like a known one, from coarse to fine. At the resolutions used here all known patches can be
looked at, in one matrix product. Hues are found there; detail is copied in the resolution of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.intp]

SIDES = (20, 32, 52, 84)
"""Longer sides in pixels of the resolutions, one after the other."""
PATCH = 7
REACH = PATCH // 2
NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
ROUNDS = 3
"""Of finding and copying, at each resolution."""
FEWEST = 30
"""Known patches from which others can be made."""
TRUST = 1.3
"""By this factor the colour of a pixel counts less than that of its neighbour which is nearer to what is known."""
COHERENT = 5
"""Times that a patch is moved to what is beside its neighbour's, at the last resolution,"""
LIKE = 0.03
"""where colours in [0, 1] are off by no more than that for it. Otherwise plain places would all be copies of the one
patch that is nearest to them, and its detail a pattern."""
NEARER = 0.06
"""A patch as far away as the picture is long counts as one whose colours, in [0, 1], are off by that."""


@dataclass(frozen=True)
class Completed:
    """A picture whose hole is filled, in a low resolution, and where its detail is copied from."""

    hues: Array
    """(n, m, 3) in [0, 1]."""
    ways: Array
    """(n, m, 2) x and y, pixels of the picture, from a cell's middle to that of what it is copied from."""
    found: Mask
    """(n, m): the cells in and around the hole that have one."""

    def enlarged(self, picture: Array) -> tuple[Array, Array]:
        """The hole in the resolution of the picture.

        Args:
            picture: (h, w, 3) in [0, 1].

        Returns:
            (h, w, 3), and how far each pixel is completed, (h, w) in [0, 1]. Copies pass into each other between cells.
        """
        (h, w), (n, m) = picture.shape[:2], self.found.shape
        hues = np.asarray(cv2.resize(self.hues, (w, h)))
        detail = picture - hues
        y, x = np.indices((h, w), np.float32)
        across, down = (x + 0.5) * m / w - 0.5, (y + 0.5) * n / h - 0.5
        total, weights = np.zeros((h, w, 3), np.float32), np.zeros((h, w), np.float32)
        for column in (np.floor(across), np.floor(across) + 1):
            for row in (np.floor(down), np.floor(down) + 1):
                cell = row.clip(0, n - 1).astype(int), column.clip(0, m - 1).astype(int)
                share = (1 - np.abs(across - column)) * (1 - np.abs(down - row)) * self.found[cell]
                way = self.ways[cell]
                places = (x + way[..., 0], y + way[..., 1])
                copy = cv2.remap(detail, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
                total += share[..., None] * copy
                weights += share
        return hues + total / weights.clip(1e-6)[..., None], weights


@dataclass(frozen=True)
class Level:
    """A picture in one resolution."""

    picture: Array
    """(n, m, 3) in [0, 1]; anything in the hole."""
    hole: Mask
    foreign: Mask
    """(n, m) each."""

    @classmethod
    def of(cls, picture: Array, hole: Mask, foreign: Mask, side: int) -> Level:
        h, w = hole.shape
        factor = side / max(h, w)
        size = (max(PATCH + 2, round(w * factor)), max(PATCH + 2, round(h * factor)))
        known = np.where(hole, np.float32(0), np.float32(1))
        colours, shares, strange = (
            np.asarray(cv2.resize(x, size, interpolation=cv2.INTER_AREA))
            for x in (picture * known[..., None], known, foreign.astype(np.float32))
        )
        return cls(colours / shares.clip(1e-4)[..., None], shares < 0.999, strange > 1e-3)

    @cached_property
    def patches(self) -> Mask:
        """(n, m): middles of patches that are known in all pixels."""
        unknown = (self.hole | self.foreign).astype(np.uint8)
        unknown = np.pad(unknown, REACH, constant_values=1)
        near = np.asarray(cv2.dilate(unknown, np.ones((PATCH, PATCH), np.uint8)))
        return near[REACH:-REACH, REACH:-REACH] == 0

    @cached_property
    def wanted(self) -> Mask:
        """(n, m): middles of patches with a pixel of the hole."""
        return np.asarray(cv2.dilate(self.hole.astype(np.uint8), np.ones((PATCH, PATCH), np.uint8))) > 0

    @cached_property
    def trust(self) -> Array:
        """(n, m): 1 where a colour is known, less and less into the hole."""
        depth = cv2.distanceTransform(self.hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        return np.asarray(TRUST ** -np.minimum(depth, 30), np.float32)

    def complete(self, guess: Array) -> tuple[Array, Numbers, Numbers]:
        """
        Args:
            guess: (n, m, 3) of the picture, also in the hole.

        Returns:
            The completed picture (n, m, 3); the places of the wanted patches, and of those they are copied from,
            (2, k) rows and columns each.
        """
        from_, to = np.stack(np.nonzero(self.patches)), np.stack(np.nonzero(self.wanted))
        known, weights = _patches(self.picture, from_), self._weights(to)
        still = weights @ np.square(known).T + 3 * NEARER**2 * _squared_distances(to, from_) / max(self.hole.shape) ** 2
        result, trust = np.where(self.hole[..., None], guess, self.picture), self.trust[*to]
        nearest = np.zeros(to.shape[1], np.intp)
        for _ in range(ROUNDS):
            nearest = (still - 2 * (weights * _patches(result, to)) @ known.T).argmin(1)
            made = _overlaid(known[nearest], to, trust, self.hole.shape)
            result = np.where(self.hole[..., None], made, self.picture)
        return result, to, from_[:, nearest]

    def cohere(self, result: Array, to: Numbers, from_: Numbers) -> tuple[Array, Numbers]:
        """Patches that are beside each other copied from beside each other, where that is about as good.

        Args:
            result, to, from_: as of `complete`.

        Returns:
            The picture and `from_` anew.
        """
        wanted, weights = _patches(result, to), self._weights(to)

        def off(at: Numbers, which: Mask) -> Array:
            return np.sum(weights[which] * np.square(_patches(self.picture, at[:, which]) - wanted[which]), 1)

        every = np.ones(to.shape[1], np.bool_)
        allowed = off(from_, every) + 3 * LIKE**2
        none = max(self.hole.shape)  # a way that leads nowhere
        ways = np.full((*(side + 2 for side in self.hole.shape), 2), none, np.intp)  # with a border
        own = (from_ - to).T
        ways[*to + 1] = own
        for _ in range(COHERENT):
            around = [ways[*to + 1 + np.array(shift)[:, None]] for shift in NEIGHBOURS]
            agreed = _agreement(own, around)
            for way in around:
                place, more = to + way.T, _agreement(way, around)
                inside = ((place >= 0) & (place < np.array(self.hole.shape)[:, None])).all(0)
                better = inside & (more > agreed)
                better[better] = self.patches[*place[:, better]]
                better[better] = off(place, better) <= allowed[better]
                own, agreed = np.where(better[:, None], way, own), np.where(better, more, agreed)
            ways[*to + 1] = own
        from_ = to + own.T
        made = _overlaid(_patches(self.picture, from_), to, self.trust[*to], self.hole.shape)
        return np.where(self.hole[..., None], made, self.picture), from_

    def _weights(self, to: Numbers) -> Array:
        """(k, 3 PATCH^2) what each pixel of wanted patches counts; the sum of each channel is 1."""
        weights = _patches((self.trust * ~(self.foreign & ~self.hole))[..., None], to)
        return np.tile(weights / weights.sum(1, keepdims=True).clip(1e-6), (1, 3))


def complete(picture: Array, hole: Mask, foreign: Mask, guess: Array) -> Completed | None:
    """A picture with its hole filled by patches from around it.

    Args:
        picture: (h, w, 3) in [0, 1]. hole: (h, w). foreign: (h, w), what is not to be copied and need not go on in the
            hole. guess: (h, w, 3) of the picture without both.

    Returns:
        None: too little of the picture is known.
    """
    result, last = guess, None
    for side in SIDES:
        level = Level.of(picture, hole, foreign, min(side, max(hole.shape)))
        if level.patches.sum() < FEWEST:
            continue
        n, m = level.hole.shape
        smaller = result.shape[0] > n
        shown = cv2.resize(result, (m, n), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        result, to, from_ = level.complete(np.asarray(shown, np.float32))
        last = (level, to, from_)
        if side >= max(hole.shape):
            break
    if last is None:
        return None
    level, to, from_ = last
    result, from_ = level.cohere(result, to, from_)
    ways = np.zeros((*level.hole.shape, 2), np.float32)
    ways[*to] = np.round((from_ - to)[::-1].T * np.divide(hole.shape, level.hole.shape)[::-1])  # in between is softer
    return Completed(result, ways, level.wanted)


def _agreement(ways: Numbers, around: list[Numbers]) -> Numbers:
    """(k,) how many of the ways (k, 2) around each place are the one given for it."""
    return np.sum([(way == ways).all(1) for way in around], 0)


def _squared_distances(a: Numbers, b: Numbers) -> Array:
    """(k, l) between places (2, k) and (2, l)."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    return np.square(a).sum(0)[:, None] + np.square(b).sum(0) - 2 * a.T @ b


def _patches(picture: Array, at: Numbers) -> Array:
    """(k, c PATCH^2) around places (2, k) of a picture (n, m, c); its border goes on outside."""
    padded = np.pad(picture, ((REACH, REACH), (REACH, REACH), (0, 0)), mode="edge")
    windows = sliding_window_view(padded, (PATCH, PATCH), axis=(0, 1))
    return np.ascontiguousarray(windows[*at]).reshape(at.shape[1], PATCH**2 * picture.shape[2])


def _overlaid(patches: Array, at: Numbers, shares: Array, size: tuple[int, int]) -> Array:
    """(n, m, 3) the weighted mean of patches (k, 3 PATCH^2) around places (2, k)."""
    n, m = size
    total = np.zeros((n + 2 * REACH, m + 2 * REACH, 4), np.float32)
    square = patches.reshape(-1, 3, PATCH, PATCH)
    for down in range(PATCH):
        for across in range(PATCH):
            # Every place comes once, so that nothing is lost.
            total[at[0] + down, at[1] + across, :3] += shares[:, None] * square[:, :, down, across]
            total[at[0] + down, at[1] + across, 3] += shares
    inner = total[REACH:-REACH, REACH:-REACH]
    return inner[..., :3] / inner[..., 3:].clip(1e-6)
