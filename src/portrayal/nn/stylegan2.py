"""StyleGAN2's generator (Karras et al. 2020, arXiv 1912.04958), with labels as in StyleGAN2-ADA and EG3D.

z ~ N(0, I) becomes w in the mapping network; every layer of the synthesis network reads a w of its own (W+), usually
the same one (W). Pictures have no fixed range: [-1, 1] for the published face models.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log2

import torch
from torch import Tensor, nn

from portrayal.nn.stylegan2_layers import EqualLinear, NoiseMode, SynthesisBlock, full_precision, normalise

FIRST_SIZE = 4
CHANNEL_BASE = 16384
"""Channels x resolution of the public 256 x 256 models of VoxCeleb; twice that in those of FFHQ at 1024."""
CHANNEL_MAX = 512


def sizes(size: int) -> list[int]:
    """4, 8, ..., size.

    Raises:
        ValueError: `size` is no power of two of at least 4.
    """
    if size < FIRST_SIZE or size & (size - 1):
        raise ValueError(f"the side of the pictures must be a power of two of at least {FIRST_SIZE}, got {size}")
    return [2**i for i in range(2, int(log2(size)) + 1)]


def width(size: int, *, channel_base: int = CHANNEL_BASE, channel_max: int = CHANNEL_MAX, channel_min: int = 0) -> int:
    """Channels at a resolution."""
    return max(min(channel_base // size, channel_max), channel_min)


class MappingNetwork(nn.Module):
    """z, and a label if there is one, to w.

    Differs: the paper's network has 8 layers; EG3D's 2. A label is embedded, normalised like z and joined to it
    (StyleGAN2-ADA). With z_dim = 0 it maps the label alone, as a conditional discriminator needs.
    """

    w_mean: Tensor
    """(w_dim,), the centre of truncation."""

    def __init__(self, z_dim: int, w_dim: int, *, label_dim: int = 0, layers: int = 8, rate: float = 0.01) -> None:
        """`rate`: multiplier of the learning rate (StyleGAN, appendix C)."""
        super().__init__()
        self.z_dim, self.label_dim = z_dim, label_dim
        self.embed = EqualLinear(label_dim, w_dim) if label_dim else None
        c_in = [z_dim + (w_dim if label_dim else 0)] + [w_dim] * (layers - 1)
        self.layers = nn.Sequential(*(EqualLinear(c, w_dim, rate=rate, active=True) for c in c_in))
        self.register_buffer("w_mean", torch.zeros(w_dim))

    def forward(self, z: Tensor | None, label: Tensor | None = None) -> Tensor:
        """(b, z_dim) and (b, label_dim) to (b, w_dim).

        Raises:
            ValueError: a label is missing, or not asked for.
        """
        given = 0 if label is None else label.shape[1]
        if given != self.label_dim:
            raise ValueError(f"this mapping network reads labels of {self.label_dim} numbers, got {given}")
        parts = [] if z is None else [normalise(z.float())]
        if self.embed is not None:
            parts.append(normalise(self.embed(label)))
        return self.layers(torch.cat(parts, 1))

    @torch.no_grad()
    def follow_mean(self, w: Tensor, *, decay: float = 0.998) -> None:
        """Move `w_mean` towards the mean of w (b, w_dim), as training does each step."""
        self.w_mean.lerp_(w.detach().float().mean(0), 1 - decay)

    @torch.no_grad()
    def measure_mean(self, count: int = 4096, *, generator: torch.Generator | None = None) -> Tensor:
        """(w_dim,), the mean w over `count` draws of z; a network without labels."""
        device = self.w_mean.device
        return self(torch.randn(count, self.z_dim, device=device, generator=generator)).mean(0)


def truncate(ws: Tensor, centre: Tensor, psi: float, *, layers: int | None = None) -> Tensor:
    """centre + psi (w - centre) (StyleGAN, appendix B).

    Args:
        ws: (b, l, w_dim).
        centre: (w_dim,) or (b, l, w_dim).
        layers: truncate this many, from the first; None: all.
    """
    layers = ws.shape[1] if layers is None else layers
    cut = torch.arange(ws.shape[1], device=ws.device)[:, None] < layers
    return torch.where(cut, centre + psi * (ws - centre), ws)


def mix_styles(ws: Tensor, other: Tensor, crossover: Tensor) -> Tensor:
    """Layers from `crossover` (b,) on read `other` (b, l, w_dim) instead of `ws` (StyleGAN, section 3.1)."""
    layer = torch.arange(ws.shape[1], device=ws.device)
    return torch.where((layer < crossover[:, None])[..., None], ws, other)


def draw_crossovers(
    count: int, layers: int, *, probability: float = 0.9, generator: torch.Generator | None = None
) -> Tensor:
    """(count,) where to mix: uniform in 1 ... layers - 1 with `probability`, else `layers`, which mixes nothing."""
    device = generator.device if generator is not None else None
    at = torch.randint(1, layers, (count,), device=device, generator=generator)
    mixed = torch.rand(count, device=device, generator=generator) < probability
    return torch.where(mixed, at, torch.full_like(at, layers))


class SynthesisNetwork(nn.Module):
    """W+ to pictures."""

    def __init__(
        self,
        size: int,
        w_dim: int,
        *,
        channels: int = 3,
        channel_base: int = CHANNEL_BASE,
        channel_max: int = CHANNEL_MAX,
        channel_min: int = 0,
        clamp: float | None = None,
    ) -> None:
        """`channels`: of the picture; others: see `width` and `StyledConv`."""
        super().__init__()
        blocks, c_in = [], 0
        for side in sizes(size):
            c = width(side, channel_base=channel_base, channel_max=channel_max, channel_min=channel_min)
            blocks.append(SynthesisBlock(c_in, c, w_dim, size=side, channels=channels, clamp=clamp))
            c_in = c
        self.blocks = nn.ModuleList(blocks)
        self.size, self.w_dim = size, w_dim
        self.layers = 2 * len(blocks)
        """How many w it reads: 14 at 256 x 256."""

    def forward(self, ws: Tensor, *, noise: NoiseMode = "const", generator: torch.Generator | None = None) -> Tensor:
        """(b, layers, w_dim) to (b, channels, size, size) in float32.

        Raises:
            ValueError: `ws` has another shape.
        """
        x = image = None
        for block, w in zip(self.blocks, self.styles_of_blocks(ws), strict=True):
            x, image = block(x, image, w, noise=noise, generator=generator)
        assert image is not None
        return image

    def styles_of_blocks(self, ws: Tensor) -> Iterator[Tensor]:
        """What each block reads of `ws`; neighbours share one w."""
        if ws.shape[1:] != (self.layers, self.w_dim):
            raise ValueError(f"expected w+ (b, {self.layers}, {self.w_dim}), got {tuple(ws.shape)}")
        at = 0
        for block in self.blocks:
            assert isinstance(block, SynthesisBlock)
            yield ws[:, at : at + block.styles]
            at += block.styles - 1


class Generator(nn.Module):
    """Mapping and synthesis.

    One w for all layers is `generator.broadcast(w)`.
    """

    def __init__(
        self,
        size: int,
        *,
        z_dim: int = 512,
        w_dim: int = 512,
        label_dim: int = 0,
        mapping_layers: int = 8,
        mapping_rate: float = 0.01,
        channels: int = 3,
        channel_base: int = CHANNEL_BASE,
        channel_max: int = CHANNEL_MAX,
        channel_min: int = 0,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.mapping = MappingNetwork(z_dim, w_dim, label_dim=label_dim, layers=mapping_layers, rate=mapping_rate)
        self.synthesis = SynthesisNetwork(
            size,
            w_dim,
            channels=channels,
            channel_base=channel_base,
            channel_max=channel_max,
            channel_min=channel_min,
            clamp=clamp,
        )

    def broadcast(self, w: Tensor) -> Tensor:
        """(b, w_dim) to (b, layers, w_dim)."""
        return w[:, None].expand(-1, self.synthesis.layers, -1)

    def forward(
        self,
        z: Tensor,
        label: Tensor | None = None,
        *,
        psi: float = 1.0,
        noise: NoiseMode = "const",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """z (b, z_dim) to pictures (b, channels, size, size), w truncated by psi around `mapping.w_mean`."""
        with full_precision(z):
            w = self.mapping(z, label)
        ws = truncate(self.broadcast(w), self.mapping.w_mean, psi)
        return self.synthesis(ws, noise=noise, generator=generator)
