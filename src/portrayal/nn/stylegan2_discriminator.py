"""StyleGAN2's discriminator (Karras et al. 2020, arXiv 1912.04958, figure 7: residual), conditional as in ADA."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.resample import blur, halve
from portrayal.nn.stylegan2 import CHANNEL_BASE, CHANNEL_MAX, FIRST_SIZE, MappingNetwork, sizes, width
from portrayal.nn.stylegan2_layers import EPSILON, EqualLinear, activate


class Discriminator(nn.Module):
    """Pictures, and labels if it has any, to how real they look: a logit per picture."""

    def __init__(
        self,
        size: int,
        *,
        label_dim: int = 0,
        channels: int = 3,
        channel_base: int = CHANNEL_BASE,
        channel_max: int = CHANNEL_MAX,
        channel_min: int = 0,
        group: int = 4,
        clamp: float | None = None,
    ) -> None:
        """
        Args:
            label_dim: numbers per label; 0: unconditional.
            channels: of the pictures.
            group: pictures that are compared with each other, see `append_deviation`.
            clamp: limit of the absolute value of a convolution's result; None: no limit.
        """
        super().__init__()
        self.size, self.channels, self.group = size, channels, group
        c = [
            width(side, channel_base=channel_base, channel_max=channel_max, channel_min=channel_min)
            for side in reversed(sizes(size))
        ]
        self.from_rgb = EqualConv(channels, c[0], 1, clamp=clamp)
        self.blocks = nn.ModuleList(DiscriminatorBlock(a, b, clamp=clamp) for a, b in pairwise(c))
        self.conv = EqualConv(c[-1] + 1, c[-1], 3, clamp=clamp)
        self.hidden = EqualLinear(c[-1] * FIRST_SIZE**2, c[-1], active=True)
        self.logits = EqualLinear(c[-1], c[-1] if label_dim else 1)
        self.mapping = MappingNetwork(0, c[-1], label_dim=label_dim) if label_dim else None

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        """(b, channels, size, size) and (b, label_dim) to (b,) in float32.

        Raises:
            ValueError: pictures of another size, a missing label, or one too many.
        """
        if images.shape[1:] != (self.channels, self.size, self.size):
            raise ValueError(f"expected ({self.channels}, {self.size}, {self.size}), got {tuple(images.shape[1:])}")
        if (label is None) != (self.mapping is None):
            raise ValueError("a conditional discriminator needs a label, an unconditional one takes none")
        x = self.from_rgb(images)
        for block in self.blocks:
            x = block(x)
        x = self.conv(append_deviation(x, self.group))
        x = self.logits(self.hidden(x.flatten(1).float()))
        if self.mapping is None:
            return x[:, 0]
        # Projection discriminator (Miyato and Koyama 2018).
        return (x * self.mapping(None, label)).sum(1) / math.sqrt(x.shape[1])


class DiscriminatorBlock(nn.Module):
    """Two convolutions that halve the size, beside a 1x1 shortcut; the sum keeps the variance."""

    def __init__(self, c_in: int, c_out: int, *, clamp: float | None = None) -> None:
        super().__init__()
        self.conv0 = EqualConv(c_in, c_in, 3, clamp=clamp)
        self.conv1 = EqualConv(c_in, c_out, 3, halve_size=True, clamp=clamp, gain=math.sqrt(0.5))
        self.skip = EqualConv(c_in, c_out, 1, halve_size=True, active=False, gain=math.sqrt(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """(b, c_in, h, w) to (b, c_out, h / 2, w / 2)."""
        return self.conv1(self.conv0(x)) + self.skip(x)


class EqualConv(nn.Module):
    """Convolution that is scaled at run time, as `EqualLinear`; with bias and leaky ReLU where it is `active`."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        *,
        halve_size: bool = False,
        active: bool = True,
        clamp: float | None = None,
        gain: float = 1.0,
    ) -> None:
        """`halve_size`: blur, then take every second pixel; `gain`: factor of the result, of the clamp too."""
        super().__init__()
        self.halve_size, self.gain, self.clamp = halve_size, gain, clamp
        self.weight = nn.Parameter(torch.randn(c_out, c_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(c_out)) if active else None

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.weight.shape[-1]
        weight = (self.weight / math.sqrt(self.weight[0].numel())).to(x.dtype)
        if self.halve_size and kernel == 1:
            x = F.conv2d(halve(x), weight)
        elif self.halve_size:
            x = F.conv2d(blur(x, padding=kernel // 2 + 1), weight, stride=2)
        else:
            x = F.conv2d(x, weight, padding=kernel // 2)
        if self.bias is not None:
            x = activate(x + self.bias[:, None, None].to(x.dtype), self.clamp)
        return x * self.gain


def append_deviation(x: Tensor, group: int) -> Tensor:
    """One more channel: how much the pictures of a group differ (ProGAN, section 3).

    Args:
        x: (b, c, h, w). Pictures i, i + b / n, i + 2 b / n, ... are one group of n.
        group: n; a smaller batch is one group.

    Returns:
        (b, c + 1, h, w); the new channel is constant within a picture: the mean of the standard deviations over the
        group of all c h w values.

    Raises:
        ValueError: the batch does not divide into such groups.
    """
    b, _, h, w = x.shape
    n = min(group, b)
    if b % n:
        raise ValueError(f"a batch of {b} pictures does not divide into groups of {n}")
    groups = x.float().unflatten(0, (n, b // n))
    deviation = (groups.var(0, unbiased=False) + EPSILON).sqrt().mean((1, 2, 3))
    extra = deviation.repeat(n)[:, None, None, None].expand(-1, 1, h, w)
    return torch.cat([x, extra.to(x.dtype)], 1)
