"""From the source picture to a feature volume, and from the moved volume to the picture.

`MultiScaleGenerator` is the paper's (A.1). `PlainGenerator` and `SpadeGenerator` are the two of face-vid2vid's public
implementation; with them its checkpoints load.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.blocks import DownBlock, ResBlock, SameBlock, UpBlock, conv, hourglass_widths
from portrayal.nn.spade import SpadeResBlock
from portrayal.systems.mmfa.config import AppearanceConfig, GeneratorConfig


class AppearanceEncoder(nn.Module):
    """A picture to a volume of features: 2D down, channels folded into depth, 3D residual blocks (face-vid2vid)."""

    def __init__(self, config: AppearanceConfig) -> None:
        super().__init__()
        self.depth = config.depth
        c = hourglass_widths(config.first, config.largest, config.down)
        self.first = SameBlock(2, 3, c[0], kernel=config.kernel)
        self.down = nn.Sequential(*(DownBlock(2, c[i], c[i + 1]) for i in range(config.down)))
        self.fold = conv(2, c[-1], config.channels * config.depth, 1)
        self.resblocks = nn.Sequential(*(ResBlock(3, config.channels) for _ in range(config.resblocks)))

    def forward(self, image: Tensor) -> Tensor:
        """(b, 3, h, w) in [0, 1] to (b, c, d, h / 4, w / 4)."""
        x = self.fold(self.down(self.first(image)))
        return self.resblocks(rearrange(x, "b (c d) h w -> b c d h w", d=self.depth))


class MultiScaleGenerator(nn.Module):
    """The moved volume to pictures at three resolutions (A.1).

    At each: residual block; a convolution gives the picture; features and picture together go through the UpBlock.
    Our choices where A.1 is silent: the picture is a sigmoid of a 7 x 7 convolution and the occlusion dims the features
    after the first convolution, both as in face-vid2vid.
    """

    def __init__(self, config: GeneratorConfig, appearance: AppearanceConfig, image_size: int) -> None:
        super().__init__()
        c = config.channels
        self.sizes = [image_size // 2**i for i in reversed(range(len(c)))]
        self.first = SameBlock(2, appearance.channels * appearance.depth, c[0])
        self.resblocks = nn.ModuleList(nn.Sequential(*(ResBlock(2, n) for _ in range(config.resblocks))) for n in c)
        self.to_rgb = nn.ModuleList(conv(2, n, 3, 7) for n in c)
        self.up = nn.ModuleList(UpBlock(2, a + 3, b) for a, b in pairwise(c))

    def forward(self, volume: Tensor, occlusion: Tensor) -> dict[int, Tensor]:
        """
        Args:
            volume: (b, c, d, h, w) moved features. occlusion: (b, 1, h, w) in [0, 1].

        Returns:
            side -> (b, 3, side, side) in [0, 1], for instance 64, 128 and 256.
        """
        x = self.first(flatten_depth(volume)) * occlusion
        pictures: dict[int, Tensor] = {}
        for i, size in enumerate(self.sizes):
            x = self.resblocks[i](x)
            pictures[size] = self.to_rgb[i](x).sigmoid()
            if i < len(self.up):
                x = self.up[i](torch.cat([x, pictures[size]], 1))
        return pictures


class _Unfold(nn.Module):
    """The moved volume to a 2D map, as both generators of face-vid2vid begin."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.first = SameBlock(2, c_in, c_out, slope=0.01)
        self.second = conv(2, c_out, c_out, 1)

    def forward(self, volume: Tensor, occlusion: Tensor) -> Tensor:
        return self.second(self.first(flatten_depth(volume))) * occlusion


class PlainGenerator(nn.Module):
    """face-vid2vid's decoder: residual blocks, then up to the picture, which is the only output."""

    def __init__(self, config: GeneratorConfig, appearance: AppearanceConfig, image_size: int) -> None:
        super().__init__()
        self.size = image_size
        c = hourglass_widths(appearance.first, appearance.largest, appearance.down)
        self.unfold = _Unfold(appearance.channels * appearance.depth, c[-1])
        self.resblocks = nn.Sequential(*(ResBlock(2, c[-1]) for _ in range(config.resblocks)))
        self.up = nn.Sequential(*(UpBlock(2, c[i + 1], c[i]) for i in reversed(range(appearance.down))))
        self.to_rgb = conv(2, c[0], 3, 7)

    def forward(self, volume: Tensor, occlusion: Tensor) -> dict[int, Tensor]:
        """As `MultiScaleGenerator.forward`, the largest picture only."""
        x = self.up(self.resblocks(self.unfold(volume, occlusion)))
        return {self.size: self.to_rgb(x).sigmoid()}


class SpadeGenerator(nn.Module):
    """face-vid2vid's decoder in the public implementation's variant with SPADE: the map modulates every block.

    Two doublings of the resolution; its widths are fixed there: 256 in, 512 in the middle, 256 and 64 going up.
    """

    def __init__(self, config: GeneratorConfig, appearance: AppearanceConfig, image_size: int) -> None:
        super().__init__()
        label, middle, wide, narrow = config.spade
        self.size = image_size
        self.unfold = _Unfold(appearance.channels * appearance.depth, label)
        self.first = conv(2, label, middle, 3)
        self.middle = nn.ModuleList(
            SpadeResBlock(middle, middle, label=label, hidden=config.hidden) for _ in range(config.resblocks)
        )
        self.up = nn.ModuleList(
            SpadeResBlock(a, b, label=label, hidden=config.hidden) for a, b in ((middle, wide), (wide, narrow))
        )
        self.to_rgb = conv(2, narrow, 3, 3)

    def forward(self, volume: Tensor, occlusion: Tensor) -> dict[int, Tensor]:
        """As `MultiScaleGenerator.forward`, the largest picture only."""
        label = self.unfold(volume, occlusion)
        x = self.first(label)
        for block in self.middle:
            x = block(x, label)
        for block in self.up:
            x = block(F.interpolate(x, scale_factor=2.0), label)
        return {self.size: self.to_rgb(F.leaky_relu(x, 0.2)).sigmoid()}


Generator = MultiScaleGenerator | PlainGenerator | SpadeGenerator


def build_generator(config: GeneratorConfig, appearance: AppearanceConfig, image_size: int) -> Generator:
    """The generator that `config.kind` names."""
    kinds: dict[str, type[Generator]] = {
        "multi-scale": MultiScaleGenerator,
        "plain": PlainGenerator,
        "spade": SpadeGenerator,
    }
    return kinds[config.kind](config, appearance, image_size)


def flatten_depth(volume: Tensor) -> Tensor:
    """(b, c, d, h, w) to (b, c * d, h, w)."""
    return rearrange(volume, "b c d h w -> b (c d) h w")
