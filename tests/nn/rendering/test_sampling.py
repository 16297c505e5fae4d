"""Depths: EG3D's numbers, strata, and that drawn depths follow the weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portrayal.nn.rendering.sampling import importance_depths, sample_pdf, stratified_depths
from tests.parity import parity_fixture


def test_parity() -> None:
    fixture = parity_fixture("eg3d_sample_pdf")
    limits = fixture.configuration["ray_start"], fixture.configuration["ray_end"]
    jitter, draws = fixture.inputs["jitter"][..., 0], fixture.inputs["u"]
    weights = 10 * fixture.inputs["weights"][..., 0].square()
    depths = stratified_depths(jitter, *limits)
    fixture.check("depths_stratified", depths[..., None])
    fixture.check("depths_stratified_disparity", stratified_depths(jitter, *limits, disparity=True)[..., None])
    half = torch.full((1, 1, fixture.configuration["depth_resolution"]), 0.5)
    fixture.check("depths_stratified_jitter_half", stratified_depths(half, *limits)[..., None])

    bins = (depths[0, :, 1:] + depths[0, :, :-1]) / 2
    pdf = weights[0, :, 1:-1]
    fixture.check("pdf_bins", bins)
    fixture.check("pdf_weights", pdf)
    even = torch.linspace(0, 1, draws.shape[-1]).expand_as(draws)
    fixture.check("pdf_samples_u", sample_pdf(bins, pdf, draws))
    fixture.check("pdf_samples_det", sample_pdf(bins, pdf, even))
    fixture.check("importance_samples_u", importance_depths(depths, weights, draws[None])[..., None])
    fixture.check("importance_samples_det", importance_depths(depths, weights, even[None])[..., None])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), near=st.floats(0.5, 2), length=st.floats(0.1, 3), disparity=st.booleans())
def test_one_depth_per_stratum(seed: int, near: float, length: float, disparity: bool) -> None:
    jitter = torch.rand(1, 4, 9, generator=torch.Generator().manual_seed(seed)) * 0.999
    depths = stratified_depths(jitter, near, near + length, disparity=disparity)
    edges = stratified_depths(torch.zeros(1, 4, 9), near, near + length, disparity=disparity)
    assert bool((depths >= edges - 1e-5).all())
    assert bool((depths[..., :-1] <= edges[..., 1:] + 1e-5).all())
    torch.testing.assert_close(edges[..., 0], torch.full((1, 4), near))
    torch.testing.assert_close(edges[..., -1], torch.full((1, 4), near + length))


def test_strata_beyond_infinity_are_refused() -> None:
    """The last stratum begins at `far`: its 1/depth must not reach zero."""
    with pytest.raises(ValueError, match="disparity"):
        stratified_depths(torch.zeros(1, 1, 4), 0.5, 2.0, disparity=True)


def test_limits_of_each_ray() -> None:
    near, far = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 4.0]])
    depths = stratified_depths(torch.zeros(1, 2, 3), near, far)
    torch.testing.assert_close(depths, torch.tensor([[[1.0, 1.5, 2.0], [2.0, 3.0, 4.0]]]))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), count=st.integers(2, 12))
def test_drawn_depths_follow_the_weights(seed: int, count: int) -> None:
    random = torch.Generator().manual_seed(seed)
    weights = torch.rand(2, count, generator=random)
    bins = torch.rand(2, count + 1, generator=random).cumsum(-1) + torch.arange(count + 1) * 0.1
    draws = (torch.arange(4000) + 0.5).expand(2, 4000) / 4000
    drawn = sample_pdf(bins, weights, draws)
    assert bool((drawn.diff(dim=-1) >= -1e-6).all())
    for ray in range(2):
        found = torch.histogram(drawn[ray], bins[ray].contiguous())[0] / 4000
        torch.testing.assert_close(found, weights[ray] / weights[ray].sum(), atol=2e-3, rtol=0)


def test_without_weights_rays_are_sampled_evenly_and_without_gradient() -> None:
    depths = torch.linspace(2, 3, 11).expand(1, 2, 11).clone().requires_grad_()
    weights = torch.zeros(1, 2, 10, requires_grad=True)
    draws = ((torch.arange(8) + 0.5) / 8).expand(1, 2, 8)
    fine = importance_depths(depths, weights, draws)
    # From the middle of the first segment to that of the last but one: EG3D's way to count.
    torch.testing.assert_close(fine, 2.05 + draws * 0.8, atol=1e-3, rtol=0)
    assert not fine.requires_grad
