"""StyleGAN2's synthesis prepared for drawing many pictures with fixed weights.

The same numbers as `SynthesisNetwork` in fewer steps. Once: weights are scaled, put into the layout and precision of
the convolutions, and their squares summed for demodulation; noise is multiplied by its strength. Per picture:
demodulation, the activation's gain and bias go into a convolution's weights or, after an enlarging one, into the blur.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.resample import binomial_filter, double
from portrayal.nn.stylegan2 import SynthesisNetwork
from portrayal.nn.stylegan2_layers import (
    GAIN,
    SLOPE,
    ModulatedConv,
    StyledConv,
    SynthesisBlock,
    ToRgb,
    channel_power,
    demodulation,
)


class FoldedSynthesis(nn.Module):
    """`SynthesisNetwork` without training and without random noise; changes of that network do not reach it."""

    def __init__(self, network: SynthesisNetwork, *, dtype: torch.dtype = torch.float32, noise: bool = True) -> None:
        """
        Args:
            network: stays as it is.
            dtype: of features; bfloat16 halves the memory traffic. Styles and the picture stay float32.
            noise: with the stored noise, or with none.
        """
        super().__init__()
        blocks = [block for block in network.blocks if isinstance(block, SynthesisBlock)]
        self.blocks = nn.ModuleList(FoldedBlock(block, dtype, noise) for block in blocks)
        self.layers, self.w_dim = network.layers, network.w_dim

    @torch.no_grad()
    def forward(self, ws: Tensor) -> Tensor:
        """(b, layers, w_dim) to (b, channels, size, size) in float32.

        Raises:
            ValueError: `ws` has another shape.
        """
        if ws.shape[1:] != (self.layers, self.w_dim):
            raise ValueError(f"expected w+ (b, {self.layers}, {self.w_dim}), got {tuple(ws.shape)}")
        x = image = None
        for i, block in enumerate(self.blocks):
            first = max(2 * i - 1, 0)
            x, image = block(x, image, ws[:, first:])
        assert image is not None
        return image


class FoldedBlock(nn.Module):
    """`SynthesisBlock`."""

    def __init__(self, block: SynthesisBlock, dtype: torch.dtype, noise: bool) -> None:
        super().__init__()
        self.conv0 = FoldedConv(block.conv0, dtype, noise) if hasattr(block, "conv0") else None
        if self.conv0 is None:
            self.const: Tensor
            self.register_buffer("const", block.const.detach().to(dtype)[None].clone(memory_format=torch.channels_last))
        self.conv1 = FoldedConv(block.conv1, dtype, noise)
        self.to_rgb = FoldedToRgb(block.to_rgb, dtype)

    def forward(self, x: Tensor | None, image: Tensor | None, ws: Tensor) -> tuple[Tensor, Tensor]:
        w = iter(ws.unbind(1))
        if self.conv0 is None:
            x = self.const.expand(len(ws), -1, -1, -1)
        else:
            assert x is not None
            x = self.conv0(x, next(w))
        x = self.conv1(x, next(w))
        rgb = self.to_rgb(x, next(w))
        return x, rgb if image is None else rgb + double(image)


class FoldedModulation(nn.Module):
    """The weight and the map to its style, ready to use."""

    weight: Tensor
    affine_weight: Tensor
    affine_bias: Tensor

    def __init__(self, conv: ModulatedConv, dtype: torch.dtype) -> None:
        super().__init__()
        scaled = conv.weight.detach() / math.sqrt(conv.weight[0].numel())
        self.power: Tensor
        self.register_buffer("power", channel_power(scaled))
        scaled = scaled.transpose(0, 1) if conv.double_size else scaled
        self.register_buffer("weight", scaled.to(dtype).clone(memory_format=torch.channels_last))
        weight, bias = conv.affine.effective()
        self.register_buffer("affine_weight", weight.detach().float().clone())
        self.register_buffer("affine_bias", bias.detach().float().clone())

    def style(self, w: Tensor) -> Tensor:
        return F.linear(w.float(), self.affine_weight, self.affine_bias)


class FoldedConv(nn.Module):
    """`StyledConv`; the gain of the activation is inside scale, bias and noise, since it is positive."""

    noise: Tensor | None
    bias: Tensor
    kernel: Tensor

    def __init__(self, conv: StyledConv, dtype: torch.dtype, noise: bool) -> None:
        super().__init__()
        self.double_size, self.clamp = conv.conv.double_size, conv.clamp
        self.modulation = FoldedModulation(conv.conv, dtype)
        drawn = (conv.noise * conv.noise_strength * GAIN).detach().to(dtype) if noise else None
        self.register_buffer("noise", drawn)
        self.register_buffer("bias", (conv.bias * GAIN).detach().float())
        # Float32 until it carries the scale of each channel; 4: the energy lost to the zeros between the pixels.
        self.register_buffer("kernel", 4 * binomial_filter(conv.bias.device)[None, None])

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.modulation.style(w)
        scale = demodulation(self.modulation.power, style) * GAIN
        y = self._enlarged(x, style, scale) if self.double_size else self._same_size(x, style, scale)
        if self.noise is not None:
            y += self.noise
        y = F.leaky_relu_(y, SLOPE)
        return y if self.clamp is None else y.clamp_(-self.clamp, self.clamp)

    def _same_size(self, x: Tensor, style: Tensor, scale: Tensor) -> Tensor:
        weight, bias = self.modulation.weight, self.bias.to(x.dtype)
        if len(x) == 1 and weight.numel() <= x.numel():
            weight = weight * style[0, :, None, None].to(x.dtype) * scale[0, :, None, None, None].to(x.dtype)
            return F.conv2d(x, weight, bias, padding=1)
        y = F.conv2d(x * style[..., None, None].to(x.dtype), weight, padding=1)
        return torch.addcmul(bias[:, None, None], y, scale[..., None, None].to(x.dtype))

    def _enlarged(self, x: Tensor, style: Tensor, scale: Tensor) -> Tensor:
        weight, c = self.modulation.weight, len(self.bias)
        if len(x) > 1:
            y = F.conv_transpose2d(x * style[..., None, None].to(x.dtype), weight, stride=2)
            y = F.conv2d(y, self.kernel.to(x.dtype).expand(c, 1, -1, -1), padding=1, groups=c)
            return torch.addcmul(self.bias[:, None, None].to(x.dtype), y, scale[..., None, None].to(x.dtype))
        if weight.numel() <= x.numel():
            weight = weight * style[0, :, None, None, None].to(x.dtype)
        else:
            x = x * style[..., None, None].to(x.dtype)
        kernel = (self.kernel * scale[0, :, None, None, None]).to(x.dtype)
        return F.conv2d(F.conv_transpose2d(x, weight, stride=2), kernel, self.bias.to(x.dtype), padding=1, groups=c)


class FoldedToRgb(nn.Module):
    """`ToRgb`."""

    bias: Tensor

    def __init__(self, rgb: ToRgb, dtype: torch.dtype) -> None:
        super().__init__()
        self.clamp = rgb.clamp
        self.modulation = FoldedModulation(rgb.conv, dtype)
        self.register_buffer("bias", rgb.bias.detach().float().clone())

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style, weight = self.modulation.style(w).to(x.dtype), self.modulation.weight
        if len(x) == 1:
            y = F.conv2d(x, weight * style[0, :, None, None])
        else:
            y = F.conv2d(x * style[..., None, None], weight)
        y = y.float() + self.bias[:, None, None]
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)
