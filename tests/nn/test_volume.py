"""Grids, trilinear reading, soft-argmax and heatmaps against slow or framework references."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from portrayal.nn.volume import coordinate_grid, gaussian_heatmaps, sample_volume, soft_argmax


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), size=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)))
def test_sampling_is_grid_sample_with_gradients(
    corners: bool, padding: Literal["zeros", "border"], seed: int, size: tuple[int, int, int]
) -> None:
    random = torch.Generator().manual_seed(seed)
    volume = torch.randn(2, 3, *size, generator=random, dtype=torch.float64).float().requires_grad_()
    at = (torch.randn(2, 2, 3, 4, 3, generator=random) * 0.8).requires_grad_()
    mine = sample_volume(volume, at, padding=padding, corners=corners)
    theirs = F.grid_sample(volume, at, padding_mode=padding, align_corners=corners)
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)
    weight = torch.randn(mine.shape, generator=random)
    for a, b in zip(
        torch.autograd.grad((mine * weight).sum(), (volume, at)),
        torch.autograd.grad((theirs * weight).sum(), (volume, at)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_sampling_survives_wild_positions_and_half_precision() -> None:
    volume = torch.ones(1, 2, 3, 4, 5)
    at = torch.tensor([1e30, -1e30, 0.0]).expand(1, 1, 1, 1, 3)
    assert float(sample_volume(volume, at).abs().max()) == 0
    assert float(sample_volume(volume, at, padding="border").min()) == 1
    assert sample_volume(volume.bfloat16(), at).dtype == torch.bfloat16


def test_sampling_exports() -> None:
    class Reader(torch.nn.Module):
        def forward(self, volume: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
            return sample_volume(volume, at)

    example = (torch.randn(1, 2, 3, 4, 5), torch.rand(1, 2, 2, 2, 3) * 2 - 1)
    exported = torch.export.export(Reader(), example).module()
    torch.testing.assert_close(exported(*example), sample_volume(*example))


@pytest.mark.parametrize("corners", [False, True])
def test_reading_at_the_grid_gives_the_volume_back(corners: bool) -> None:
    volume = torch.randn(1, 2, 3, 4, 5)
    at = coordinate_grid((3, 4, 5), corners=corners)[None]
    torch.testing.assert_close(sample_volume(volume, at, corners=corners), volume, atol=1e-5, rtol=1e-4)


def test_grid_by_hand() -> None:
    assert coordinate_grid((1, 2)).tolist() == [[[-0.5, 0.0], [0.5, 0.0]]]
    assert coordinate_grid((2, 2), corners=True)[0, 1].tolist() == [1.0, -1.0]


def test_soft_argmax_finds_a_peak_and_averages_two() -> None:
    logits = torch.zeros(1, 2, 4, 6, 8)
    logits[0, 0, 1, 2, 3] = 10
    logits[0, 1, 0, 0, 0] = logits[0, 1, 3, 5, 7] = 10
    found, heat = soft_argmax(logits, temperature=0.1)
    expected = coordinate_grid((4, 6, 8))[1, 2, 3]
    torch.testing.assert_close(found[0], torch.stack([expected, torch.zeros(3)]), atol=1e-5, rtol=0)
    torch.testing.assert_close(heat.sum((2, 3, 4)), torch.ones(1, 2))


@pytest.mark.parametrize("size", [(6, 8), (4, 6, 8)])
def test_heatmap_of_one_position(size: tuple[int, ...]) -> None:
    at = torch.full((1, 1, len(size)), 0.3)
    heat = gaussian_heatmaps(at, size, variance=0.1)
    index = (1,) * len(size)
    z = coordinate_grid(size)[index]
    expected = torch.exp(-(z - 0.3).square().sum() / 0.2)
    torch.testing.assert_close(heat[(0, 0, *index)], expected)
