"""Structural similarity (Wang et al. 2004) and its multi-scale form (Wang et al. 2003), as functions.

Only windows that lie inside the picture count, as in the authors' code and scikit-image; torchmetrics counts windows
over a mirrored border too, and its convolutions are ten times slower on a CPU than the two products with a banded
matrix here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW = 11
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2
"""The paper's (K L)^2 for values in [0, 1]."""
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales, the finest first (Wang et al. 2003, Sec. 3.2)."""
SMALLEST = WINDOW * 2 ** (len(SCALE_WEIGHTS) - 1)
"""Pixels a side below which the window does not fit into the coarsest scale."""


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """(n,): mean over channels and windows.

    Args:
        a, b: (n, c, h, w) in [0, 1], at least `WINDOW` pixels a side.
    """
    luminance, contrast = ssim_maps(a, b)
    return (luminance * contrast).mean((1, 2, 3))


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """(n,): product over scales of the contrast terms and the coarsest luminance, each to its weight.

    Negative terms count 0; the mean over channels is taken last.

    Args:
        a, b: (n, c, h, w) in [0, 1], at least `SMALLEST` pixels a side.
    """
    product = a.new_ones(a.shape[:2])
    for scale, weight in enumerate(SCALE_WEIGHTS):
        luminance, contrast = ssim_maps(a, b)
        last = scale == len(SCALE_WEIGHTS) - 1
        term = (luminance * contrast if last else contrast).mean((2, 3))
        product = product * term.relu() ** weight
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return product.mean(1)


def ssim_maps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The luminance and the contrast-structure term (Wang et al. 2004, Eq. 13 in two factors) of each window.

    Args:
        a, b: (n, c, h, w).

    Returns:
        two of (n, c, h - 10, w - 10).
    """
    h, w = a.shape[2:]
    rows, columns = _gaussian_band(h, a), _gaussian_band(w, a)
    mean_a, mean_b, square, product = (rows.mT @ x @ columns for x in (a, b, a * a + b * b, a * b))
    squares, products = mean_a**2 + mean_b**2, mean_a * mean_b
    luminance = (2 * products + C1) / (squares + C1)
    contrast = (2 * (product - products) + C2) / (square - squares + C2)
    return luminance, contrast


def _gaussian_band(length: int, like: Tensor) -> Tensor:
    """(length, length - 10): column i weighs the window that begins at i."""
    offset = torch.arange(WINDOW, device=like.device) - WINDOW // 2
    weights = (-(offset**2) / (2 * SIGMA**2)).exp()
    band = like.new_zeros(length, length - WINDOW + 1)
    for i, weight in enumerate((weights / weights.sum()).tolist()):
        band.diagonal(-i).fill_(weight)
    return band
