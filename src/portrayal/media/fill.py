"""Filling in what a picture hides."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.media.exemplar import SIDES, complete
from portrayal.media.image import UInt8

UNKNOWN = 1e-4
"""What a removed pixel counts beside a known one: nothing, but a picture that is all head has a colour, too."""
SWEEPS = 4
"""Of smoothing, at each resolution of a membrane."""
SEAM = 0.15
"""How deep the colours of a filled hole are those of its rim, of the depth of its middle; further in they fade out."""

Mask = NDArray[np.bool_]
Array = NDArray[np.float32]


def fill_in(picture: UInt8, hidden: Mask, foreign: Mask | None = None, *, smooth: bool = False) -> UInt8:
    """The picture with hidden pixels filled in from around them; the others stay as they are, bit for bit.

    What is copied there, from anywhere around, looks like the rest of the picture (`media.exemplar`), and its colours
    are made to go on those of the hole's rim. Where too little is known a membrane is stretched over the hole.

    Args:
        picture: (h, w, 3). hidden: (h, w).
        foreign: (h, w), what is in front of the picture without being hidden, as a person's neck and shoulders: it
            stays, but does not go on in the hole.
        smooth: a membrane alone, which is quick, and much the same in the next frame of a video.
    """
    if not hidden.any():
        return picture
    window = _around(hidden)
    part, hole = picture[window], hidden[window]
    strange = np.zeros_like(hole) if foreign is None else foreign[window] & ~hole
    shown = np.float32(1 / 255) * part
    behind = membrane(shown, hole | strange)
    completed = None if smooth else complete(shown, hole, strange, behind)
    if completed is None:
        filled = behind
    else:
        filled, share = completed.enlarged(shown)
        filled += _seam(shown - filled, hole, (share > 0.5) & ~strange)
    result = picture.copy()
    result[window] = np.where(hole[..., None], (255 * filled).round().clip(0, 255).astype(np.uint8), part)
    return result


def _around(hidden: Mask) -> tuple[slice, slice]:
    """Rows and columns with the hole and half as much on each side of it."""
    spans = []
    for axis in (1, 0):
        at = np.flatnonzero(hidden.any(axis))
        more = (at[-1] - at[0]) // 2 + 1
        spans.append(slice(max(0, at[0] - more), at[-1] + 1 + more))
    return spans[0], spans[1]


def _seam(off: Array, hole: Mask, copied: Mask) -> Array:
    """(h, w, 3) what is to be added to copies in a hole, which are off by so much on its rim."""
    depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    away = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    rim = copied & ~hole & (away < max(1.5, max(hole.shape) / SIDES[-1]))
    if not rim.any():
        return np.zeros_like(off)
    fade = (1 - depth / (SEAM * depth.max())).clip(0, 1)
    return membrane(off, ~rim) * fade[..., None]


def membrane(picture: Array, hidden: Mask) -> Array:
    """As smooth as what is around allows; from coarse to fine, at each resolution the unknown is the mean around it."""
    known = np.where(hidden, np.float32(UNKNOWN), np.float32(1))
    usual = np.average(picture, axis=(0, 1), weights=known).astype(np.float32)
    levels = [(np.where(hidden[..., None], usual, picture) * known[..., None], known)]
    while min(known.shape) > 1 and known.min() < 0.5:
        size = (known.shape[1] // 2, known.shape[0] // 2)
        colours, known = (np.asarray(cv2.resize(x, size, interpolation=cv2.INTER_AREA)) for x in levels[-1])
        levels.append((colours, known))
    filled = levels[-1][0] / levels[-1][1][..., None]
    for colours, known in reversed(levels):
        filled = np.asarray(cv2.resize(filled, known.shape[::-1], interpolation=cv2.INTER_LINEAR))
        for _ in range(SWEEPS):
            filled = colours + (1 - known)[..., None] * np.asarray(cv2.blur(filled, (3, 3)))
    return np.where(hidden[..., None], filled, picture)
