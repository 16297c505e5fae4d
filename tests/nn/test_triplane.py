"""Planes and their decoder: EG3D's numbers, a slow reference, and points worked out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from portrayal.nn.triplane import (
    PLANE_COORDINATES,
    OSGDecoder,
    PlaneAxes,
    project_to_planes,
    sample_planes,
    sample_triplane,
    triplane_field,
)
from tests.parity import parity_fixture


def test_parity_of_planes() -> None:
    fixture = parity_fixture("eg3d_sample_planes")
    planes, points = fixture.inputs["planes"], fixture.inputs["coordinates"]
    fixture.check("features", sample_planes(planes, points, plane_axes="legacy"))
    fixture.check("features_box_warp_1p6", sample_planes(planes, points, box_size=1.6, plane_axes="legacy"))
    fixture.check("projections_of_2x_coordinates", project_to_planes(2 * points, "legacy").flatten(0, 1))
    rows = [torch.eye(3)[[*pair, 3 - sum(pair)]] for pair in PLANE_COORDINATES["legacy"]]
    fixture.check("plane_axes", torch.stack(rows))


def test_parity_of_the_decoder() -> None:
    fixture = parity_fixture("eg3d_osg_decoder")
    size = fixture.configuration
    decoder = OSGDecoder(
        size["n_features"],
        hidden=size["hidden_dim"],
        colours=size["decoder_output_dim"],
        rate=size["decoder_lr_mul"],
    )
    fixture.load(decoder)
    colour, density = decoder(fixture.inputs["sampled_features"].mean(1))
    fixture.check("rgb", colour)
    fixture.check("sigma", density[..., None])


def _read_slowly(plane: Tensor, x: float, y: float) -> Tensor:
    """Bilinear reading of (c, h, w) at x, y in [-1, 1], one corner after the other, zero outside."""
    c, h, w = plane.shape
    column, row = (x + 1) * w / 2 - 0.5, (y + 1) * h / 2 - 0.5
    total = torch.zeros(c)
    for i in range(h):
        for j in range(w):
            total += max(0.0, 1 - abs(row - i)) * max(0.0, 1 - abs(column - j)) * plane[:, i, j]
    return total


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    point=st.tuples(*[st.floats(-1.2, 1.2)] * 3),
    box=st.floats(0.5, 3),
    axes=st.sampled_from(["legacy", "orthogonal"]),
)
def test_sampling_against_a_slow_loop(
    seed: int, point: tuple[float, float, float], box: float, axes: PlaneAxes
) -> None:
    planes = torch.randn(3, 2, 3, 5, generator=torch.Generator().manual_seed(seed))
    places = {"legacy": "xy xz zx", "orthogonal": "xy xz zy"}[axes].split()
    at = dict(zip("xyz", (p * 2 / box for p in point), strict=True))
    expected = torch.stack([_read_slowly(planes[i], at[place[0]], at[place[1]]) for i, place in enumerate(places)])
    found = sample_planes(planes[None], torch.tensor([[point]]), box_size=box, plane_axes=axes)
    torch.testing.assert_close(found[0, :, 0], expected, atol=1e-5, rtol=1e-4)
    mean = sample_triplane(planes[None], torch.tensor([[point]]), box_size=box, plane_axes=axes)
    torch.testing.assert_close(mean[0, 0], expected.mean(0), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("coordinate", [0, 1, 2])
def test_every_coordinate_counts_twice_in_orthogonal_planes(coordinate: int) -> None:
    """The published axes never look at y together with z."""
    for axes, times in (("orthogonal", 2), ("legacy", (3, 1, 2)[coordinate])):
        assert sum(coordinate in pair for pair in PLANE_COORDINATES[axes]) == times
    assert len({frozenset(pair) for pair in PLANE_COORDINATES["legacy"]}) == 2


def test_decoder_in_halves_is_the_decoder() -> None:
    decoder = OSGDecoder(8, hidden=16, colours=5, rate=0.5)
    features = torch.randn(2, 7, 8)
    colour, density = decoder(features)
    half_way, state = decoder.density(features)
    torch.testing.assert_close(half_way, density)
    torch.testing.assert_close(decoder.colour(state), colour)


def test_the_field_has_gradients_for_planes_decoder_and_points() -> None:
    planes, points = torch.randn(1, 3, 4, 6, 6, requires_grad=True), torch.rand(1, 9, 3, requires_grad=True)
    decoder = OSGDecoder(4, hidden=8, colours=3)
    colour, density = triplane_field(planes, decoder, box_size=2.0)(points)
    (colour.sum() + density.sum()).backward()
    for tensor in (planes, points, *decoder.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.abs().sum() > 0


def test_two_planes_are_refused() -> None:
    with pytest.raises(ValueError, match="3, c, h, w"):
        sample_planes(torch.zeros(1, 2, 4, 8, 8), torch.zeros(1, 1, 3))


def test_the_density_of_a_decoder_can_begin_with_one_channel() -> None:
    torch.manual_seed(0)
    decoder = OSGDecoder(4, hidden=8, colours=5, rate=0.5)
    decoder.begin_with(steepness=8, height=3, floor=-3)
    features = torch.randn(20, 4)
    colour, density = decoder(features)
    expected = 3 * torch.nn.functional.softplus(8 * features[:, 0]) - 3
    torch.testing.assert_close(density, expected, atol=1e-4, rtol=1e-4)
    moved = features + torch.tensor([1.0, 0, 0, 0])
    torch.testing.assert_close(decoder(moved)[0], colour)
