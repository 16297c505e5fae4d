"""What is beyond the border of a picture that cuts a head: the head ends there, and what is behind it goes on.

A crop repeats the picture's last pixels where it leaves the picture (`media.crop`). Of a wall that is a wall, of hair
it is a bar, which would be seen where a head comes down or goes to the side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.media.crop import Crop
from portrayal.media.fill import fill_in
from portrayal.media.image import UInt8, to_tensor, to_uint8
from portrayal.media.matte import AWAY, HALO, NECK, SIDE, Matte
from portrayal.nn.rendering.head import head_distance
from portrayal.types import Portrait

Mask = NDArray[np.bool_]
Array = NDArray[np.float32]

ROUND = 1.1
"""Radii in the half axes of a head's rough shape, up to which a head goes on beyond the border that cuts it."""
HIGHEST = 0.3
"""Of the width at the border: heads that are wider than that shape go on so far."""
EDGE, DEEPER = 2, 10
"""Pixels of a matte below the border, where the head's width is taken: on the border itself colours are mixed."""
SOFT = 1.2
"""Standard deviation of the border of what goes on, in pixels of a matte."""
MIRRORED = 0.6
"""Of what is between the border and the face: what is seen beyond the border, as in a mirror."""


@dataclass(frozen=True)
class Cut:
    """One border of a picture, as if it were the upper one; all maps are (SIDE, SIDE) of the crop."""

    top: int
    """Rows of the crop above it."""
    inside: Mask
    """(SIDE,) which columns show the picture below it."""
    head: Mask
    """Where the head is."""
    radius: Array
    """Of places, in the half axes of the head's rough shape."""
    face: int
    """First row that shows the face itself."""

    @property
    def line(self) -> Mask:
        """(SIDE,) in which columns the border cuts the head."""
        return self.head[min(self.top + EDGE, SIDE - 1)] & self.inside

    def caps(self) -> tuple[Array, float]:
        """(SIDE, SIDE) 1 where the head goes on and below, and the largest height of that."""
        share, highest = np.zeros((SIDE, SIDE), np.float32), 0.0
        near, columns = np.flatnonzero(self.radius[self.top] < ROUND), np.flatnonzero(self.inside)
        for first, end in runs(self.line):
            if first == columns[0]:
                first = near.min(initial=first)
            if end == columns[-1] + 1:
                end = near.max(initial=end - 1) + 1
            middle, half = (first + end) / 2, (end - first) / 2
            height = min(self._missing(first, end), max(self._rest(int(middle)), HIGHEST * 2 * half)) - EDGE
            if height > 0:
                half *= (height / (height + EDGE)) ** 0.5
                y, x = np.indices((SIDE, SIDE)) + 0.5
                round_ = np.abs((x - middle) / half) ** 2 + ((self.top - y).clip(0) / height) ** 2 < 1
                share, highest = np.maximum(share, round_), max(highest, height)
        return share, highest

    def _rest(self, column: int) -> int:
        """Rows of the head's rough shape above the border."""
        return int((self.radius[: self.top, column] < ROUND).sum())

    def _missing(self, first: int, end: int) -> float:
        """Rows from where the head's width is taken to where a parabola through that and the width deeper ends."""
        deeper = self.head[min(self.top + DEEPER, SIDE - 1)]
        wider = max((b - a for a, b in runs(deeper) if a < end and b > first), default=0)
        more = wider**2 - (end - first) ** 2
        return (DEEPER - EDGE) * (end - first) ** 2 / more if more > 0 else np.inf

    def bars(self) -> Mask:
        """Where the border repeats the head."""
        wide = cv2.dilate(self.line.astype(np.uint8)[None], np.ones((1, 2 * HALO + 1), np.uint8))[0] > 0
        columns = np.flatnonzero(self.inside)
        wide[: columns[0]] |= wide[columns[0]]
        wide[columns[-1] :] |= wide[columns[-1]]
        bars = np.zeros((SIDE, SIDE), bool)
        bars[: self.top] = wide
        return bars


def close_head(portrait: Portrait, crop: Crop, size: tuple[int, int]) -> Portrait:
    """A portrait whose head ends beyond its picture's border, where it was a bar to the border of the crop.

    Args:
        portrait: b = 1, cut out by `crop` of a picture of (width, height) `size`.

    Returns:
        The portrait itself if no border cuts its head above the neck.
    """
    inside = _inside(crop, size, SIDE)
    if inside.all():
        return portrait
    matte = Matte.of(portrait, unseen=AWAY)
    above = matte.heights.cpu().numpy() < NECK
    radius = head_distance(portrait.params.camera, side=SIDE)[0, 0].sqrt().cpu().numpy()
    picture = to_uint8(portrait.image)[0]
    hidden, share, beyond = np.zeros_like(above), np.zeros(above.shape, np.float32), picture
    for turns in (0, 1, 3):  # every border but the lower one becomes the upper one
        cut = _cut(*(np.rot90(x, turns) for x in (inside, matte.person & above, radius, matte.face)))
        if cut is not None and cut.line.any():
            goes_on, height = cut.caps()
            hidden |= np.rot90(cut.bars(), -turns)
            share = np.maximum(share, np.rot90(goes_on, -turns))
            beyond = np.rot90(_mirrored(np.rot90(beyond, turns), cut, height), -turns)
    hidden &= above
    if not hidden.any():
        return portrait
    pixels = picture.shape[1::-1]
    hole = np.asarray(cv2.resize(hidden.astype(np.float32), pixels, interpolation=cv2.INTER_LINEAR)) > 0.02
    hole &= ~_inside(crop, size, len(picture))
    soft = cv2.resize(cv2.GaussianBlur(share, (0, 0), SOFT), pixels, interpolation=cv2.INTER_LINEAR)
    filled = fill_in(picture, hole, matte.in_front(portrait.image.shape[2:]) & ~hole)
    soft = np.asarray(soft)[..., None] * hole[..., None]
    closed = filled * (1 - soft) + beyond * soft
    return replace(portrait, image=to_tensor(closed.round().astype(np.uint8)).to(portrait.image))


def runs(line: Mask) -> list[tuple[int, int]]:
    """Where a line (n,) is true: first places and the places after the last ones."""
    ends = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]])))
    return list(zip(ends[::2].tolist(), ends[1::2].tolist(), strict=True))


def _inside(crop: Crop, size: tuple[int, int], side: int) -> Mask:
    """(side, side) where a crop shows its picture."""
    steps = (np.arange(side) + 0.5) * crop.size / side
    x, y = np.meshgrid(steps, steps)
    at = crop.inverse @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    return np.asarray(((at > 0) & (at < np.array(size)[:, None])).all(0).reshape(side, side))


def _cut(inside: Mask, head: Mask, radius: Array, face: Mask) -> Cut | None:
    """The upper border, if there is one in the crop; all maps (SIDE, SIDE)."""
    top = int(inside.any(1).argmax())
    columns = np.asarray(inside.any(0))
    return Cut(top, columns, head, radius, int(face.any(1).argmax())) if top > 0 else None


def _mirrored(picture: UInt8, cut: Cut, height: float) -> UInt8:
    """The picture (s, s, 3) with hair beyond the border, where that repeats its last row."""
    pixels = len(picture) / SIDE
    depth = MIRRORED * max(cut.face - cut.top, 0)
    rows = round(cut.top * pixels)
    up = (rows - np.arange(rows, dtype=np.float32)) * min(1, depth / max(height, 1))
    result = picture.copy()
    result[:rows] = picture[np.minimum(np.round(rows + up).astype(int), len(picture) - 1)]
    return result
