"""Regularisers of the density on fields with known slopes."""

from __future__ import annotations

import math

import pytest
import torch

from portrayal.nn.rendering.density import density_monotonicity, density_variation, random_points

POINTS = random_points(2, 4000, half_extent=0.5, like=torch.zeros(()), generator=torch.Generator().manual_seed(0))


def test_points_fill_the_cube() -> None:
    assert POINTS.shape == (2, 4000, 3)
    assert 0.49 < POINTS.max().item() <= 0.5
    assert -0.5 <= POINTS.min().item() < -0.49


def test_variation_of_a_slope() -> None:
    """The mean of |slope . normal| is |slope| sqrt(2 / pi) times the distance."""
    slope = torch.tensor([3.0, -4.0, 12.0])
    found = density_variation(
        lambda points: points @ slope, POINTS, distance=0.01, generator=torch.Generator().manual_seed(1)
    )
    assert found.item() == pytest.approx(0.01 * 13 * math.sqrt(2 / math.pi), rel=0.03)
    assert density_variation(lambda points: points[..., 0] * 0 + 5, POINTS).item() == 0


def test_monotonicity_punishes_only_a_density_that_falls_away_from_the_camera() -> None:
    assert density_monotonicity(lambda points: -points[..., 2], POINTS).item() == 0
    falling = density_monotonicity(lambda points: 256 * points[..., 2], POINTS)
    assert falling.item() == pytest.approx(1, rel=1e-3)


def test_gradients_reach_the_field() -> None:
    slope = torch.ones(3, requires_grad=True)
    (density_variation(lambda p: p @ slope, POINTS) + density_monotonicity(lambda p: p @ slope, POINTS)).backward()
    assert slope.grad is not None
    assert slope.grad[2] > 0
