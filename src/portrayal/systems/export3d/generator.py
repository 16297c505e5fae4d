"""The hybrid tri-plane generator G (Sec. 3.2, Fig. 3): a source picture and beta' to the tri-plane of equation 6."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn

from portrayal.errors import InputError
from portrayal.systems.export3d.config import GeneratorConfig
from portrayal.systems.export3d.detail import LIFTED, Lift
from portrayal.systems.export3d.layers import ConvBlock, enlarge
from portrayal.systems.export3d.vit import EAdaLnVitBlock, OverlapPatchMerge, ShuffleUp, VitBlock

BASIS_GAIN = 10.0
"""Factor on the planes of the basis, with which they learn as fast as they should at the others' rate."""


class ImageFeatures(nn.Module):
    """The convolutional encoder: source to (b, h / 4, H / 8, W / 8)."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        last = config.hidden // 4
        c = [min(config.stem << level, last) for level in range(3)] + [last]
        layers: list[nn.Module] = [ConvBlock(3, c[0])]
        for c_in, c_out in pairwise(c):
            layers += [ConvBlock(c_in, c_out, stride=2), ConvBlock(c_out, c_out)]
        self.layers = nn.Sequential(*layers)

    def forward(self, source: Tensor) -> Tensor:
        """(b, 3, H, W) in [0, 1]."""
        return self.layers(2 * source - 1)


class BasisPlanes(nn.Module):
    """Planes that an expression adds to everybody's: a linear function of beta' (`GeneratorConfig.basis`).

    The head stands still in the planes, so what opens a mouth is at the same place in all of them.
    """

    def __init__(self, config: GeneratorConfig, *, side: int, dimension: int) -> None:
        super().__init__()
        self.shares = nn.Linear(dimension, config.basis, bias=False)
        self.planes = nn.Parameter(1e-3 * torch.randn(config.basis, 3 * config.plane_channels, side, side))

    def forward(self, expression: Tensor) -> Tensor:
        """(b, d) to (b, 3 c, side, side)."""
        return BASIS_GAIN * torch.einsum("bk,kchw->bchw", self.shares(expression), self.planes)


@dataclass(frozen=True)
class SourceFeatures:
    """What G keeps of a source, before any expression."""

    tokens: Tensor
    """(b, H W / 256, h) visual tokens."""
    lifted: Tensor | None = None
    """(b, 4, H / 2, W / 2) of `detail.Lift`, where the configuration has it."""


class TriplaneGenerator(nn.Module):
    """G. `encode` is needed once per source, `decode` once per expression; the camera is the renderer's."""

    mean_planes: Tensor
    """(3, c, H / 2, W / 2): T_EMA, added to every tri-plane; zeros before training."""

    def __init__(self, config: GeneratorConfig, *, image_size: int, dimension: int, box_size: float) -> None:
        """`dimension`: d, of beta'. `box_size`: of the tri-plane's cube."""
        super().__init__()
        self.config = config
        self.height = image_size // 16
        """Tokens along a side."""
        hidden, quarter = config.hidden, config.hidden // 4
        about = {"heads": config.heads, "expansion": config.expansion}
        self.features = ImageFeatures(config)
        self.merge = OverlapPatchMerge(quarter, hidden)
        self.conditional = nn.ModuleList(
            EAdaLnVitBlock(hidden, dimension, **about) for _ in range(config.conditional_blocks)
        )
        self.shuffle = ShuffleUp(config.filter_sigma)
        self.between = ConvBlock(quarter, quarter)
        self.merge_again = OverlapPatchMerge(quarter, hidden)
        self.plain = nn.ModuleList(VitBlock(hidden, **about) for _ in range(config.blocks))
        self.joined = ConvBlock(quarter, config.last)
        self.lift = Lift(image_size // 2, box_size=box_size) if config.lift else None
        self.from_lifted = ConvBlock(LIFTED, config.last) if config.lift else None
        self.basis = BasisPlanes(config, side=image_size // 4, dimension=dimension) if config.basis else None
        self.refine = ConvBlock(config.last, config.last)
        self.planes = nn.Conv2d(config.last, 3 * config.plane_channels, 3, 1, 1)
        side = image_size // 2
        self.register_buffer("mean_planes", torch.zeros(3, config.plane_channels, side, side))

    def forward(self, source: Tensor, expression: Tensor, camera: Tensor | None = None) -> Tensor:
        """T_beta(S) with the moving average (equation S 2).

        Args:
            source: (b, 3, H, W) in [0, 1]. expression: (b, d) beta'. camera: as of `encode`.

        Returns:
            (b, 3, c, H / 2, W / 2), planes as in `nn.triplane`.
        """
        return self.stabilise(self.decode(self.encode(source, camera), expression))

    def encode(self, source: Tensor, camera: Tensor | None = None) -> SourceFeatures:
        """
        Args:
            source: (b, 3, H, W) in [0, 1]. camera: (b, 25) of the source, needed by `GeneratorConfig.lift`.

        Raises:
            InputError: there is no camera, and the configuration needs one.
        """
        tokens = self.merge(self.features(source))
        if self.lift is None:
            return SourceFeatures(tokens)
        if camera is None:
            raise InputError("generator.lift is set: the generator needs the source's camera")
        return SourceFeatures(tokens, self.lift(source, camera))

    def decode(self, source: SourceFeatures, expression: Tensor) -> Tensor:
        """A source and beta' (b, d) to the tri-plane (b, 3, c, H / 2, W / 2), T^j of equation S 2 before the sum."""
        side = self.height
        x = source.tokens
        for block in self.conditional:
            x = block(x, expression, side)
        x = self.shuffle(x, side)  # (b, h / 4, H / 8, W / 8)
        x = enlarge(self.between(x))  # (b, h / 4, H / 4, W / 4)
        fine = self.merge_again(x)  # (b, H W / 64, h)
        for block in self.plain:
            fine = block(fine, 2 * side)
        x = x + self.shuffle(fine, 2 * side)
        x = enlarge(self.joined(x))  # (b, last, H / 2, W / 2)
        if self.from_lifted is not None:
            assert source.lifted is not None
            x = x + self.from_lifted(source.lifted)
        x = self.planes(self.refine(x))
        if self.basis is not None:
            x = x + enlarge(self.basis(expression))
        return rearrange(x.float(), "b (plane c) h w -> b plane c h w", plane=3)

    def stabilise(self, planes: Tensor) -> Tensor:
        """T^j + T_EMA^(j - 1) (equation S 2)."""
        return planes + self.mean_planes

    @torch.no_grad()
    def follow(self, planes: Tensor) -> None:
        """Move T_EMA towards the batch's mean tri-plane (equation S 2); training calls it after `stabilise`.

        Args:
            planes: (b, 3, c, H / 2, W / 2) of `decode`, without T_EMA, which else would follow itself.
        """
        self.mean_planes.lerp_(planes.detach().float().mean(0), 1 - self.config.plane_decay)
