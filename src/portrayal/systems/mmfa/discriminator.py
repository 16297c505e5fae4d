"""The discriminator (A.2), face-vid2vid's: patches of one resolution, with its inner features for feature matching."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.blocks import conv
from portrayal.nn.spade import spectral_norm


class DiscriminatorBlock(nn.Module):
    """4 x 4 convolution without padding, instance norm, leaky ReLU, and the mean of 2 x 2."""

    def __init__(self, c_in: int, c_out: int, *, norm: bool, pool: bool) -> None:
        super().__init__()
        self.pool = pool
        self.conv = spectral_norm(conv(2, c_in, c_out, 4, padding=0))
        self.norm = nn.InstanceNorm2d(c_out, affine=True) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.norm(self.conv(x)), 0.2)
        return F.avg_pool2d(x, 2) if self.pool else x


class Discriminator(nn.Module):
    """Picture to the features of each block and a map of logits; all convolutions have spectral norm."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        last = len(channels) - 1
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(c_in, c, norm=i > 0, pool=i < last)
            for i, (c_in, c) in enumerate(zip([3, *channels[:-1]], channels, strict=True))
        )
        self.logits = spectral_norm(conv(2, channels[-1], 1, 1))

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """(b, 3, h, w) in [0, 1] to the features (b, c, h', w') of each block and the logits (b, 1, h', w')."""
        features = []
        x = image
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return features, self.logits(x)
