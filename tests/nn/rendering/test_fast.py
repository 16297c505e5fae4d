"""The fast path shows the same picture as the straightforward one, and does less."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from portrayal.nn.rendering.fast import FastConfig, FastField, Occupancy, find_occupancy, render_fast
from portrayal.nn.rendering.rays import camera_rays
from portrayal.nn.rendering.volume import RayConfig, Rendered, middle_draws, render_rays
from portrayal.nn.triplane import OSGDecoder, PlaneAxes, sample_triplane, triplane_field
from tests.nn.rendering.fields import NOTHING, portrait_camera, smooth_head

SIDE = 24
CPU = torch.device("cpu")


class Split:
    """An analytic field in two halves, writing down how often each was asked."""

    def __init__(self) -> None:
        self.densities = self.colours = 0

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        self.densities += len(points)
        return smooth_head(points)[1], points

    def colour(self, state: Tensor) -> Tensor:
        self.colours += len(state)
        return smooth_head(state)[0]


def soft_planes() -> tuple[Tensor, OSGDecoder]:
    """Smooth planes and a decoder whose field is a soft solid in the middle of the cube.

    Of channel 0 every plane holds how far its point is from the plane's middle; the decoder makes density of it.
    """
    random = torch.Generator().manual_seed(0)
    small = torch.randn(3, 8, 6, 6, generator=random)
    planes = torch.nn.functional.interpolate(small, size=(48, 48), mode="bicubic")
    line = (torch.arange(48) + 0.5) / 24 - 1
    planes[:, 0] = 2 - 8 * (line[:, None] ** 2 + line**2)
    decoder = OSGDecoder(8, hidden=16, colours=3)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
        decoder.net[0].weight[0] = torch.tensor([8.0] + [0.2] * 7)
        decoder.net[2].weight[0] = 4
        decoder.net[2].weight[0, 0] = 300
        decoder.net[2].bias[0] = -80
    return planes, decoder.requires_grad_(False)


def psnr(found: Rendered, expected: Rendered) -> float:
    return -10 * math.log10(float((found.colour - expected.colour).square().mean()) + 1e-12)


def straightforward(field: Split, origins: Tensor, directions: Tensor, config: RayConfig) -> Rendered:
    return render_rays(
        lambda points: (field.colour(points.flatten(0, 1))[None], field.density(points.flatten(0, 1))[0][None]),
        origins,
        directions,
        config,
        middle_draws(origins, config),
    )


@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("with_occupancy", [False, True])
def test_same_picture_of_a_smooth_field_for_less_work(white: bool, with_occupancy: bool) -> None:
    config = RayConfig(white_background=white)
    origins, directions = camera_rays(portrait_camera(1.9, 1.4), height=SIDE, width=SIDE)
    slow, quick = Split(), Split()
    expected = straightforward(slow, origins, directions, config)
    occupancy = find_occupancy(Split(), box_size=1.0, device=CPU, resolution=32) if with_occupancy else None
    found = render_fast(quick, origins[0], directions[0], config, occupancy=occupancy)
    assert 0.3 < expected.opacity.mean() < 0.95  # both face and background
    assert psnr(found, expected) > 45
    torch.testing.assert_close(found.opacity, expected.opacity, atol=5e-3, rtol=0)
    solid = expected.opacity > 0.5
    torch.testing.assert_close(found.depth[solid], expected.depth[solid], atol=5e-3, rtol=0)
    assert quick.densities < (0.6 if with_occupancy else 0.75) * slow.densities
    assert quick.colours < 0.35 * slow.colours


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("axes", "cells"), [("legacy", 0), ("orthogonal", 0), ("orthogonal", 64)])
def test_same_picture_of_planes(dtype: torch.dtype, axes: PlaneAxes, cells: int) -> None:
    """Also where the cells of the occupancy are finer than the steps of the first pass."""
    planes, decoder = soft_planes()
    config = RayConfig(coarse_samples=32, fine_samples=32)
    origins, directions = camera_rays(portrait_camera(), height=SIDE, width=SIDE)
    expected = render_rays(
        triplane_field(planes[None], decoder, plane_axes=axes),
        origins,
        directions,
        config,
        middle_draws(origins, config),
    )
    field = FastField(planes, decoder, plane_axes=axes, dtype=dtype)
    occupancy = find_occupancy(field, box_size=1.0, device=CPU, resolution=cells) if cells else None
    found = render_fast(field, origins[0], directions[0], config, occupancy=occupancy)
    assert 0.2 < expected.opacity.mean() < 0.98
    assert psnr(found, expected) > 40


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), box=st.floats(0.5, 2), axes=st.sampled_from(["legacy", "orthogonal"]))
def test_gathering_is_sampling(seed: int, box: float, axes: PlaneAxes) -> None:
    random = torch.Generator().manual_seed(seed)
    planes = torch.randn(3, 4, 5, 7, generator=random)
    points = torch.randn(50, 3, generator=random) * 0.5
    field = FastField(planes, OSGDecoder(4), box_size=box, plane_axes=axes)
    expected = sample_triplane(planes[None], points[None], box_size=box, plane_axes=axes)[0]
    torch.testing.assert_close(field.features(points), expected, atol=1e-5, rtol=1e-4)


def test_floors_of_zero_change_nothing() -> None:
    config = RayConfig(coarse_samples=16, fine_samples=16)
    origins, directions = camera_rays(portrait_camera(), height=8, width=8)
    exact = FastConfig(transmittance_floor=1e-30, opacity_floor=-1.0, weight_floor=-1.0)
    found = render_fast(Split(), origins[0], directions[0], config, exact)
    expected = straightforward(Split(), origins, directions, config)
    torch.testing.assert_close(found.colour, expected.colour, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.opacity, expected.opacity, atol=1e-5, rtol=0)
    seen = expected.opacity > 1e-3
    torch.testing.assert_close(found.depth[seen], expected.depth[seen], atol=1e-4, rtol=0)


def test_chunks_change_nothing() -> None:
    config = RayConfig(coarse_samples=16, fine_samples=16)
    origins, directions = camera_rays(portrait_camera(), height=9, width=9)
    whole = render_fast(Split(), origins[0], directions[0], config)
    parts = render_fast(Split(), origins[0], directions[0], config, FastConfig(rays_per_chunk=10))
    torch.testing.assert_close(parts.colour, whole.colour)
    torch.testing.assert_close(parts.depth, whole.depth)


def test_nothing_is_black_far_and_nearly_free() -> None:
    class Nothing(Split):
        def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
            self.densities += len(points)
            return points.new_full((len(points),), NOTHING), points

    config = RayConfig()
    origins, directions = camera_rays(portrait_camera(), height=4, width=4)
    for occupancy in (None, find_occupancy(Nothing(), box_size=1.0, device=CPU, resolution=8)):
        field = Nothing()
        found = render_fast(field, origins[0], directions[0], config, occupancy=occupancy)
        assert found.colour.shape == (1, 16, 3)
        assert found.colour.abs().max() == 0
        assert found.depth.min() > 3.2
        assert field.colours == 0
        assert field.densities <= 16 * 48


def test_occupancy_keeps_all_that_is_dense() -> None:
    occupancy = find_occupancy(Split(), box_size=1.0, device=CPU, resolution=32)
    points = torch.rand(20000, 3, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.6
    dense = torch.nn.functional.softplus(smooth_head(points)[1] - 1) > 0.1
    raw, full = occupancy.at(points)
    assert bool(full[dense].all())
    inside = points.abs().amax(-1) < 0.5
    assert full[inside].float().mean() < 0.4
    torch.testing.assert_close(raw[inside], smooth_head(points[inside])[1], atol=25, rtol=0)


def test_what_lies_outside_the_cube_is_always_looked_at() -> None:
    cells = torch.zeros(4, 4, 4)
    _, full = Occupancy(cells, cells > 0, 1.0).at(torch.tensor([[0.0, 0, 0], [0.6, 0, 0]]))
    assert full.tolist() == [False, True]


def test_planes_reach_beyond_the_cube_and_so_does_the_occupancy() -> None:
    """A slab of one plane, dense behind the cube, is in the picture of both ways."""
    planes, decoder = soft_planes()
    planes[1:] = 0
    planes[0, 0] = 4
    config = RayConfig(coarse_samples=16, fine_samples=16, limits=(3.3, 4.3))
    origins, directions = camera_rays(portrait_camera(), height=4, width=4)
    expected = render_rays(
        triplane_field(planes[None], decoder), origins, directions, config, middle_draws(origins, config)
    )
    field = FastField(planes, decoder)
    occupancy = find_occupancy(field, box_size=1.0, device=CPU, resolution=8)
    found = render_fast(field, origins[0], directions[0], config, occupancy=occupancy)
    assert expected.opacity.min() > 0.9
    assert psnr(found, expected) > 40


def test_planes_of_several_faces_are_refused() -> None:
    with pytest.raises(ValueError, match="one face"):
        FastField(torch.zeros(2, 3, 4, 8, 8), OSGDecoder(4))
