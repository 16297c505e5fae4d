"""A network's drawing of a face, bent so that its landmarks are where the motion wants them.

For systems whose networks draw a whole face: what a small one draws smiles less, opens its mouth less far or sits a few
pixels aside. Where its landmarks are is read by the tracker, where they should be is known, and the picture between
them follows smoothly. None of the papers has it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.face.box import boxes_of_landmarks
from portrayal.face.embedded_tracker import load_embedded_tracker
from portrayal.media.head import pixel_centres
from portrayal.types import FaceParams

REACHES = (0.6, 0.2, 0.07)
"""Standard deviations of the Gaussians over which a landmark moves its surroundings, coarse ones first, each for what
those before it left over; head units."""
ALONE = 0.05
"""Weight of standing still, in that of a landmark at its own place: what is far from all of them does not move."""
FURTHEST = 0.25
"""How far a landmark is moved at most, head units."""
CELLS = 128
"""Of the field of displacements along the shorter side of a picture, at most; it is interpolated in between."""
SKIN = 468
"""Landmarks that are bent; the rest are the irises."""


def bend(drawn: Tensor, params: FaceParams, *, strength: float = 1.0) -> Tensor:
    """Drawings of a face with its landmarks where they should be.

    Args:
        drawn: (t, 3, h, w), about [0, 1]. params: of t frames, in its pixels: what it should show.
        strength: from 0 to 1, how far.

    Returns:
        (t, 3, h, w).
    """
    if strength == 0:
        return drawn
    tracker, boxes = load_embedded_tracker(drawn.device), boxes_of_landmarks(params.landmarks)
    found, _, confidence = tracker.estimate(drawn.float().clamp(0, 1), boxes)
    wanted = params.landmarks[:, :SKIN, :2]
    apart = (found[:, :SKIN, :2] - wanted) / params.scale[:, None, None]
    length = apart.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    limited = apart * (FURTHEST * torch.tanh(length / FURTHEST) / length) * confidence.sigmoid()[:, None, None]
    return _read(drawn, strength * displacement(limited, wanted, params.scale, drawn.shape[2:]))


def displacement(apart: Tensor, points: Tensor, unit: Tensor, size: torch.Size) -> Tensor:
    """(t, 2, h', w') pixels by which a picture is read elsewhere, a value for each of `CELLS`.

    Args:
        apart: (t, n, 2) displacements in head units at points (t, n, 2) in pixels. unit: (t,) pixels of a head unit.
        size: h and w of the picture.
    """
    step = max(1, round(min(size) / CELLS))
    h, w = (max(1, side // step) for side in size)
    x = (torch.arange(w, device=points.device) + 0.5) * size[1] / w
    y = (torch.arange(h, device=points.device) + 0.5) * size[0] / h
    total = points.new_zeros(len(points), 2, h, w)
    left = apart * unit[:, None, None]
    for reach in REACHES:
        s = (reach * unit)[:, None, None]
        kx = torch.exp(-((points[..., :1] - x) / s).square() / 2)  # (t, n, w)
        ky = torch.exp(-((points[..., 1:] - y) / s).square() / 2)
        parts = torch.cat([left.mT, torch.ones_like(left[..., :1]).mT], 1)  # (t, 3, n)
        sums = (ky.mT[:, None] * parts[:, :, None]) @ kx[:, None]  # (t, 3, h, w)
        total = total + sums[:, :2] / (sums[:, 2:] + ALONE)
        near = torch.exp(-(torch.cdist(points, points) / s).square() / 2)
        left = left - near @ left / (near.sum(-1, keepdim=True) + ALONE)
    return total


def _read(picture: Tensor, field: Tensor) -> Tensor:
    size = picture.shape[2:]
    shift = F.interpolate(field, size, mode="bilinear", align_corners=False).movedim(1, -1)
    grid = (pixel_centres(size, picture.device) + shift) * (2 / shift.new_tensor(size[::-1])) - 1
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)
