"""Layers that generator, renderer, background and matte share."""

from __future__ import annotations

import torch
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


class UNet(nn.Module):
    """Five times to half the size, then up again with what was seen on the way.

    Args:
        width: channels at H / 2 and H / 4; below twice as many. finest: the result has 1 / finest of the picture's
            side: 4, 2 or 1.
    """

    def __init__(self, c_in: int, width: int, c_out: int, *, finest: int = 1) -> None:
        super().__init__()
        widths = (width, width, 2 * width, 2 * width, 2 * width)
        self.down = nn.ModuleList(ConvBlock(a, b, stride=2) for a, b in zip((c_in, *widths), widths, strict=False))
        beside = (c_in, *widths[:-1])[finest.bit_length() - 1 :][::-1]
        self.up = nn.ModuleList()
        coming = widths[-1]
        for channels in beside:
            leaving = max(channels, width)
            self.up.append(ConvBlock(coming + channels, leaving))
            coming = leaving
        self.last = nn.Conv2d(coming, c_out, 3, 1, 1)

    def pass_through(self, x: Tensor) -> Tensor:
        """(b, c_in, H, W) to (b, c_out, H / finest, W / finest)."""
        maps = [x]
        for block in self.down:
            maps.append(block(maps[-1]))
        x = maps.pop()
        for block in self.up:
            finer = maps.pop()
            x = block(torch.cat([F.interpolate(x, size=finer.shape[-2:]), finer], 1))
        return self.last(x)


def enlarge(x: Tensor) -> Tensor:
    """Twice the size with the filter of `nn.resample.double`; but the border goes on instead of fading to grey."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
