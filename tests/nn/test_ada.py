"""Adaptive augmentation: matrices that are known, what they do to pixels, how often, and how p moves."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portrayal.nn.ada import (
    Draws,
    adjust_probability,
    augment,
    change_colour,
    change_geometry,
    draw_colour,
    draw_geometry,
)


def draws(count: int, seed: int = 0) -> Draws:
    return Draws(count, torch.device("cpu"), torch.Generator().manual_seed(seed))


def test_geometry_moves_pixels_where_it_says() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    mirror = torch.diag(torch.tensor([-1.0, 1, 1]))[None]
    torch.testing.assert_close(change_geometry(x, mirror), x.flip(3))
    right = torch.eye(3)[None].clone()
    right[0, 0, 2] = 2 / 4  # one pixel of four
    moved = change_geometry(x, right)
    torch.testing.assert_close(moved[..., 1:], x[..., :-1])
    torch.testing.assert_close(moved[..., 0], x[..., 0])  # mirrored at the border
    quarter = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])  # x to y: clockwise on the screen
    torch.testing.assert_close(change_geometry(x, quarter), x.rot90(-1, (2, 3)), atol=1e-5, rtol=1e-5)


def test_nothing_happens_at_probability_0() -> None:
    x = torch.rand(2, 3, 8, 8)
    assert augment(x, 0.0) is x
    torch.testing.assert_close(draw_geometry(draws(3), 0.0, size=8), torch.eye(3).expand(3, 3, 3))
    torch.testing.assert_close(draw_colour(draws(3), 0.0), torch.eye(4)[:3].expand(3, 3, 4))


def test_changes_happen_as_often_as_asked() -> None:
    count, p = 4000, 0.3
    geometry = draw_geometry(draws(count), p, size=1024)
    # All stay away with (1 - p)^5 of flip, quarter, two scales and the turns' 1 - p; flips and quarters draw the
    # neutral value in 1/2 and 1/4 of the cases. A shift shows in the last column.
    still = (geometry[:, :2, :2] - torch.eye(2)).abs().amax((1, 2)) < 1e-5
    expected = (1 - p / 2) * (1 - 3 * p / 4) * (1 - p) ** 3
    assert float(still.float().mean()) == pytest.approx(expected, abs=0.03)
    shifted = geometry[still, :2, 2].abs().amax(1) > 1e-6
    assert float(shifted.float().mean()) == pytest.approx(1 - (1 - p) ** 2, abs=0.05)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_colour_keeps_the_grey_axis_grey(seed: int) -> None:
    """Hue and saturation do not touch grey; contrast, brightness and the luma flip move it along the axis."""
    matrix = draw_colour(draws(8, seed), 1.0)
    grey = change_colour(torch.rand(8, 1, 2, 2).expand(-1, 3, -1, -1), matrix)
    torch.testing.assert_close(grey, grey.mean(1, keepdim=True).expand_as(grey), atol=1e-4, rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_geometry_is_invertible_and_seeded(seed: int) -> None:
    matrix = draw_geometry(draws(8, seed), 1.0, size=64)
    torch.testing.assert_close(matrix, draw_geometry(draws(8, seed), 1.0, size=64))
    # Flips and scales are all that changes the area; six deviations of two scales.
    area = torch.linalg.det(matrix).abs().log().abs()
    assert float(area.max()) < 2 * 6 * 0.2 * math.log(2)


def test_pictures_get_a_gradient() -> None:
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    y = augment(x, 0.9, generator=torch.Generator().manual_seed(3))
    assert y.shape == x.shape
    y.square().sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    assert float(x.grad.abs().sum()) > 0


def test_probability_follows_overfitting_and_stays_one() -> None:
    assert adjust_probability(0.2, 0.9, 5000) == pytest.approx(0.21)
    assert adjust_probability(0.2, 0.1, 5000) == pytest.approx(0.19)
    assert adjust_probability(0.2, 0.6, 5000) == 0.2
    assert adjust_probability(0.999, 1.0, 50_000) == 1.0
    assert adjust_probability(0.001, -1.0, 50_000) == 0.0


def test_other_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="square RGB"):
        augment(torch.rand(1, 1, 8, 8), 0.5)
    with pytest.raises(ValueError, match="square RGB"):
        augment(torch.rand(1, 3, 8, 6), 0.5)
