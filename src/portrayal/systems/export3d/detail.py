"""What the source's own pixels add to a view: the background behind the head, and the detail on it.

Beyond the paper. It names as a limit that its background turns with the head (S 1.7): `Background` makes one from the
source, which stays where it is (`RendererConfig.split`). `fetch` reads the source's pixels along the rendered surface,
for a super-resolution that then need not invent them (`RendererConfig.detail`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.face.camera import world_to_picture
from portrayal.nn.precision import in_float32
from portrayal.nn.rendering.head import front_points, silhouette
from portrayal.systems.export3d.flow import Look
from portrayal.systems.export3d.layers import ConvBlock

LIFTED = 4
"""Channels of `Lift`."""
REACH = 0.4
"""How far the planes can move the place that a point is fetched from, in halves of the picture's side."""


@dataclass(frozen=True)
class SourceView:
    """The source, the camera that took it, and the face on it."""

    picture: Tensor
    """(b, 3, H, W) in [0, 1]."""
    camera: Tensor
    """(b, 25)."""
    identity: Tensor
    """(b, 80) coefficients a."""
    look: Look
    """Its expression and gaze."""

    @cached_property
    def hidden(self) -> Tensor:
        """(b, 1, H, W): where the source shows its own head."""
        return silhouette(self.camera, side=self.picture.shape[-1])


class Background(nn.Module):
    """What is behind the head: the source without it, filled in. (b, 3, H, W) to colours (b, c, H / 4, W / 4)."""

    def __init__(self, width: int, colours: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [
                ConvBlock(4, width, stride=2),
                ConvBlock(width, width, stride=2),
                ConvBlock(width, 2 * width, stride=2),
                ConvBlock(2 * width, 2 * width, stride=2),
                ConvBlock(2 * width, 2 * width, stride=2),
            ]
        )
        self.up = nn.ModuleList(
            [ConvBlock(4 * width, 2 * width), ConvBlock(4 * width, 2 * width), ConvBlock(3 * width, width)]
        )
        self.last = nn.Conv2d(width, colours, 3, 1, 1)

    def forward(self, source: SourceView) -> Tensor:
        """(b, colours, H / 4, W / 4) in [0, 1]."""
        x = torch.cat([(2 * source.picture - 1) * (1 - source.hidden), source.hidden], 1)
        maps = []
        for block in self.down:
            x = block(x)
            maps.append(x)
        for block, finer in zip(self.up, maps[-2:0:-1], strict=True):
            x = block(torch.cat([F.interpolate(x, size=finer.shape[-2:]), finer], 1))
        return torch.sigmoid(self.last(x).float())


class Lift(nn.Module):
    """The source's pixels put onto the xy plane, each where the head's rough shape has it (`GeneratorConfig.lift`)."""

    points: Tensor
    """(n, 3) world, `head.front_points`."""
    on_head: Tensor
    """(n,)."""

    def __init__(self, side: int, *, box_size: float) -> None:
        super().__init__()
        self.side = side
        points, on_head = front_points(side, box_size=box_size)
        self.register_buffer("points", points, persistent=False)
        self.register_buffer("on_head", on_head, persistent=False)

    @in_float32
    def forward(self, picture: Tensor, camera: Tensor) -> Tensor:
        """(b, 3, H, W) in [0, 1] and (b, 25) to (b, 4, side, side): colours in [-1, 1], and where the head is."""
        b = len(picture)
        places = 2 * world_to_picture(self.points.expand(b, -1, -1), camera, width=1, height=1) - 1
        grid = places.unflatten(1, (self.side, self.side))
        seen = F.grid_sample(2 * picture - 1, grid, mode="bilinear", padding_mode="border", align_corners=False)
        head = self.on_head.unflatten(0, (self.side, self.side)).expand(b, 1, -1, -1)
        return torch.cat([seen, head], 1)


@in_float32
def places_in_source(points: Tensor, offset: Tensor, camera: Tensor) -> Tensor:
    """Where the source shows what a view shows.

    Args:
        points: (b, r, 3) world, what the view's rays meet. offset: (b, r, 2) in [0, 1], 0.5 for none.
        camera: (b, 25) of the source.

    Returns:
        (b, r, 2) in [-1, 1] where it is inside the picture.
    """
    return 2 * world_to_picture(points, camera, width=1, height=1) - 1 + REACH * (2 * offset - 1)


def fetch(picture: Tensor, places: Tensor, opacity: Tensor | None) -> Tensor:
    """The source's pixels as the view sees them.

    Args:
        picture: (b, 3, s, s). places: (b, 2, h, w) of `places_in_source`; enlarged to s.
        opacity: (b, 1, h, w) of the head; the rest shows the pixel of the same place. None: the head is everywhere.

    Returns:
        (b, 3, s, s).
    """
    size = picture.shape[-2:]
    grid = F.interpolate(places, size=size, mode="bilinear", align_corners=False).movedim(1, -1)
    moved = F.grid_sample(picture, grid.to(picture), mode="bilinear", padding_mode="border", align_corners=False)
    if opacity is None:
        return moved
    share = F.interpolate(opacity, size=size, mode="bilinear", align_corners=False).to(picture)
    return torch.lerp(picture, moved, share)


def left_behind(source: SourceView, opacity: Tensor | None) -> Tensor:
    """Where the pixels that `fetch` takes for background are the source's own head. (b, 1, H, W) in [0, 1].

    Args:
        opacity: as of `fetch`; None: there is no background.
    """
    if opacity is None:
        return torch.zeros_like(source.picture[:, :1])
    size = source.hidden.shape[-2:]
    return source.hidden * (1 - F.interpolate(opacity, size=size, mode="bilinear", align_corners=False))
