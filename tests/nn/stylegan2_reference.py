"""StyleGAN2's operators by their definitions: an oracle for the tests, slow on purpose."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.nn.stylegan2 import SynthesisNetwork
from portrayal.nn.stylegan2_layers import EqualLinear, StyledConv, SynthesisBlock, ToRgb


def upfirdn2d(
    x: Tensor, kernel: Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int], gain: float = 1
) -> Tensor:
    """Zeros between the pixels, padding (before, after), true convolution, every `down`-th pixel."""
    b, c, h, w = x.shape
    spread = x.new_zeros(b, c, h, up, w, up)
    spread[:, :, :, 0, :, 0] = x
    spread = F.pad(spread.reshape(b, c, h * up, w * up), (*pad, *pad))
    flipped = kernel.flip(0, 1)[None, None].to(x) * gain
    y = F.conv2d(spread.reshape(b * c, 1, *spread.shape[2:]), flipped)
    return y.reshape(b, c, *y.shape[2:])[..., ::down, ::down]


def fir() -> Tensor:
    line = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(line, line) / 64


def grouped_modulated_conv(x: Tensor, weight: Tensor, style: Tensor, *, demodulate: bool, up: bool) -> Tensor:
    """A weight per picture, and the batch as groups of one convolution."""
    b, o, i, k = len(x), *weight.shape[:3]
    w = weight[None] / math.sqrt(i * k * k) * style[:, None, :, None, None]
    if demodulate:
        w = w * (w.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, b * i, *x.shape[2:])
    if not up:
        y = F.conv2d(x, w.reshape(b * o, i, k, k), padding=k // 2, groups=b)
        return y.reshape(b, o, *y.shape[2:])
    y = F.conv_transpose2d(x, w.transpose(1, 2).reshape(b * i, o, k, k), stride=2, groups=b)
    return upfirdn2d(y.reshape(b, o, *y.shape[2:]), fir(), pad=(1, 1), gain=4)


def affine(layer: EqualLinear, w: Tensor) -> Tensor:
    return w @ (layer.weight * layer.rate / math.sqrt(layer.weight.shape[1])).T + layer.bias * layer.rate


def styled_conv(layer: StyledConv, x: Tensor, w: Tensor, *, noise: bool) -> Tensor:
    conv = layer.conv
    y = grouped_modulated_conv(x, conv.weight, affine(conv.affine, w), demodulate=True, up=conv.double_size)
    if noise:
        y = y + layer.noise_strength * layer.noise
    y = F.leaky_relu(y + layer.bias.reshape(1, -1, 1, 1), 0.2) * math.sqrt(2)
    return y if layer.clamp is None else y.clamp(-layer.clamp, layer.clamp)


def to_rgb(layer: ToRgb, x: Tensor, w: Tensor) -> Tensor:
    style = affine(layer.conv.affine, w)
    y = grouped_modulated_conv(x, layer.conv.weight, style, demodulate=False, up=False) + layer.bias.reshape(
        1, -1, 1, 1
    )
    return y if layer.clamp is None else y.clamp(-layer.clamp, layer.clamp)


def synthesis(network: SynthesisNetwork, ws: Tensor, *, noise: bool = True) -> Tensor:
    """What `SynthesisNetwork` must give."""
    x = image = None
    at = 0
    for block in network.blocks:
        assert isinstance(block, SynthesisBlock)
        if x is None:
            x = block.const[None].repeat(len(ws), 1, 1, 1)
        else:
            x = styled_conv(block.conv0, x, ws[:, at], noise=noise)
            at += 1
        x = styled_conv(block.conv1, x, ws[:, at], noise=noise)
        at += 1
        rgb = to_rgb(block.to_rgb, x, ws[:, at])
        image = rgb if image is None else rgb + upfirdn2d(image, fir(), up=2, pad=(2, 1), gain=4)
    assert image is not None
    return image
