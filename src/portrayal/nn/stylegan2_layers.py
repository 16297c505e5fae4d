"""Layers of StyleGAN2 (Karras et al. 2020, arXiv 1912.04958): equalised layers, modulated convolution.

Both public implementations, NVIDIA's and rosinality's, give the numbers of these layers; they differ in names and
shapes of tensors only (`weights.convert.stylegan2`). No grouped convolution, no compiled operator: since the style s
scales the input channels and demodulation d the output channels, d (W s) * x = d (W * (s x)), and all pictures of a
batch share the weight W (section 2.2).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.resample import blur, double

SLOPE = 0.2
GAIN = math.sqrt(2)
"""Leaky ReLU's, and what keeps the variance after it."""
EPSILON = 1e-8

NoiseMode = Literal["none", "const", "random"]
"""No noise, the noise stored in the network, or fresh noise for every picture."""


def full_precision(x: Tensor) -> torch.autocast:
    """Styles and demodulation are cheap, and half precision in them shifts whole pictures."""
    return torch.autocast(x.device.type, enabled=False)


def activate(x: Tensor, clamp: float | None = None) -> Tensor:
    """sqrt(2) leaky ReLU, limited to [-clamp, clamp]."""
    x = F.leaky_relu(x, SLOPE) * GAIN
    return x if clamp is None else x.clamp(-clamp, clamp)


def normalise(x: Tensor) -> Tensor:
    """(b, c) divided by the root of its mean square over c."""
    return x * (x.square().mean(1, keepdim=True) + EPSILON).rsqrt()


class EqualLinear(nn.Module):
    """Linear layer that is scaled at run time (ProGAN, section 4.1): stored weights have variance 1 / rate^2.

    Always computed in the precision of its weights, whatever autocast says.
    """

    def __init__(self, c_in: int, c_out: int, *, rate: float = 1.0, bias: float = 0.0, active: bool = False) -> None:
        """`rate`: multiplier of the learning rate; `bias`: its initial value; `active`: with `activate` after it."""
        super().__init__()
        self.rate, self.active = rate, active
        self.weight = nn.Parameter(torch.randn(c_out, c_in) / rate)
        self.bias = nn.Parameter(torch.full((c_out,), bias / rate))

    def effective(self) -> tuple[Tensor, Tensor]:
        """The weight (c_out, c_in) and bias (c_out,) that act."""
        return self.weight * (self.rate / math.sqrt(self.weight.shape[1])), self.bias * self.rate

    def forward(self, x: Tensor) -> Tensor:
        with full_precision(x):
            y = F.linear(x.to(self.weight.dtype), *self.effective())
            return activate(y) if self.active else y


def modulated_conv(
    x: Tensor, weight: Tensor, style: Tensor, *, demodulate: bool = True, double_size: bool = False
) -> Tensor:
    """Convolution with a weight scaled per picture (equations 1 and 3).

    Args:
        x: (b, i, h, w).
        weight: (o, i, k, k) as stored, variance 1; divided by the root of its fan-in here.
        style: (b, i), the scale of each input channel.
        demodulate: divide each output channel by the norm of its scaled weight.
        double_size: put zeros between the pixels first, and blur the result (appendix B); k must be 3.

    Returns:
        (b, o, h, w), or (b, o, 2 h, 2 w).
    """
    weight = weight / math.sqrt(weight[0].numel())
    scale = demodulation(channel_power(weight), style) if demodulate else None
    if len(x) == 1:
        # One picture: scaling the weight is the smaller work nearly everywhere, and never much more.
        weight = weight * style[0, :, None, None]
        weight = weight if scale is None else weight * scale[0, :, None, None, None]
        return convolve(x, weight, double_size=double_size)
    y = convolve(x * style[..., None, None].to(x.dtype), weight, double_size=double_size)
    return y if scale is None else y * scale[..., None, None].to(y.dtype)


def channel_power(weight: Tensor) -> Tensor:
    """(o, i, k, k) to (o, i), the sum of squares over the kernel."""
    return weight.float().square().sum((2, 3))


def demodulation(power: Tensor, style: Tensor) -> Tensor:
    """1 / the norm of each output channel's scaled weight (equation 3): (o, i) and (b, i) to (b, o)."""
    with full_precision(style):
        return (style.float().square() @ power.T + EPSILON).rsqrt()


