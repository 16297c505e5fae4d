"""Doubling and halving of pictures with the filter [1, 3, 3, 1] (StyleGAN2, Karras et al. 2020, appendix B).

By definition: put zeros between the pixels (or take every second one) and filter with the outer product of
[1, 3, 3, 1] / 8, zeros beyond the border. Here the same numbers come from operators that every device does fast: a
depthwise convolution, and bilinear interpolation, whose weights 1/4 and 3/4 are this very filter split into its phases.
All are linear and can be differentiated twice.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

TAPS = (1.0, 3.0, 3.0, 1.0)


def binomial_filter(device: torch.device | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """(4, 4), sums to 1."""
    line = torch.tensor(TAPS, device=device, dtype=dtype) / sum(TAPS)
    return line[:, None] * line


def blur(x: Tensor, *, padding: int, gain: float = 1.0) -> Tensor:
    """(b, c, h, w) to (b, c, h + 2 padding - 3, w + 2 padding - 3)."""
    return F.conv2d(x, _per_channel(x, gain), padding=padding, groups=x.shape[1])


def halve(x: Tensor) -> Tensor:
    """(b, c, h, w) to (b, c, h / 2, w / 2), both even; a constant stays what it is, away from the border."""
    return F.conv2d(x, _per_channel(x), stride=2, padding=1, groups=x.shape[1])


def double(x: Tensor) -> Tensor:
    """(b, c, h, w) to (b, c, 2 h, 2 w); a constant stays what it is, away from the border."""
    padded = F.pad(x, (1, 1, 1, 1))
    return F.interpolate(padded, scale_factor=2.0, mode="bilinear", align_corners=False)[..., 2:-2, 2:-2]


def _per_channel(x: Tensor, gain: float = 1.0) -> Tensor:
    return (binomial_filter(x.device, x.dtype) * gain).expand(x.shape[1], 1, -1, -1)
