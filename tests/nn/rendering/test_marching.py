"""The quadrature: EG3D's numbers, a loop, and that what cannot be seen does not count."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portrayal.nn.rendering.marching import march_rays
from tests.parity import parity_fixture


def test_parity() -> None:
    fixture = parity_fixture("eg3d_ray_marcher")
    colours, densities = fixture.inputs["colors"], fixture.inputs["densities"][..., 0]
    depths = torch.linspace(2.25, 3.3, 24) + fixture.inputs["depth_jitter"][..., 0] * (1.05 / 23)
    march = march_rays(colours, densities, depths)
    fixture.check("depths", depths[..., None])
    fixture.check("rgb", march.colour * 2 - 1)
    fixture.check("rgb_white_back", march.over_white() * 2 - 1)
    fixture.check("weights", march.weights[..., None])
    fixture.check("depth", march.depth.clamp(depths.min(), depths.max())[..., None])
    empty = march_rays(colours[:1], torch.full_like(densities[:1], -60), depths[:1])
    fixture.check("empty_rgb", empty.colour * 2 - 1)
    fixture.check("empty_depth", empty.depth.clamp(depths.min(), depths.max())[..., None])


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**16), samples=st.integers(2, 9))
def test_against_a_loop(seed: int, samples: int) -> None:
    random = torch.Generator().manual_seed(seed)
    colour = torch.rand(1, 1, samples, 2, generator=random)
    density = torch.randn(1, 1, samples, generator=random) * 4
    depths = torch.rand(1, 1, samples, generator=random).cumsum(-1)
    passes, seen, opacity, deep = 1.0, torch.zeros(2), 0.0, 0.0
    for i in range(samples - 1):
        raw = float(density[0, 0, i] + density[0, 0, i + 1]) / 2
        length = float(depths[0, 0, i + 1] - depths[0, 0, i])
        weight = passes * (1 - math.exp(-math.log1p(math.exp(raw - 1)) * length))
        seen += weight * (colour[0, 0, i] + colour[0, 0, i + 1]) / 2
        opacity += weight
        deep += weight * float(depths[0, 0, i] + depths[0, 0, i + 1]) / 2
        passes -= weight
    march = march_rays(colour, density, depths)
    torch.testing.assert_close(march.colour[0, 0], seen, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(march.opacity[0, 0], torch.tensor(opacity), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(march.depth[0, 0], torch.tensor(deep / opacity), atol=1e-3, rtol=1e-3)


def test_a_wall_hides_what_is_behind_it_and_has_a_depth() -> None:
    depths = torch.linspace(2, 3, 101).expand(1, 1, 101)
    density = torch.where(depths >= 2.5, 1e4, -1e4)
    colour = torch.where(depths[..., None] < 2.6, 0.25, 1.0)
    march = march_rays(colour, density, depths)
    torch.testing.assert_close(march.colour, torch.full((1, 1, 1), 0.25))
    torch.testing.assert_close(march.depth, torch.full((1, 1), 2.5), atol=0.011, rtol=0)


def test_gradients_are_finite_where_nothing_is_seen() -> None:
    density = torch.full((1, 1, 5), -200.0, requires_grad=True)
    march = march_rays(torch.rand(1, 1, 5, 3), density, torch.linspace(1, 2, 5).expand(1, 1, 5))
    (march.depth.clamp(0, 2) + march.opacity + march.colour.sum(-1)).sum().backward()
    assert density.grad is not None
    assert bool(density.grad.isfinite().all())
    assert march.depth.item() == math.inf
