"""From one picture to another one of the same: shapes move between their two places, where a blend would show both."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
"""(h, w) or (h, w, c)."""

SIDE = 256
"""Pixels: optical flow is estimated in pictures not larger than this."""
ROUNDS = 3
"""Of looking up the flow where that what is in between comes from."""


class Morph:
    """Between two pictures, at a share of the way that may differ from place to place."""

    def __init__(self, first: Picture, second: Picture, share: Picture) -> None:
        """
        Args:
            first, second: (h, w, 3) RGB in [0, 1].
            share: (h, w) in [0, 1]: 0 where the first is shown, 1 where the second is.
        """
        small = _smaller(share)
        flow, here = _flow(first, second), _places(small.shape)
        between = flow
        for _ in range(ROUNDS):
            between = _read(flow, here - small[..., None] * between)
        size = share.shape[::-1]
        scale = np.divide(size, small.shape[::-1]).astype(np.float32)
        move = cv2.resize(between, size, interpolation=cv2.INTER_LINEAR) * scale
        here = _places(share.shape)
        self._share = share
        self._in_first, self._in_second = here - share[..., None] * move, here + (1 - share[..., None]) * move

    def of(self, first: Picture, second: Picture) -> Picture:
        """What is in between of two pictures or masks, each as large as those that were compared."""
        moved = _read(first, self._in_first), _read(second, self._in_second)
        return np.asarray(cv2.blendLinear(moved[1], moved[0], self._share, 1 - self._share))


def _flow(first: Picture, second: Picture) -> Picture:
    """(rows, columns, 2) x and y, of a smaller picture: what is at p in the first is at p + flow in the second."""
    grey = (np.round(cv2.cvtColor(_smaller(x), cv2.COLOR_RGB2GRAY).clip(0, 1) * 255) for x in (first, second))
    estimator: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(estimator.calc(*(x.astype(np.uint8) for x in grey), None), np.float32)


def _smaller(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def _places(size: tuple[int, ...]) -> Picture:
    """(h, w, 2) x and y of the pixels of a picture, as `cv2.remap` counts."""
    y, x = np.indices(size[:2], np.float32)
    return np.stack([x, y], -1)


def _read(picture: Picture, places: Picture) -> Picture:
    """A picture at places (h, w, 2); its border goes on."""
    empty: Any = None
    return np.asarray(cv2.remap(picture, places, empty, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
