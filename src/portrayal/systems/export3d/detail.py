"""What the source's own pixels add to a view: the background behind the head, and the detail on it.

Beyond the paper. It names as a limit that its background turns with the head (S 1.7): `Background` makes one from the
source, which stays where it is (`RendererConfig.split`). `fetch` reads the source's pixels along the rendered surface,
for a super-resolution that then need not invent them (`RendererConfig.detail`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.face.camera import world_to_picture
from portrayal.nn.precision import in_float32
from portrayal.nn.rendering.depth import nearness, resample_depth
from portrayal.nn.rendering.head import MIDDLE, front_points, head_distance, seen_from, silhouette
from portrayal.systems.export3d.flow import Look
from portrayal.systems.export3d.layers import ConvBlock
from portrayal.types import Depth

LIFTED = 4
"""Channels of `Lift`."""
REACH = 0.4
"""How far the planes can move the place that a point is fetched from, in halves of the picture's side."""
APART = (0.05, 0.1)
"""World units between a point and what the source shows in its place: it may be that, it cannot be that."""
COVERED = (0.03, 0.1)
"""World units behind what the source shows in its place from which on a point begins to be covered there, and is."""
BACK = (-0.12, -0.04)
"""z in the world up to which a point belongs to the back of the head, and from which on to the face."""
SIDEWAYS = (0.4, 0.65)
"""Of a way out of the head's middle, the share across the picture from which on it goes to the side; what is above is
hair, also where a nodding head shows more of it."""
RIM = 1.18
"""Where the source shows what is around a head, in the half axes of its rough shape."""
FOG = (0.5, 0.9)
"""Opacities up to which such a point is nothing, and from which on it is hidden skin or hair."""
MIST = (0.1, 0.2)
"""Opacities up to which a point is nothing, wherever it is, and from which on it is something."""


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

    @cached_property
    def distance(self) -> Tensor:
        """(b, 1, H, W) of `head.head_distance`."""
        return head_distance(self.camera, side=self.picture.shape[-1])


@dataclass(frozen=True)
class OwnSight:
    """What the networks see of the source with its own camera and expression."""

    misplaced: Tensor
    """(b, 2, H, W) halves of the picture's side: how far from its own place each pixel is fetched."""
    seen: Depth
    """(b, 1, h, w)."""
    person: Tensor
    """(b, 1, n, n) in [0, 1]: where the source is no background."""
    neck: Tensor
    """(1, 3) world, of `body.neck_of`."""
    ends: bool = False
    """Whether the picture ends above the portrait's lower border, so that nothing there has to stay in its place."""


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


@in_float32
def nearer_places(places: Tensor, misplaced: Tensor) -> Tensor:
    """Places as of `places_in_source` (b, 2, h, w) without what they are off in the source's own view.

    Args:
        misplaced: (b, 2, h, w), as of `OwnSight`.
    """
    nearer = places
    for _ in range(2):  # it is known in the source, where the places lead
        nearer = places - sample(misplaced, nearer)
    return nearer


@in_float32
def rim_places(places: Tensor, points: Tensor, source: SourceView, seen: Depth) -> Tensor:
    """Places where the back of the head, which the source does not show, is fetched from the rim of what it shows.

    A view that turns sees it beside the face. Where it is projected to, the source shows an ear or an eye.

    Args:
        places: (b, 2, H, W) of `places_in_source`. points: (b, H W, 3) world, what the view meets, with the source's
            expression. seen: `OwnSight.seen` of the source.

    Returns:
        (b, 2, H, W): hair where the source has hair around the head, its background where it has none.
    """
    covered = rising(in_front(places, points, source, seen), *COVERED)
    back = 1 - rising(points[..., 2].view_as(covered), *BACK)
    middle = 2 * seen_from(source.camera, places.new_tensor([MIDDLE]))[0].mT[..., None] - 1
    inside = sample(source.distance, places).clamp_min(0.1).sqrt()
    way = places - middle
    sideways = rising(way[:, :1].abs() / way.norm(dim=1, keepdim=True).clamp_min(1e-6), *SIDEWAYS)
    return places + covered * back * sideways * way * ((RIM / inside).clamp_min(1) - 1)


