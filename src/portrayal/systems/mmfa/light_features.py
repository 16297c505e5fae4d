"""A frozen feature network for perceptual losses: the first blocks of MobileFaceNet."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from portrayal.nn.mobilefacenet import Bottleneck, Layer, MobileFaceNet

BLOCKS = 7


class FoldedFeatures(nn.Module):
    """Feature maps of MobileFaceNet on a picture as it is, at 1/2 to 1/8 of its resolution, batch norms folded."""

    def __init__(self, net: MobileFaceNet) -> None:
        super().__init__()
        self.stem = nn.ModuleList([_fused(net.conv1), _fused(net.dw_conv1)])
        self.blocks = nn.ModuleList([_Block(block) for block in list(net.blocks)[:BLOCKS]])
        self.eval().requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """(b, 3, h, w) in [0, 1] to maps with 64, 64, 64 and 128 channels."""
        x = (pictures * 255 - 127.5) / 128
        maps = []
        for layer in self.stem:
            x = layer(x)
        maps.append(x)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in (0, 3, 6):
                maps.append(x)
        return maps


class _Block(nn.Module):
    """A bottleneck with its batch norms folded."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        assert isinstance(block, Bottleneck)
        parts: list[Any] = list(block.conv)
        widen, depthwise, narrow = (fuse_conv_bn_eval(parts[i], parts[i + 1]) for i in (0, 3, 6))
        self.conv = nn.Sequential(widen, Bend(parts[2]), depthwise, Bend(parts[5]), narrow)
        self.residual = block.residual

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


def _fused(layer: Layer) -> nn.Sequential:
    assert isinstance(layer.prelu, nn.PReLU)
    return nn.Sequential(fuse_conv_bn_eval(layer.conv, layer.bn), Bend(layer.prelu))


class Bend(nn.Module):
    """A frozen PReLU, whose own backward pass takes ten times as long because it also learns."""

    def __init__(self, prelu: nn.PReLU) -> None:
        super().__init__()
        self.slope: Tensor
        self.register_buffer("slope", prelu.weight.detach()[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        slope = self.slope.to(x.dtype)
        return torch.addcmul(slope * x, 1 - slope, x.relu())


def feature_distance(features: nn.Module, made: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference of each map in shares of the map's mean size, averaged over the maps."""
    with torch.no_grad():
        wanted = features(truth)
    terms = [
        (a.float() - b.float()).abs().mean() / b.float().abs().mean().clamp_min(1e-3)
        for a, b in zip(features(made), wanted, strict=True)
    ]
    return torch.stack(terms).mean()
