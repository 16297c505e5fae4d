"""Convolution blocks of the keypoint family (FOMM, face-vid2vid, MMFA), for two or three spatial axes.

`dims` is the number of spatial axes. With three, (d, h, w), depth is kept: blocks change height and width only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(dims: int, c_in: int, c_out: int, kernel: int, *, stride: int = 1, padding: int | None = None) -> nn.Module:
    """A convolution that keeps the size, unless `stride` or `padding` say otherwise."""
    padding = kernel // 2 if padding is None else padding
    if dims == 3:
        return nn.Conv3d(c_in, c_out, kernel, stride, padding)
    return nn.Conv2d(c_in, c_out, kernel, stride, padding)


def relu_conv(dims: int, c_in: int, c_out: int, kernel: int, *, stride: int = 1) -> nn.Module:
    """A convolution before batch norm and ReLU, with He's initialisation.

    With torch's own the signal of an untrained network fades from layer to layer until batch norm has seen pictures.
    """
    module = conv(dims, c_in, c_out, kernel, stride=stride)
    assert isinstance(module.weight, Tensor)
    assert isinstance(module.bias, Tensor)
    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    nn.init.zeros_(module.bias)
    return module


def batch_norm(dims: int, channels: int) -> nn.Module:
    return nn.BatchNorm3d(channels) if dims == 3 else nn.BatchNorm2d(channels)


class SameBlock(nn.Module):
    """Convolution, batch norm, ReLU (leaky with `slope`)."""

    def __init__(self, dims: int, c_in: int, c_out: int, *, kernel: int = 3, slope: float = 0.0) -> None:
        super().__init__()
        self.slope = slope
        self.conv = relu_conv(dims, c_in, c_out, kernel)
        self.norm = batch_norm(dims, c_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), self.slope)


class DownBlock(SameBlock):
    """`SameBlock`, then the mean of 2 x 2."""

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return F.avg_pool3d(x, (1, 2, 2)) if x.ndim == 5 else F.avg_pool2d(x, 2)


class UpBlock(SameBlock):
    """Every pixel four times, then `SameBlock`."""

    def forward(self, x: Tensor) -> Tensor:
        factors = (1.0, 2.0, 2.0) if x.ndim == 5 else (2.0, 2.0)
        return super().forward(F.interpolate(x, scale_factor=factors))


class ResBlock(nn.Module):
    """x + two times (batch norm, ReLU, convolution)."""

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = batch_norm(dims, channels), relu_conv(dims, channels, channels, 3)
        self.norm2, self.conv2 = batch_norm(dims, channels), conv(dims, channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.norm1(x).relu())
        return x + self.conv2(self.norm2(y).relu())


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1, each with batch norm, beside a shortcut (which has weights where it strides)."""

    def __init__(self, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        inner = channels // 4
        self.conv1, self.norm1 = relu_conv(2, channels, inner, 1), batch_norm(2, inner)
        self.conv2, self.norm2 = relu_conv(2, inner, inner, 3, stride=stride), batch_norm(2, inner)
        self.conv3, self.norm3 = conv(2, inner, channels, 1), batch_norm(2, channels)
        self.shortcut = (
            nn.Sequential(conv(2, channels, channels, 1, stride=stride), batch_norm(2, channels))
            if stride > 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x)).relu()
        y = self.norm2(self.conv2(y)).relu()
        return (self.norm3(self.conv3(y)) + self.shortcut(x)).relu()


def hourglass_widths(first: int, largest: int, levels: int) -> list[int]:
    """Channels of levels 0 to `levels`: doubled at each, up to `largest`."""
    return [min(largest, first * 2**i) for i in range(levels + 1)]


class Hourglass(nn.Module):
    """U-Net: down `levels` times, up again, joined with the same level's features on the way.

    The result has `c_in + first` channels: the input itself is the last thing that is joined.
    """

    def __init__(self, dims: int, c_in: int, *, first: int, largest: int, levels: int) -> None:
        super().__init__()
        c = hourglass_widths(first, largest, levels)
        self.down = nn.ModuleList(DownBlock(dims, c_in if i == 0 else c[i], c[i + 1]) for i in range(levels))
        self.up = nn.ModuleList(
            UpBlock(dims, c[i + 1] * (1 if i == levels - 1 else 2), c[i]) for i in reversed(range(levels))
        )
        self.channels = c_in + c[0]

    def forward(self, x: Tensor) -> Tensor:
        """(b, c_in, *size) to (b, c_in + first, *size); height and width must be multiples of 2^levels."""
        skips = [x]
        for block in self.down:
            skips.append(block(skips[-1]))
        x = skips.pop()
        for block in self.up:
            x = torch.cat([block(x), skips.pop()], 1)
        return x