def convolve(x: Tensor, weight: Tensor, *, double_size: bool) -> Tensor:
    if not double_size:
        return F.conv2d(x, weight.to(x.dtype), padding=weight.shape[-1] // 2)
    return blur(F.conv_transpose2d(x, weight.transpose(0, 1).to(x.dtype), stride=2), padding=1, gain=4)


class ModulatedConv(nn.Module):
    """The weight (o, i, k, k), and the affine map from w to its style ("A" in figure 2)."""

    def __init__(
        self, c_in: int, c_out: int, w_dim: int, *, kernel: int, demodulate: bool = True, double_size: bool = False
    ) -> None:
        super().__init__()
        self.demodulate, self.double_size = demodulate, double_size
        self.weight = nn.Parameter(torch.randn(c_out, c_in, kernel, kernel))
        self.affine = EqualLinear(w_dim, c_in, bias=1.0)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x (b, i, h, w), w (b, w_dim)."""
        return modulated_conv(x, self.weight, self.affine(w), demodulate=self.demodulate, double_size=self.double_size)


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU: one grey box of figure 2."""

    noise: Tensor
    """(size, size), drawn once."""

    def __init__(
        self, c_in: int, c_out: int, w_dim: int, *, size: int, double_size: bool = False, clamp: float | None = None
    ) -> None:
        """`size`: of the result; `clamp`: limit of its absolute value, None: no limit."""
        super().__init__()
        self.clamp = clamp
        self.conv = ModulatedConv(c_in, c_out, w_dim, kernel=3, double_size=double_size)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(c_out))
        self.register_buffer("noise", torch.randn(size, size))

    def forward(
        self, x: Tensor, w: Tensor, *, noise: NoiseMode = "const", generator: torch.Generator | None = None
    ) -> Tensor:
        """x (b, c_in, h, w), w (b, w_dim) to (b, c_out, size, size); `generator` draws random noise."""
        y = self.conv(x, w)
        if noise != "none":
            y = y + (self._noise(noise, y, generator) * self.noise_strength).to(y.dtype)
        return activate(y + self.bias[:, None, None].to(y.dtype), self.clamp)

    def _noise(self, mode: NoiseMode, y: Tensor, generator: torch.Generator | None) -> Tensor:
        if mode == "const":
            return self.noise
        return torch.randn(len(y), 1, *y.shape[2:], device=y.device, generator=generator)


class ToRgb(nn.Module):
    """1x1 modulated convolution to a picture, without demodulation (figure 7 b)."""

    def __init__(self, c_in: int, channels: int, w_dim: int, *, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp = clamp
        self.conv = ModulatedConv(c_in, channels, w_dim, kernel=1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y = self.conv(x, w)
        y = y + self.bias[:, None, None].to(y.dtype)
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: two styled convolutions and a contribution to the picture (figure 7 b, "output skips").

    With c_in = 0 it begins with a learned constant and has one convolution.
    """

    def __init__(
        self, c_in: int, c_out: int, w_dim: int, *, size: int, channels: int = 3, clamp: float | None = None
    ) -> None:
        """`size`: of the result; `channels`: of the picture."""
        super().__init__()
        if c_in:
            self.conv0 = StyledConv(c_in, c_out, w_dim, size=size, double_size=True, clamp=clamp)
        else:
            self.const = nn.Parameter(torch.randn(c_out, size, size))
        self.conv1 = StyledConv(c_out, c_out, w_dim, size=size, clamp=clamp)
        self.to_rgb = ToRgb(c_out, channels, w_dim, clamp=clamp)
        self.styles = 3 if c_in else 2
        """How many w it reads; the last one, the picture's, is also the first of the next block."""

    def forward(
        self,
        x: Tensor | None,
        image: Tensor | None,
        ws: Tensor,
        *,
        noise: NoiseMode = "const",
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            x: features (b, c_in, size / 2, size / 2); None where the constant begins.
            image: (b, channels, size / 2, size / 2), or None.
            ws: (b, styles, w_dim).

        Returns:
            features (b, c_out, size, size), and the picture (b, channels, size, size) in float32 at least.
        """
        w = list(ws.unbind(1))
        if x is None:
            x = self.const.expand(len(ws), -1, -1, -1)
        else:
            x = self.conv0(x, w.pop(0), noise=noise, generator=generator)
        x = self.conv1(x, w.pop(0), noise=noise, generator=generator)
        assert x is not None
        rgb = self.to_rgb(x, w.pop(0)).float()
        return x, rgb if image is None else rgb + double(image)
