"""The picture of `volume.render_rays` with `middle_draws`, at inference and for a fraction of the work.

- The planes lie channels last with a border of zeros; one weighted gather reads all twelve corners of a point
  (`FastField`), in half precision where the planes are given so.
- The first pass goes front to back in groups of samples and leaves a ray when next to nothing would pass (early
  termination). A grid of where the field is empty (`Occupancy`) skips samples before that.
- Rays on which the first pass has found nothing get no second pass, others none behind the place where they ended.
- Colours are decoded for samples that are seen only; all others get a density and no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.nn.rendering.marching import mean_depth, segment_weights
from portrayal.nn.rendering.rays import points_on_rays
from portrayal.nn.rendering.sampling import importance_depths, stratified_depths
from portrayal.nn.rendering.volume import RayConfig, Rendered, middle_draws, ray_limits
from portrayal.nn.triplane import PLANE_COORDINATES, Decoder, PlaneAxes

EMPTY = -1e4
"""Raw density of a sample that was not looked at; its mean with any neighbour rounds to nothing."""


@dataclass(frozen=True)
class FastConfig:
    """How much may be left out. The defaults cost less than one step of 8 bits."""

    transmittance_floor: float = 1e-3
    """A ray ends where less than this share of light would pass."""
    opacity_floor: float = 1e-3
    """Rays that the first pass finds less opaque get no second one."""
    weight_floor: float = 5e-4
    """Samples that weigh less get no colour; the others share their weight."""
    group: int = 6
    """Samples of the first pass between two looks at which rays go on."""
    rays_per_chunk: int = 4096
    """Rays in work at once."""


class SplitField(Protocol):
    """A field of one face that can be asked for densities alone. Points (n, 3) world."""

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Raw density (n,) and what `colour` asks for, (n, k)."""
        ...

    def colour(self, state: Tensor) -> Tensor:
        """(n, k) to colour (n, c)."""
        ...


