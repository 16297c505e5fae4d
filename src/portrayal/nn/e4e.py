"""The encoder of e4e (Tov et al. 2021, arXiv 2102.02766): a picture to w+, one w and a small offset of it per layer.

Names and numbers are those of the public encoder4editing and of the directions paper's encoder. Widths are arguments
so that small models can use it; the defaults are the public ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.arcface import STAGES, Unit
from portrayal.nn.stylegan2 import sizes
from portrayal.nn.stylegan2_layers import EqualLinear

COARSE, MIDDLE = 3, 7
"""Layers before COARSE read the map at 1/16 of the picture, those before MIDDLE at 1/8, the rest at 1/4."""
PUBLIC_SIDE = 256
"""Of the pictures that the public encoders read, for generators of 1024 x 1024 too."""
HEAD_SLOPE = 0.01
"""Of the leaky ReLU in the heads."""


class E4eEncoder(nn.Module):
    """IR-SE50 trunk, feature pyramid, one style head per layer (pSp's architecture, in e4e with offsets).

    Head 0 gives w; head i the offset Delta_i, so that w_i = w + Delta_i (e4e, equation 1). Only the first `layers`
    heads are asked: training opens them one after the other (section 4.1, progressive training).
    """

    def __init__(
        self,
        size: int,
        *,
        w_dim: int = 512,
        layers: int | None = None,
        trunk: Sequence[tuple[int, int]] = STAGES,
    ) -> None:
        """
        Args:
            size: side of the pictures.
            layers: of the generator; None: those of one that makes pictures of `size`. 1: the encoder gives w alone.
            trunk: four stages (channels, units); channels are multiples of 16, the last ones are also those of the
                pyramid and the heads.

        Raises:
            ValueError: `size` is no power of two of at least 32, or the trunk has other stages.
        """
        super().__init__()
        own_layers = 2 * len(sizes(size))
        if size < 32:
            raise ValueError(f"the encoder reduces pictures by 16 and needs at least 32 x 32 pixels, got {size}")
        if len(trunk) != 4 or any(channels % 16 for channels, _ in trunk):
            raise ValueError(f"the trunk needs four stages with channels that are multiples of 16, got {tuple(trunk)}")
        self.size = size
        self.layers = own_layers if layers is None else layers
        first, width = trunk[0][0], trunk[3][0]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first)
        )
        units, c_in = [], first
        for c, count in trunk:
            units += [Unit(c_in, c, stride=2)] + [Unit(c, c, stride=1) for _ in range(count - 1)]
            c_in = c
        self.body = nn.Sequential(*units)
        self.ends = tuple(sum(count for _, count in trunk[: i + 1]) for i in range(4))
        """After how many units each stage ends."""
        finest = level_of(self.layers - 1)
        self.latlayer1 = nn.Conv2d(trunk[2][0], width, 1) if finest >= 1 else None
        self.latlayer2 = nn.Conv2d(trunk[1][0], width, 1) if finest >= 2 else None
        self.styles = nn.ModuleList(StyleHead(width, w_dim, side=self.side_of(i)) for i in range(self.layers))

    def side_of(self, layer: int) -> int:
        """Side of the map that a layer's head reads."""
        return self.size // (16 if layer < COARSE else 8 if layer < MIDDLE else 4)

    def forward(self, images: Tensor, *, layers: int | None = None) -> Tensor:
        """
        Args:
            images: (b, 3, s, s) RGB in [-1, 1]; s is `size` or a multiple of it, which is averaged down (as pSp does).
            layers: how many heads are open, at least 1; the other layers read w alone. None: all.

        Returns:
            w+ (b, layers of the generator, w_dim). Checkpoints of encoder4editing that start from the mean w add it to
            this.

        Raises:
            ValueError: pictures that are no such squares, or an impossible number of layers.
        """
        times = images.shape[-1] // self.size
        if not times or images.shape[1:] != (3, times * self.size, times * self.size):
            raise ValueError(
                f"the encoder reads (b, 3, {self.size}, {self.size}) or a multiple of it, got {tuple(images.shape)}"
            )
        count = self.layers if layers is None else layers
        if not 1 <= count <= self.layers:
            raise ValueError(f"1 to {self.layers} layers can be open, not {count}")
        maps = self.pyramid(F.avg_pool2d(images, times) if times > 1 else images, count)
        w = self.styles[0](maps[0])
        offsets = [torch.zeros_like(w)] + [self.styles[i](maps[level_of(i)]) for i in range(1, count)]
        offsets += [offsets[0]] * (self.layers - count)
        return w[:, None] + torch.stack(offsets, 1)

    def pyramid(self, images: Tensor, layers: int) -> list[Tensor]:
        """The maps (b, width, ., .) at 1/16, 1/8 and 1/4 of the picture, as far as the first `layers` heads need."""
        x, taps = self.input_layer(images), []
        for i, unit in enumerate(self.body, 1):
            x = unit(x)
            if i in self.ends:
                taps.append(x)
        maps = [taps[3]]
        for tap, lateral in ((taps[2], self.latlayer1), (taps[1], self.latlayer2)):
            if lateral is not None and len(maps) <= level_of(layers - 1):
                lifted = F.interpolate(maps[-1], tap.shape[2:], mode="bilinear", align_corners=True)
                maps.append(lifted + lateral(tap))
        return maps


def level_of(layer: int) -> int:
    """Which map of the pyramid a layer's head reads: 0 the coarsest."""
    return 0 if layer < COARSE else 1 if layer < MIDDLE else 2


class StyleHead(nn.Module):
    """A map to one w: halved by convolutions until one pixel is left, then a linear layer (pSp's map2style)."""

    def __init__(self, width: int, w_dim: int, *, side: int) -> None:
        """`side`: of the map, a power of two of at least 2."""
        super().__init__()
        self.convs = nn.Sequential(
            *(
                layer
                for _ in range(int(log2(side)))
                for layer in (nn.Conv2d(width, width, 3, stride=2, padding=1), nn.LeakyReLU(HEAD_SLOPE))
            )
        )
        self.linear = EqualLinear(width, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(b, width, side, side) to (b, w_dim)."""
        return self.linear(self.convs(x).flatten(1))
