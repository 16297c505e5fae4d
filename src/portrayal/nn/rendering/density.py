"""Regularisers of a field's density (EG3D, Sec. 4; OTAvatar's recipe). Unweighted scalars.

`density` takes points (b, n, 3) of the world to raw densities (b, n); only these have gradients.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Density = Callable[[Tensor], Tensor]


def random_points(
    batch: int, count: int, *, half_extent: float, like: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """(batch, count, 3) uniform in the cube from -half_extent to half_extent.

    EG3D and OTAvatar draw from [-1, 1] although their planes span [-0.5, 0.5], so 7 of 8 of their points see zero
    features only; half the `box_size` of the planes wastes none.
    """
    drawn = torch.rand(batch, count, 3, device=like.device, dtype=like.dtype, generator=generator)
    return (drawn * 2 - 1) * half_extent


def density_variation(
    density: Density, points: Tensor, *, distance: float = 0.004, generator: torch.Generator | None = None
) -> Tensor:
    """Mean absolute difference of the density between points (b, n, 3) and their neighbours.

    Args:
        distance: standard deviation of the way to the neighbour in world units, per axis.
    """
    moved = torch.randn(points.shape, device=points.device, dtype=points.dtype, generator=generator)
    here, there = density(torch.cat([points, points + distance * moved], 1)).chunk(2, 1)
    return (here - there).abs().mean()


def density_monotonicity(density: Density, points: Tensor, *, step: float = 1 / 256) -> Tensor:
    """How much the density falls from points (b, n, 3) to those one `step` farther from the frontal camera (-z).

    Zero for a solid face without floating shreds before it.
    """
    behind = points - points.new_tensor([0, 0, step])
    front, back = density(torch.cat([points, behind], 1)).chunk(2, 1)
    return (front - back).relu().mean()