@in_float32
def without_fog(opacity: Tensor, points: Tensor, places: Tensor, source: SourceView, seen: Depth) -> Tensor:
    """Opacity of a head without the thin density around it.

    A view that turns looks through it from the side, and would fetch the ear or the eye that the source has in front of
    or behind it.

    Args:
        opacity: (b, 1, h, w). points: (b, H W, 3) world, what the view meets, with the source's expression.
        places: (b, 2, H, W) of `places_in_source`. seen: `OwnSight.seen` of the source.

    Returns:
        (b, 1, H, W), less where the source shows something else in the place of a half transparent point.
    """
    apart = in_front(places, points, source, seen).abs()
    larger = F.interpolate(opacity, size=apart.shape[-2:], mode="bilinear", align_corners=False)
    return larger * rising(larger, *MIST) * (1 - rising(apart, *APART) * (1 - rising(larger, *FOG)))


def in_front(places: Tensor, points: Tensor, source: SourceView, seen: Depth) -> Tensor:
    """(b, 1, h, w) world units: how much nearer is what the source shows in places (b, 2, h, w) than the points
    (b, h w, 3) that belong there. `seen`: `OwnSight.seen` of the source."""
    own = resample_depth(seen, places.movedim(1, -1)).nearness
    return own - nearness(points, source.camera).view_as(own)


def rising(x: Tensor, low: float, high: float) -> Tensor:
    """From 0 at `low` to 1 at `high`."""
    return ((x - low) / (high - low)).clamp(0, 1)


Window = tuple[slice, slice]
"""Rows and columns of a picture."""


def sample(picture: Tensor, places: Tensor, window: Window | None = None) -> Tensor:
    """A picture (b, c, h, w) read at places (b, 2, n, m) in [-1, 1], which are enlarged to it; only in the window."""
    size = picture.shape[-2:]
    rows, columns = window or (slice(None), slice(None))
    shift = places - own_places(*places.shape[-2:]).to(places)  # enlarging it leaves what stays exactly in its place
    larger = F.interpolate(shift, size=size, mode="bilinear", align_corners=False)[..., rows, columns]
    grid = (larger + own_places(*size)[..., rows, columns].to(places)).movedim(1, -1).to(picture)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)


@lru_cache(maxsize=8)
def own_places(height: int, width: int) -> Tensor:
    """(2, height, width) of the pixels' middles, x and y in [-1, 1]."""
    x, y = ((torch.arange(n) + 0.5) / n * 2 - 1 for n in (width, height))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))


def fetch(picture: Tensor, places: Tensor, opacity: Tensor | None, behind: Tensor | None = None) -> Tensor:
    """The source's pixels as the view sees them.

    Args:
        picture: (b, 3, s, s). places: (b, 2, h, w) of `places_in_source`; enlarged to s.
        opacity: (b, 1, h, w) of the head; the rest is background. None: the head is everywhere.
        behind: of `behind_places`; None: the background stays.

    Returns:
        (b, 3, s, s).
    """
    moved = sample(picture, places)
    if opacity is None:
        return moved
    share = F.interpolate(opacity, size=picture.shape[-2:], mode="bilinear", align_corners=False).to(picture)
    return torch.lerp(picture if behind is None else sample(picture, behind), moved, share)


def left_behind(source: SourceView, opacity: Tensor | None, behind: Tensor | None = None) -> Tensor:
    """Where the pixels that `fetch` takes for background are the source's own head. (b, 1, H, W) in [0, 1].

    Args:
        opacity, behind: as of `fetch`; without opacity there is no background.
    """
    if opacity is None:
        return torch.zeros_like(source.picture[:, :1])
    hidden = source.hidden if behind is None else sample(source.hidden, behind)
    return hidden * (1 - F.interpolate(opacity, size=hidden.shape[-2:], mode="bilinear", align_corners=False))
