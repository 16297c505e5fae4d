"""Filling in what a picture hides."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.media.image import UInt8

UNKNOWN = 1e-4
"""What a removed pixel counts beside a known one: nothing, but a picture that is all head has a colour, too."""
SWEEPS = 4
"""Of smoothing at each resolution."""


def fill_in(picture: UInt8, hidden: NDArray[np.bool_]) -> UInt8:
    """The picture with hidden pixels filled in as smoothly as the others allow; these stay as they are, bit for bit.

    From coarse to fine: at each resolution what is not known is the mean around it (a membrane that is stretched over
    the hole). `cv2.inpaint` grows inwards from the border, which leaves a seam in the middle of holes so large.

    Args:
        picture: (h, w, 3). hidden: (h, w).
    """
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
