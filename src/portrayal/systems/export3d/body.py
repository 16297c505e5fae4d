"""Neck, shoulders and the hair on them, which go with a head that moves and stay where the picture ends.

Beyond the paper. A tri-plane's body turns and moves with its head as one piece, and a picture's does not: it is fetched
from where the source shows it, bent.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.face.topology import CHIN
from portrayal.media.crop import picture_window
from portrayal.nn.precision import in_float32
from portrayal.nn.rendering.head import seen_from
from portrayal.systems.export3d.detail import OwnSight, own_places, rising
from portrayal.types import Portrait

NECK = (0.0, -0.3, -0.06)
"""World units: what the shoulders follow."""
SHOULDER, COLLAR, BORDER = 0.5, 0.06, 0.1
"""Half a width of the shoulders and the softness of their upper end in world units, and of the picture's border in
sides. On training pairs the background's error below the neck falls by a quarter, nearly alike for 0.5 to 0.9."""
FAR = (0.03, 0.1)
"""Sides of the picture that a neck moves: up to which its head's density ends nowhere and hair on shoulders stays, and
from which on body and hair would tear there."""
THROAT = (0.02, 0.07)
"""World units below the neck, where a head ends."""
LOW, LOWEST = (-0.35, -0.2), (0.1, 0.3)
"""World units below the neck, where a person's hair begins to go with it, and where it goes as shoulders do."""
STRETCHED = 2.0
"""Times a move of the neck, over which what goes with it is stretched or pressed together towards the border, as far as
the picture goes: to twice its length."""
LOWER = 0.15
"""World units between a person's neck and a usual one, at most."""
UP = 0.15
"""World units by which the shoulders of a head that moves far begin higher: a collar's tips and its edge go as one."""
LENGTH = 0.2
"""World units of a neck that keep their length where the picture has little below it, at most half of what it has."""


def neck_of(portrait: Portrait) -> Tensor:
    """(1, 3) world: as deep as `NECK`, and as high as the portrait (b = 1) shows the chin."""
    usual = portrait.params.camera.new_tensor(NECK)
    step = usual.new_tensor([0.0, -LOWER, 0.0])
    at, lower = seen_from(portrait.params.camera, torch.stack([usual, usual + step]))[0][0]
    chin = portrait.params.landmarks[0, CHIN, :2] / portrait.image.shape[-1]
    steps = torch.dot(chin - at, lower - at) / (lower - at).square().sum()
    return (usual + steps.clamp(-1, 1) * step)[None]


def ends_below(portrait: Portrait) -> bool:
    """`OwnSight.ends` of a portrait (b = 1)."""
    image = portrait.image[0].movedim(0, -1).cpu().numpy()
    return picture_window(image)[3] < len(image)


@in_float32
def below_neck(source: Tensor, driving: Tensor, neck: Tensor, *, side: int) -> Tensor:
    """(b, 1, side, side) in [0, 1]: 1 where a head has ended, below a neck (1, 3) that has moved far from where the
    source shows it; what is there goes as `behind_places` has it."""
    (before, _), (now, unit) = (seen_from(camera, neck) for camera in (source, driving))
    y = (own_places(side, side).to(driving)[1:] + 1) / 2
    moved = (before - now).norm(dim=-1)[..., None, None]
    return rising((y - now[:, :, 1:, None]) / unit[..., None, None], *THROAT) * rising(moved, *FAR)


@in_float32
def behind_places(source: Tensor, driving: Tensor, *, side: int, own: OwnSight | None = None) -> Tensor:
    """Where the source shows the background of a view: in the same place, but for neck and shoulders, which go with the
    neck. Towards the picture's left, right and lower border they stay; sideways not where the lower one shows nothing.

    Args:
        source, driving: (b, 25) cameras. side: of the result.
        own: of the source, where it is known: its hair goes with the neck, too, below the ears.

    Returns:
        (b, 2, side, side) in [-1, 1] where it is inside the picture.
    """
    neck = driving.new_tensor([NECK]) if own is None else own.neck
    (before, _), (now, unit) = (seen_from(camera, neck) for camera in (source, driving))  # (b, 1, 2), (b, 1)
    moved = 2 * (before - now)[:, 0, :, None, None]  # (b, 2, 1, 1)
    places = own_places(side, side).to(driving)
    x, y = (places + 1) / 2
    right, down = (torch.stack([x, y], -1)[None] - now[:, None]).div(unit[:, None, :, None])[:, None].unbind(-1)
    far = rising(moved.norm(dim=1, keepdim=True) / 2, *FAR)
    begin = torch.zeros_like(far) if own is None else UP * far
    weight = torch.exp(-(right / SHOULDER).square()) * torch.sigmoid((down + begin) / COLLAR)  # (b, 1, side, side)
    if own is not None:
        hair = F.grid_sample(own.person, (places + moved).movedim(1, -1), align_corners=False)
        hair = hair * rising(down, *LOW) * (1 - rising(down, *LOWEST))
        weight = torch.maximum(weight, hair * far)
    kept = torch.zeros_like(unit) if own is None else (LENGTH * unit).minimum((1 - before[..., 1]) / 2)
    away = torch.stack([x, 1 - x, 1 - y])  # from the left, right and lower border
    border = (away / _borders(moved, now, kept)).clamp(0, 1)
    sideways = border if own is None or not own.ends else border[:, :2]
    border = torch.cat([sideways.amin(1, keepdim=True), border.amin(1, keepdim=True)], 1)
    return places + border * weight * moved


def _borders(moved: Tensor, neck: Tensor, kept: Tensor) -> Tensor:
    """(b, 3, 1, 1) sides of the picture: how far from its left, right and lower border what goes with a neck is bent.

    Args:
        moved: (b, 2, 1, 1) halves of the picture. neck: (b, 1, 2) in the picture. kept: (b, 1) sides of it below the
            neck that are not bent.
    """
    room = torch.cat([neck[:, 0, :1], 1 - neck[:, 0, :1], 1 - neck[:, 0, 1:] - kept], 1).clamp_min(BORDER)
    along = (moved / 2).abs().flatten(1)[:, [0, 0, 1]]
    bent = torch.maximum(STRETCHED * along, along[:, 1:].norm(dim=1, keepdim=True)).clamp_min(BORDER)
    return torch.minimum(bent, room)[..., None, None]
