"""Scene cuts, found while the frames come in."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 32
LEAST = 10.0
"""Grey levels by which a picture changes at least at a cut, on average."""
RATIO = 2.0
"""A cut changes the picture this many times as much as the frames before it changed."""
ALIKE = 0.7
"""Correlation of two pictures from which on they show the same scene. Hectic motion and a moving camera leave 0.8 and
more between neighbouring frames; of pictures of different people 98 % correlate less than 0.62."""
MEMORY = 12
"""Frames whose changes are remembered."""


class CutFinder:
    """Call `step` with every frame in turn: is it the first one of a new scene?

    At 32 x 32 pixels, a cut changes the picture much, more than the frames before it changed, and leaves a picture that
    does not correlate with the one before. Fades, and jump cuts within one shot, are no cuts.
    """

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self._changes: deque[float] = deque(maxlen=MEMORY)

    def step(self, picture: NDArray[np.uint8]) -> bool:
        """
        Args:
            picture: (h, w, 3) uint8 RGB.
        """
        small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        last, self._last = self._last, small
        if last is None:
            return False
        change = float(np.abs(small - last).mean())
        usual = float(np.median(self._changes)) if self._changes else 0.0
        cut = change > max(LEAST, RATIO * usual) and _correlation(last, small) < ALIKE
        if cut:
            self._changes.clear()
        else:
            self._changes.append(change)
        return cut


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Of all values of two pictures; 0 where one of them has a single colour."""
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-6))
