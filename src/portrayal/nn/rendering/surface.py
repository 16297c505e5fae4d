"""The surface of a tri-plane's density: marching cubes, with the colours of the points on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.measure import label, marching_cubes
from torch import Tensor

from portrayal.nn.rendering.fast import SplitField

LEVEL = 10.0
"""Density per world unit at the surface: light that goes a centimetre deeper into a head is down to three quarters."""
POINTS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Surface:
    """Triangles in the world of `face.camera`; seen from outside their points go round counterclockwise."""

    points: NDArray[np.float32]
    """(n, 3) world units."""
    triangles: NDArray[np.uint32]
    """(m, 3) numbers of points."""
    colours: NDArray[np.float32]
    """(n, 3) RGB in [0, 1], as pictures hold it."""


@torch.no_grad()
def extract_surface(
    field: SplitField, *, box_size: float, device: torch.device, resolution: int, level: float = LEVEL
) -> Surface | None:
    """The surface of the largest thing in the cube, closed where the cube cuts it; None where nothing is dense enough.

    Args:
        field: its first three colours are RGB.
        box_size: side of the cube in world units. resolution: cells along a side.
        level: density per world unit.
    """
    steps = ((torch.arange(resolution, device=device) + 0.5) / resolution - 0.5) * box_size
    points = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), -1).flatten(0, 2)  # x slowest
    raw = torch.cat([field.density(part)[0] for part in points.split(POINTS_AT_ONCE)])
    volume = raw.reshape([resolution] * 3).cpu().numpy()
    threshold = 1 + math.log(math.expm1(level))  # the raw density of this density, see `marching`
    solid = volume > threshold
    if not solid.any():
        return None
    outside = min(float(volume.min()), threshold - 1)
    alone = np.where(solid & ~_largest(solid), outside, volume)
    corners, triangles, _, _ = marching_cubes(np.pad(alone, 1, constant_values=outside), threshold)
    found = ((corners - 1 + 0.5) / resolution - 0.5) * box_size
    colours = _colours(field, torch.from_numpy(found).float().to(device))
    outwards = triangles[:, ::-1]  # scikit-image's go round clockwise
    return Surface(found.astype(np.float32), outwards.astype(np.uint32), colours.cpu().numpy())


def _largest(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected part with the most cells; crumbs float about many heads."""
    parts: NDArray[Any] = label(solid, connectivity=1)
    return parts == 1 + np.bincount(parts.ravel())[1:].argmax()


def _colours(field: SplitField, points: Tensor) -> Tensor:
    """(n, 3) in [0, 1]."""
    parts = [field.colour(field.density(part)[1])[:, :3] for part in points.split(POINTS_AT_ONCE)]
    return torch.cat(parts).float().clamp(0, 1)
