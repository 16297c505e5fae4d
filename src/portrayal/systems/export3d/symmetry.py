"""What a portrait shows of one side of a face, for the other side, which it hides: faces are about alike on both.

Beyond the paper. A face that a portrait shows from the side and that is to look ahead has a half that no pixel is known
of; fetching it gives what is in front of it, drawn out. Its mirror image is what most people look like there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.face.camera import split_camera
from portrayal.nn.precision import in_float32
from portrayal.systems.export3d.detail import (
    BACK,
    COVERED,
    OwnSight,
    SourceView,
    Window,
    in_front,
    nearer_places,
    places_in_source,
    rising,
    sample,
)
from portrayal.systems.meshwarp.twin import SHARPER, TURNED

SIDES = (-1.0, 1.0, 1.0)
"""The world's x goes from one side of the face to the other."""
FEW = (0.2, 0.5)
"""Pixels of the source in one of a view, up to which it does not show a place, since it hides it or has it drawn out,
and from which on it does."""
FAR = (0.0, 0.04)
"""World units from the middle of the face to the side that is farther away in the source."""
PERSON = (0.5, 0.95)
"""Of `OwnSight.person`, up to which the source shows background, and from which on the person."""
LEAST = 0.02
"""What of a mirror image would not be seen."""
SOFT = 5
"""Pixels over which the sides pass into each other."""


@dataclass(frozen=True)
class Twin:
    """The other side of the face."""

    places: Tensor
    """(b, 2, H, W) as of `detail.places_in_source`."""
    share: Tensor
    """(b, 1, H, W) in [0, 1]: how far it is taken."""

    def over(self, moved: Tensor, picture: Tensor, window: Window | None = None) -> Tensor:
        """A picture (b, 3, s, s) as its own sides are fetched in the window, (b, 3, h, w), with what it shows of the
        other one."""
        share = F.interpolate(self.share, size=picture.shape[-2:], mode="bilinear", align_corners=False)
        share = share if window is None else share[..., *window]
        return torch.lerp(moved, sample(picture, self.places, window), share.to(picture))


@in_float32
def twin_of(
    places: Tensor, points: Tensor, offset: Tensor, camera: Tensor, source: SourceView, own: OwnSight
) -> Twin | None:
    """The mirror image of what a view shows, where the source shows it better than itself; None: nowhere.

    Args:
        places: (b, 2, H, W) where the view's points are fetched from. points: (b, H W, 3) world, with the source's
            expression. offset: (b, H W, 2) as of `detail.places_in_source`. camera: (b, 25) of the view.
    """
    size, flip = places.shape[-2:], points.new_tensor(SIDES)
    mirrored = points * flip
    there = places_in_source(mirrored, 0.5 + (offset - 0.5) * flip[:2], source.camera).mT.unflatten(-1, size)
    there = nearer_places(there, own.misplaced)
    here, better = _area(places), -_area(there)
    sharper = rising(torch.log2(better.clamp_min(FEW[0]) / here.clamp_min(FEW[0])), *SHARPER)
    drawn_out, beside = (1 - rising(here, *FEW)) * sharper, 1 - _person(places, own)
    wanted = torch.maximum(drawn_out, beside * _uncovered(points, source, camera).view_as(beside))
    shown = (1 - rising(in_front(there, mirrored, source, own.seen), *COVERED)) * _person(there, own)
    face = rising(points[..., 2].view_as(wanted), *BACK)
    share = _mean(wanted * shown * face, SOFT)
    return Twin(there, share) if float(share.max()) > LEAST else None


def _uncovered(points: Tensor, source: SourceView, camera: Tensor) -> Tensor:
    """(b, H W) how far points (b, H W, 3) are on the side of a face that the source looks at from the other side, and
    the camera less so."""
    before, now = (F.normalize(split_camera(x)[0][:, :3, 3], dim=1)[:, :1] for x in (source.camera, camera))
    side = before.sign()
    turned = rising(before * side, *TURNED) * rising((before - now) * side, *TURNED)
    return turned * rising(-points[..., 0] * side, *FAR)


def _person(places: Tensor, own: OwnSight) -> Tensor:
    """How far the source shows the person in places, not its background."""
    return rising(F.grid_sample(own.person, places.movedim(1, -1), align_corners=False), *PERSON)


def _area(places: Tensor) -> Tensor:
    """(b, 1, H, W) pixels of the source in one of the view, negative where it is the other way round."""
    h, w = places.shape[-2:]
    smooth = F.pad(_mean(places, 3), (1, 1, 1, 1), mode="replicate")
    across = (smooth[..., 1:-1, 2:] - smooth[..., 1:-1, :-2]) * (w / 4)
    down = (smooth[..., 2:, 1:-1] - smooth[..., :-2, 1:-1]) * (h / 4)
    return across[:, :1] * down[:, 1:] - across[:, 1:] * down[:, :1]


def _mean(x: Tensor, width: int) -> Tensor:
    return F.avg_pool2d(x, width, 1, width // 2, count_include_pad=False)
