"""Filling in what a picture hides."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.media.image import UInt8

UNKNOWN = 1e-4
"""What a removed pixel counts beside a known one: nothing, but a picture that is all head has a colour, too."""
SWEEPS = 4
"""Of smoothing, at each resolution of a membrane and of the ways to what is mirrored,"""
BLUR = (9, 9)
"""over so many pixels there."""
MIRRORED = 160
"""Pixels that a hole and what is around it are seen with, along the longer side, to find these ways."""
RIM = 0.08
"""How deep a hole is mirrored in, of the depth of its middle; as far again it fades."""

Mask = NDArray[np.bool_]


def fill_in(picture: UInt8, hidden: Mask) -> UInt8:
    """The picture with hidden pixels filled in from around them; the others stay as they are, bit for bit.

    The rim of a hole, which is what a head uncovers when it moves, gets what is beside it, mirrored, and so as detailed
    as that is. Towards the middle, where mirrors would meet, a membrane is stretched over the hole. `cv2.inpaint` grows
    inwards from the border, which leaves seams in holes so large.

    Args:
        picture: (h, w, 3). hidden: (h, w).
    """
    if not hidden.any():
        return picture
    if hidden.all():
        return _membrane(picture, hidden)
    window = _around(hidden)
    part, hole = picture[window], hidden[window]
    depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    mirrored, lost = _mirrored(part, hole)
    inside = np.where(lost, np.float32(1), (depth / (RIM * depth.max()) - 1).clip(0, 1))
    filled = cv2.blendLinear(_membrane(mirrored, inside > 0), mirrored, inside, 1 - inside)
    result = picture.copy()
    result[window] = np.where(hole[..., None], filled, part)
    return result


def _around(hidden: Mask) -> tuple[slice, slice]:
    """Rows and columns with the hole and half as much on each side of it."""
    spans = []
    for axis in (1, 0):
        at = np.flatnonzero(hidden.any(axis))
        more = (at[-1] - at[0]) // 2 + 1
        spans.append(slice(max(0, at[0] - more), at[-1] + 1 + more))
    return spans[0], spans[1]


def _membrane(picture: UInt8, hidden: Mask) -> UInt8:
    """As smooth as what is around allows; from coarse to fine, at each resolution the unknown is the mean around it."""
    known = np.where(hidden, np.float32(UNKNOWN), np.float32(1))
    levels = [(picture * known[..., None], known)]
    while min(known.shape) > 1 and known.min() < 0.5:
        size = (known.shape[1] // 2, known.shape[0] // 2)
        colours, known = (np.asarray(cv2.resize(x, size, interpolation=cv2.INTER_AREA)) for x in levels[-1])
        levels.append((colours, known))
    filled = levels[-1][0] / levels[-1][1][..., None]
    for colours, known in reversed(levels):
        filled = np.asarray(cv2.resize(filled, known.shape[::-1], interpolation=cv2.INTER_LINEAR))
        for _ in range(SWEEPS):
            filled = colours + (1 - known)[..., None] * np.asarray(cv2.blur(filled, (3, 3)))
    return np.where(hidden[..., None], filled.round().clip(0, 255).astype(np.uint8), picture)


def _mirrored(picture: UInt8, hidden: Mask) -> tuple[UInt8, Mask]:
    """What is hidden, mirrored at the nearest border of the hole.

    Returns:
        (h, w, 3), and (h, w) where that is itself hidden.
    """
    h, w = hidden.shape
    factor = min(1.0, MIRRORED / max(h, w))
    size = (max(1, round(w * factor)), max(1, round(h * factor)))
    hole = cv2.resize(hidden.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    hole[0, 0] &= not hole.all()
    depth, labels = cv2.distanceTransformWithLabels(
        hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    own = np.indices(hole.shape, np.float32)  # y, x
    border = np.zeros((2, labels.max() + 1), np.float32)
    border[:, labels[~hole]] = own[:, ~hole]
    ways = exact = 2 * (border[:, labels] - own)
    for _ in range(SWEEPS):
        ways = np.stack([np.asarray(cv2.blur(way, BLUR)) for way in ways])
    ways = exact + (depth / BLUR[0]).clip(0, 1) * (ways - exact)
    y, x = np.indices((h, w), np.float32)
    dy, dx = (np.asarray(cv2.resize(way, (w, h))) for way in ways)
    places = (x + dx * np.float32(w / size[0]), y + dy * np.float32(h / size[1]))
    mirrored, lost = (
        np.asarray(cv2.remap(seen, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))
        for seen in (picture, hidden.astype(np.float32))
    )
    return np.where(hidden[..., None], mirrored, picture), hidden & (lost > 0)
