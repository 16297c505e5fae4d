"""Fields with known pictures."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from portrayal.face.camera import FOV_DEG, camera_label, fov_to_intrinsics, orbit
from portrayal.nn.triplane import Field

NOTHING = -60.0
"""A raw density whose activation rounds to nothing."""


def raw_density(density: float) -> float:
    """The number whose activation, softplus(x - 1), is this density per world unit."""
    return density + math.log(-math.expm1(-density)) + 1


def ball(radius: float, density: float, *, centre: Tensor | None = None) -> Field:
    """A ball of constant density, of the colour of the place."""
    middle = torch.zeros(3) if centre is None else centre

    def field(points: Tensor) -> tuple[Tensor, Tensor]:
        inside = (points - middle).norm(dim=-1) < radius
        return points * 0.5 + 0.5, torch.where(inside, raw_density(density), NOTHING)

    return field


def smooth_head(points: Tensor) -> tuple[Tensor, Tensor]:
    """A soft, bumpy, coloured blob that covers the middle of a portrait camera's picture."""
    x, y, z = points.unbind(-1)
    bumps = 0.02 * ((14 * x).sin() + (11 * y).cos() + (9 * z + 1).sin())
    away = torch.sqrt((x / 0.85) ** 2 + y**2 + (z - 0.05) ** 2 + 1e-9) + bumps
    waves = [torch.sin(9 * x + 5 * y), torch.cos(7 * y - 6 * z), torch.sin(8 * z + 4 * x)]
    return torch.stack(waves, -1) * 0.4 + 0.5, (0.25 - away) * 700


def turned(field: Field, rotation: Tensor) -> Field:
    """The field turned by (3, 3) about the world's origin."""
    return lambda points: field(points @ rotation)


def portrait_camera(azimuth: float = math.pi / 2, elevation: float = math.pi / 2, fov_deg: float = FOV_DEG) -> Tensor:
    """(1, 25)"""
    return camera_label(orbit(torch.tensor([azimuth]), torch.tensor([elevation])), fov_to_intrinsics(fov_deg))


def counted(field: Field, counts: list[int]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The field, writing down how many points it was asked for at a time."""

    def asked(points: Tensor) -> tuple[Tensor, Tensor]:
        counts.append(points.shape[0] * points.shape[1])
        return field(points)

    return asked
