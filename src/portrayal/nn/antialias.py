"""Smaller pictures without aliasing: a Gaussian before every n-th pixel is taken, as FOMM and face-vid2vid do."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AntialiasDownsample(nn.Module):
    """(b, c, h, w) to (b, c, h / factor, w / factor); pixels 0, factor, 2 factor, ... of the smoothed picture.

    Sigma is (factor - 1) / 2, the kernel reaches four sigma, beyond the border are zeros. The centre of the result is
    (factor - 1) / 2 pixels left and above that of the picture.
    """

    weight: Tensor
    """(c, 1, k, k), sums to 1 in each channel."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.register_buffer("weight", gaussian_kernel(factor).expand(channels, 1, -1, -1).clone())

    def forward(self, x: Tensor) -> Tensor:
        if self.factor == 1:
            return x
        weight = self.weight.to(x.dtype)
        return F.conv2d(x, weight, stride=self.factor, padding=weight.shape[-1] // 2, groups=x.shape[1])


def gaussian_kernel(factor: int) -> Tensor:
    """(1, 1, k, k), k = 2 round(4 sigma) + 1."""
    sigma = (factor - 1) / 2
    reach = round(4 * sigma)
    at = torch.arange(-reach, reach + 1, dtype=torch.float32)
    line = (-at.square() / (2 * sigma**2)).exp() if sigma else torch.ones(1)
    kernel = line[:, None] * line[None]
    return (kernel / kernel.sum())[None, None]
