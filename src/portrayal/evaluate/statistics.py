"""Means over clips with bootstrap confidence intervals, and how a rater panel agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
"""Bootstrap samples: the ends of the interval are then good to about a tenth of its width."""
LEVEL = 0.95


@dataclass(frozen=True)
class Summary:
    """A mean with its interval."""

    mean: float
    low: float
    """2.5th percentile of the bootstrap; not a number with fewer than two clips."""
    high: float
    count: int
    """Clips."""


def summarise(values: Sequence[float], *, seed: int = 0) -> Summary:
    """The mean over clips and its percentile bootstrap interval (Efron 1979) with clips drawn with replacement.

    Frames of one clip are alike, so that clips, not frames, are what is drawn.

    Raises:
        ValueError: no value.
    """
    array = np.asarray(values, np.float64)
    if not len(array):
        raise ValueError("a mean needs at least one value")
    if len(array) < 2:
        return Summary(float(array.mean()), float("nan"), float("nan"), len(array))
    draws = np.random.Generator(np.random.PCG64(seed)).integers(len(array), size=(RESAMPLES, len(array)))
    means = array[draws].mean(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Summary(float(array.mean()), float(low), float(high), len(array))
