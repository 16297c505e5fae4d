"""Volume rendering in two passes (EG3D, Sec. 3.2 and 4.1): even samples, then more where something is.

The straightforward form, differentiable, and the one that `fast` must agree with.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from portrayal.nn.rendering.marching import march_rays, segment_weights
from portrayal.nn.rendering.rays import box_limits, points_on_rays
from portrayal.nn.rendering.sampling import importance_depths, stratified_depths
from portrayal.nn.triplane import Field


@dataclass(frozen=True)
class RayConfig:
    """Where rays are sampled."""

    coarse_samples: int = 48
    """Of the first pass, evenly spaced."""
    fine_samples: int = 48
    """Of the second pass; 0 leaves it out."""
    limits: tuple[float, float] | None = (2.25, 3.3)
    """Nearest and farthest depth in world units, EG3D's for portraits; None takes each ray's way through the cube."""
    box_size: float = 1.0
    """Side of the cube of the planes in world units."""
    disparity: bool = False
    """Even steps of 1/depth in the first pass."""
    white_background: bool = False
    """What rays do not hit is white instead of black."""

    def __post_init__(self) -> None:
        if self.coarse_samples < 4 or self.fine_samples < 0:
            raise ValueError(
                f"coarse_samples must be at least 4 and fine_samples at least 0, "
                f"got {self.coarse_samples} and {self.fine_samples}"
            )
        if self.limits is not None and not 0 < self.limits[0] < self.limits[1]:
            raise ValueError(f"limits must be two depths 0 < near < far, got {self.limits}")
        if self.box_size <= 0:
            raise ValueError(f"box_size must be above 0, got {self.box_size}")


@dataclass(frozen=True)
class Draws:
    """All randomness of one rendering."""

    jitter: Tensor
    """(b, r, coarse samples) in [0, 1): place within each stratum."""
    importance: Tensor
    """(b, r, fine samples) in [0, 1]: where in the cumulated weights."""


@dataclass(frozen=True)
class Rendered:
    """A rendering, ray by ray."""

    colour: Tensor
    """(b, r, c), range of the field's colours."""
    depth: Tensor
    """(b, r) world units along the ray; where nothing was seen, the farthest depth that was looked at."""
    opacity: Tensor
    """(b, r) in [0, 1]."""


def random_draws(rays: Tensor, config: RayConfig, generator: torch.Generator | None = None) -> Draws:
    """Fresh draws for rays (b, r, 3), as in training."""

    def uniform(count: int) -> Tensor:
        return torch.rand(*rays.shape[:2], count, generator=generator, device=rays.device, dtype=rays.dtype)

    return Draws(uniform(config.coarse_samples), uniform(config.fine_samples))


def middle_draws(rays: Tensor, config: RayConfig) -> Draws:
    """The same for every ray, so that a video does not flicker: the middles of the strata, evenly spread quantiles."""
    b, r, _ = rays.shape
    count = config.fine_samples
    quantiles = (torch.arange(count, device=rays.device, dtype=rays.dtype) + 0.5) / max(count, 1)
    return Draws(rays.new_full((b, r, config.coarse_samples), 0.5), quantiles.expand(b, r, count))


def ray_limits(origins: Tensor, directions: Tensor, config: RayConfig) -> tuple[float | Tensor, float | Tensor]:
    """Nearest and farthest depth: the configured numbers, or (b, r) each.

    Rays that miss the cube get the limits of all that hit it together (as in EG3D), or 1 and 2 when none does.
    """
    if config.limits is not None:
        return config.limits
    near, far, hit = box_limits(origins, directions, box_size=config.box_size)
    first, last = (near[hit].min(), far[hit].max()) if bool(hit.any()) else (near.new_ones(()), near.new_full((), 2))
    return torch.where(hit, near, first), torch.where(hit, far, last)


def render_rays(
    field: Field,
    origins: Tensor,
    directions: Tensor,
    config: RayConfig,
    draws: Draws,
    *,
    rays_per_chunk: int | None = None,
) -> Rendered:
    """Render rays through a field.

    Args:
        field: see `triplane.Field`.
        origins, directions: (b, r, 3) world, directions of unit length.
        draws: `random_draws` in training, `middle_draws` for a picture that shall not change.
        rays_per_chunk: bounds the memory: at most this many rays (of every batch item) are in work at once. The result
            does not depend on it. None takes all. With gradients it saves nothing: autograd keeps every chunk.
    """
    near, far = ray_limits(origins, directions, config)
    coarse = stratified_depths(draws.jitter, near, far, disparity=config.disparity)
    step = rays_per_chunk or max(origins.shape[1], 1)
    parts = [
        _render_chunk(field, origins[:, at], directions[:, at], coarse[:, at], draws.importance[:, at], config)
        for at in (slice(start, start + step) for start in range(0, origins.shape[1], step))
    ]
    colour, depth, opacity, nearest, farthest = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    return Rendered(colour, depth.clamp(nearest.min(), farthest.max()), opacity)


def _render_chunk(
    field: Field, origins: Tensor, directions: Tensor, coarse: Tensor, importance: Tensor, config: RayConfig
) -> tuple[Tensor, ...]:
    """Colour, depth, opacity, and the nearest and farthest sample of each ray."""
    colour, density = sample_field(field, origins, directions, coarse)
    depths = coarse
    if config.fine_samples:
        fine = importance_depths(coarse, segment_weights(density.detach(), coarse), importance)
        fine_colour, fine_density = sample_field(field, origins, directions, fine)
        depths, order = torch.cat([coarse, fine], -1).sort(-1)
        density = torch.cat([density, fine_density], -1).gather(-1, order)
        colour = torch.cat([colour, fine_colour], -2)
        colour = colour.gather(-2, order[..., None].expand(*order.shape, colour.shape[-1]))
    march = march_rays(colour, density, depths)
    seen = march.over_white() if config.white_background else march.colour
    return seen, march.depth, march.opacity, depths.amin(-1), depths.amax(-1)


def sample_field(field: Field, origins: Tensor, directions: Tensor, depths: Tensor) -> tuple[Tensor, Tensor]:
    """Colour (b, r, s, c) and raw density (b, r, s) at depths (b, r, s) of rays (b, r, 3)."""
    points = points_on_rays(origins, directions, depths)
    colour, density = field(points.flatten(1, 2))
    return colour.unflatten(1, depths.shape[1:]), density.unflatten(1, depths.shape[1:])
