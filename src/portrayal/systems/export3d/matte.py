"""What of the source goes with its head (`RendererConfig.matte`).

Beyond the paper. The rays are 4 pixels apart and know a head by its rough shape: hair that hangs beside it would stay
behind, and the border between head and background would be as wide as a ray. The source shows that border itself. The
matte says for each of its pixels whether it goes with the head; a view fetches it as it fetches the pixels. Nobody
labels it: it learns from what a driving frame shows where it sends them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from portrayal.nn.precision import in_float32
from portrayal.nn.rendering.head import HALF_AXES, MIDDLE
from portrayal.nn.rendering.rays import camera_rays
from portrayal.systems.export3d.detail import SourceView
from portrayal.systems.export3d.layers import UNet

GIVEN = 6
"""Channels that it reads: the picture, and what `around_head` says."""
PRIOR = 3.0
"""How sure it is of the head's rough shape in the beginning; no surer, or it would learn nothing."""
LEVEL = 0.2
"""Least share of a ray's direction towards the plane through the head's middle, so that they meet."""


class Matte(UNet):
    """(b, 3, H, W) to (b, 1, H, W) in [0, 1]; it begins as the head's rough shape."""

    def __init__(self, width: int) -> None:
        super().__init__(GIVEN, width, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, source: SourceView) -> Tensor:
        around = around_head(source.camera, side=source.picture.shape[-1])
        more = self.pass_through(torch.cat([2 * source.picture - 1, around], 1)).float()
        return torch.sigmoid(PRIOR * around[:, 2:] + more)


@in_float32
def around_head(camera: Tensor, *, side: int) -> Tensor:
    """Where each pixel's ray passes the head, in its half axes.

    Args:
        camera: (b, 25). side: of the picture.

    Returns:
        (b, 3, side, side): x right and y up in the plane through the head's middle; 1 - r^2, r being how near the ray
        comes to the middle (`nn.rendering.head`).
    """
    origins, directions = camera_rays(camera, height=side, width=side)
    axes, middle = origins.new_tensor(HALF_AXES), origins.new_tensor(MIDDLE)
    met = (origins + middle_depth(origins, directions)[..., None] * directions - middle) / axes
    start, along = (origins - middle) / axes, directions / axes
    nearest = start.square().sum(-1) - (start * along).sum(-1).square() / along.square().sum(-1)
    maps = torch.stack([met[..., 0], met[..., 1], 1 - nearest], 1)
    return maps.clamp(-3, 3).unflatten(-1, (side, side))


def middle_depth(origins: Tensor, directions: Tensor) -> Tensor:
    """(b, r, 3) each to (b, r): where rays meet the plane through the head's middle that faces as the head does."""
    towards = directions[..., 2].clamp_max(-LEVEL)
    return (MIDDLE[2] - origins[..., 2]) / towards
