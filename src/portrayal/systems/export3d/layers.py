"""Layers that generator, renderer and background share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.systems.export3d.config import GROUPS

SLOPE = 0.2
"""Of the leaky ReLUs; the paper names none."""


class ConvBlock(nn.Module):
    """Convolution, group norm, leaky ReLU."""

    def __init__(self, c_in: int, c_out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, c_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), SLOPE)


def enlarge(x: Tensor) -> Tensor:
    """Twice the size with the filter of `nn.resample.double`; but the border goes on instead of fading to grey."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