class FastField:
    """The planes of one face laid out for reading, with their decoder.

    Args:
        planes: (3, c, h, w).
        decoder: in two halves; runs in `dtype`.
        dtype: float32, or bfloat16 for half the memory and a quicker decoder (relative error about 0.4 %).
    """

    def __init__(
        self,
        planes: Tensor,
        decoder: Decoder,
        *,
        box_size: float = 1.0,
        plane_axes: PlaneAxes = "orthogonal",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if planes.ndim != 4 or planes.shape[0] != 3:
            raise ValueError(f"planes of one face must be (3, c, h, w), got {tuple(planes.shape)}")
        self.height, self.width = planes.shape[2:]
        bordered = F.pad(planes.to(dtype), (1, 1, 1, 1)).permute(0, 2, 3, 1)
        self.table = bordered.reshape(-1, planes.shape[1])  # (3 (h + 2) (w + 2), c)
        self.decoder = decoder
        self.box_size = box_size
        self.plane_axes: PlaneAxes = plane_axes

    def features(self, points: Tensor) -> Tensor:
        """(n, 3) to the mean features (n, c), as `triplane.sample_triplane`."""
        grid = points * (2 / self.box_size)
        corners, shares = [], []
        row = self.width + 2
        for plane, (across, down) in enumerate(PLANE_COORDINATES[self.plane_axes]):
            column, right = _cell(grid[:, across], self.width)
            line, lower = _cell(grid[:, down], self.height)
            first = (line + plane * (self.height + 2)) * row + column
            corners += [first, first + 1, first + row, first + row + 1]
            shares += [(1 - right) * (1 - lower), right * (1 - lower), (1 - right) * lower, right * lower]
        weights = (torch.stack(shares, -1) / 3).to(self.table)
        return F.embedding_bag(torch.stack(corners, -1), self.table, mode="sum", per_sample_weights=weights)

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        density, state = self.decoder.density(self.features(points))
        return density.float(), state

    def colour(self, state: Tensor) -> Tensor:
        return self.decoder.colour(state).float()


def _cell(place: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Places in [-1, 1] along an axis of `size` texels: the texel before, counted with the border; share of the next.

    Places beyond the border read the border, which is zero.
    """
    texel = ((place + 1) * (size / 2) + 0.5).clamp(0, size + 1)
    before = texel.long().clamp_max(size)
    return before, texel - before


@dataclass(frozen=True)
class Occupancy:
    """Which cells of the cube hold something. Worth its making where planes are looked at more than once."""

    raw: Tensor
    """(n, n, n) raw density in the middle of each cell, axes z, y, x. What is skipped has this one: a segment averages
    the raw densities of its ends, so nothing but the right order of magnitude keeps the surface where it is."""
    full: Tensor
    """(n, n, n) bool: must be looked at."""
    box_size: float

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3) points to raw density (n,) of their cells and (n,) bool whether to look closer.

        Outside the cube always: a point that has left it along one axis is still inside one plane.
        """
        side = len(self.raw)
        index = ((points / self.box_size + 0.5) * side).floor()
        inside = ((index >= 0) & (index < side)).all(-1)
        x, y, z = index.long().clamp(0, side - 1).unbind(-1)
        return self.raw[z, y, x], self.full[z, y, x] | ~inside


@torch.inference_mode()
def find_occupancy(
    field: SplitField, *, box_size: float, device: torch.device, resolution: int = 64, floor: float = 0.05
) -> Occupancy:
    """Look at the middle of every cell.

    Args:
        resolution: cells along a side; what is smaller than two cells may be overlooked.
        floor: density per world unit under which a cell is empty. Cells beside one that is not count as full.
    """
    steps = ((torch.arange(resolution, device=device) + 0.5) / resolution - 0.5) * box_size
    z, y, x = torch.meshgrid(steps, steps, steps, indexing="ij")
    points = torch.stack([x, y, z], -1).flatten(0, 2)
    raw = torch.cat([field.density(part)[0] for part in points.split(1 << 16)])
    raw = raw.reshape(resolution, resolution, resolution)
    grown = F.max_pool3d((F.softplus(raw - 1) > floor).float()[None], 3, 1, padding=1)[0] > 0
    return Occupancy(raw, grown, box_size)


@torch.inference_mode()
def render_fast(
    field: SplitField,
    origins: Tensor,
    directions: Tensor,
    config: RayConfig,
    options: FastConfig | None = None,
    *,
    occupancy: Occupancy | None = None,
) -> Rendered:
    """Render the rays of one face without gradients.

    Args:
        field: `FastField`, or another of its kind.
        origins, directions: (r, 3) world, directions of unit length.
        config: as for `render_rays`.
        occupancy: of this field; None looks at all samples before the surface.

    Returns:
        As `render_rays` with `middle_draws`, with b = 1. The depth of a ray that has seen nothing is the far limit.
    """
    options = options or FastConfig()
    parts = [
        _FastRays(field, o, d, config, options, occupancy).render()
        for o, d in zip(origins.split(options.rays_per_chunk), directions.split(options.rays_per_chunk), strict=True)
    ]
    colour, depth, opacity, farthest = (torch.cat(part) for part in zip(*parts, strict=True))
    return Rendered(colour[None], depth.clamp_max(farthest.max())[None], opacity[None])


class _FastRays:
    """One chunk of rays on its way through the field."""

    def __init__(
        self,
        field: SplitField,
        origins: Tensor,
        directions: Tensor,
        config: RayConfig,
        options: FastConfig,
        occupancy: Occupancy | None,
    ) -> None:
        self.field, self.config, self.options, self.occupancy = field, config, options, occupancy
        self.origins, self.directions = origins, directions
        self.states: list[Tensor] = []
        self.states_kept = 0

    def render(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Colour (r, c), depth (r,), opacity (r,), farthest sample (r,)."""
        draws = middle_draws(self.origins[None], self.config)
        near, far = ray_limits(self.origins[None], self.directions[None], self.config)
        depths = stratified_depths(draws.jitter, near, far, disparity=self.config.disparity)[0]
        farthest = depths[:, -1]
        density, slots, end = self._first_pass(depths)
        weights = segment_weights(density, depths)
        seen = (weights.sum(-1) > self.options.opacity_floor).nonzero()[:, 0]
        depths, density, slots, weights = (part[seen] for part in (depths, density, slots, weights))
        if self.config.fine_samples and len(seen):
            fine = importance_depths(depths[None], weights[None], draws.importance[:, seen])[0]
            fine_density, fine_slots = self._look(seen, fine, fine <= end[seen, None])
            depths, order = torch.cat([depths, fine], -1).sort(-1)
            density = torch.cat([density, fine_density], -1).gather(-1, order)
            slots = torch.cat([slots, fine_slots], -1).gather(-1, order)
            weights = segment_weights(density, depths)
        return (*self._composite(seen, depths, slots, weights), farthest)

    def _first_pass(self, depths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Raw densities (r, s), their slots (r, s), and where each ray ended (r,)."""
        density = torch.full_like(depths, EMPTY)
        slots = torch.full_like(depths, -1, dtype=torch.long)
        end = depths.new_full((len(depths),), torch.inf)
        going = torch.arange(len(depths), device=depths.device)
        optical = depths.new_zeros(len(depths))
        limit = -torch.tensor(self.options.transmittance_floor).log().item()
        count = depths.shape[1]
        for start in range(0, count, self.options.group):
            stop = min(start + self.options.group, count)
            found = self._look(going, depths[going, start:stop], None)
            density[going, start:stop], slots[going, start:stop] = found
            before = max(start - 1, 0)
            raw = density[going, before:stop]
            step = depths[going, before:stop].diff(dim=-1)
            optical[going] += (F.softplus((raw[:, 1:] + raw[:, :-1]) / 2 - 1) * step).sum(-1)
            done = optical[going] > limit
            end[going[done]] = depths[going[done], stop - 1]
            going = going[~done]
            if not len(going):
                break
        return density, slots, end

    def _look(self, rays: Tensor, depths: Tensor, wanted: Tensor | None) -> tuple[Tensor, Tensor]:
        """Raw densities and slots (n, s) at depths (n, s) of the rays (n,), where wanted and not known to be empty.

        A slot is the row of a sample's state among all that were kept, -1 for samples that were not looked at.
        """
        points = points_on_rays(self.origins[rays], self.directions[rays], depths).flatten(0, 1)
        density = depths.new_full((depths.numel(),), EMPTY)
        slots = torch.full_like(density, -1, dtype=torch.long)
        chosen = wanted.flatten() if wanted is not None else None
        if self.occupancy is not None:
            known, full = self.occupancy.at(points)
            density = known if chosen is None else torch.where(chosen, known, EMPTY)
            chosen = full if chosen is None else chosen & full
        at = torch.arange(len(points), device=points.device) if chosen is None else chosen.nonzero()[:, 0]
        if len(at):
            found, state = self.field.density(points[at])
            density[at] = found.to(density)
            slots[at] = torch.arange(len(at), device=at.device) + self.states_kept
            self.states.append(state)
            self.states_kept += len(at)
        return density.view_as(depths), slots.view_as(depths)

    def _composite(self, seen: Tensor, depths: Tensor, slots: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Colour, depth and opacity of all rays from the samples of those that have seen something."""
        count = len(self.origins)
        total = weights.sum(-1)
        share = (F.pad(weights, (1, 0)) + F.pad(weights, (0, 1))) / 2  # of each sample: half of both its segments
        picked = (share > self.options.weight_floor) & (slots >= 0)
        # What is left out is spread over what is kept, so that the opacity stays.
        kept = torch.where(picked, share, 0)
        share = kept * (total / kept.sum(-1).clamp_min(1e-12))[:, None]
        row, column = picked.nonzero(as_tuple=True)
        states = torch.cat(self.states) if self.states else self.field.density(self.origins[:1])[1]
        colours = self.field.colour(states[slots[row, column]]) * share[row, column, None]
        colour = colours.new_zeros(count, colours.shape[-1]).index_add(0, seen[row], colours)
        opacity = total.new_zeros(count).index_copy(0, seen, total)
        middle = (depths[:, :-1] + depths[:, 1:]) / 2
        depth = total.new_full((count,), torch.inf).index_copy(0, seen, mean_depth((weights * middle).sum(-1), total))
        if self.config.white_background:
            colour = colour + (1 - opacity)[:, None]
        return colour, depth, opacity
