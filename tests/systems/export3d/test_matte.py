"""What goes with the head: it begins as the head's shape, is fetched as the pixels are, and learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from portrayal.nn.rendering.head import HALF_AXES, MIDDLE, seen_from, silhouette
from portrayal.systems.export3d.config import Config, RendererConfig
from portrayal.systems.export3d.detail import SourceView
from portrayal.systems.export3d.flow import Look
from portrayal.systems.export3d.losses import parting_term
from portrayal.systems.export3d.matte import Matte, around_head
from portrayal.systems.export3d.renderer import Renderer
from tests.systems.export3d.cameras import camera

CONFIG = replace(Config.tiny().renderer, flow=False, body=False, matte=8)
REST = Look(torch.zeros(1, 64), torch.zeros(1, 2, 2))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def source_of(picture):
    return SourceView(picture, camera(), torch.zeros(1, 80), REST)


def test_it_begins_as_the_heads_rough_shape():
    with torch.no_grad():
        matte = Matte(8)(source_of(torch.rand(1, 3, 64, 64)))
    shape = silhouette(camera(), side=64, grown=1.0)
    assert torch.equal(matte > 0.5, shape > 0.5)
    assert float(matte[shape > 0.999].min()) > 0.8
    assert float(matte[..., 0].max()) < 0.2  # but not so sure that it could not learn


@pytest.mark.parametrize("azimuth", [0.0, 0.5, -1.0])
def test_pixels_know_where_they_pass_the_head(azimuth):
    view, side = camera(azimuth), 256
    around = around_head(view, side=side)
    middle, right = torch.tensor(MIDDLE), torch.tensor(MIDDLE) + torch.tensor([HALF_AXES[0], 0, 0])
    places = (seen_from(view, torch.stack([middle, right]))[0][0] * side).long()
    (x, y), (x1, y1) = places.tolist()
    torch.testing.assert_close(around[0, :, y, x], torch.tensor([0.0, 0.0, 1.0]), atol=0.06, rtol=0)
    torch.testing.assert_close(around[0, :2, y1, x1], torch.tensor([1.0, 0.0]), atol=0.06, rtol=0)


def test_a_camera_from_behind_gives_numbers():
    assert bool(around_head(camera(3.0), side=32).isfinite().all())


def renderer_with(matte):
    """A renderer whose matte is this map (1, 1, 64, 64) of the source."""
    renderer = Renderer(CONFIG, plane_channels=8, image_size=64).eval()
    renderer.matte.forward = lambda source: matte
    return renderer


def test_what_the_matte_leaves_out_stays_in_its_place_and_the_rest_goes_with_the_head():
    picture, planes = torch.rand(1, 3, 64, 64), 0.1 * torch.randn(1, 3, 8, 32, 32)
    source = source_of(torch.nn.functional.avg_pool2d(picture, 9, 1, 4))
    with torch.no_grad():
        still = renderer_with(torch.zeros(1, 1, 64, 64))(planes, camera(0.3), source=source)
        moved = renderer_with(torch.ones(1, 1, 64, 64))(planes, camera(0.3), source=source)
        turned = renderer_with(torch.ones(1, 1, 64, 64))(planes, camera(), source=source)
    assert float(still.fetched.opacity.max()) == 0
    torch.testing.assert_close(fetched(still, source), source.picture)
    assert (fetched(moved, source) - source.picture).abs().max() > 0.05
    # From the source's own camera everything is fetched from where it is, beside the head too.
    torch.testing.assert_close(fetched(turned, source), source.picture, atol=0.02, rtol=0)


def fetched(view, source):
    """The pixels alone."""
    return replace(view.fetched, share=torch.ones_like(view.fetched.share)).over(source.picture)


def test_the_border_is_as_sharp_as_the_pixels():
    """Half of the source goes with the head: nothing between 0 and 1 but for two pixels, where rays are four wide."""
    half = (torch.arange(64) < 32).float().expand(1, 1, 64, 64)
    planes = torch.zeros(1, 3, 8, 32, 32)
    with torch.no_grad():
        view = renderer_with(half)(planes, camera(), source=source_of(torch.rand(1, 3, 64, 64)))
    between = (view.fetched.opacity > 0.01) & (view.fetched.opacity < 0.99)
    assert between.shape[-1] == 64
    assert int(between.sum(-1).max()) <= 2


def test_it_learns_what_moves():
    """Two pictures: the right half of the source goes with the head, the left one stays."""
    picture = torch.nn.functional.interpolate(torch.rand(1, 3, 16, 16), size=64)
    source, planes, there = source_of(picture), torch.zeros(1, 3, 8, 32, 32), camera(0.25)
    right = (torch.arange(64) >= 32).float().expand(1, 1, 64, 64)
    with torch.no_grad():
        wanted = fetched(renderer_with(right)(planes, there, source=source), source)
    renderer = Renderer(CONFIG, plane_channels=8, image_size=64).train()
    optimizer = torch.optim.Adam(renderer.matte.parameters(), lr=0.02)
    errors = []
    for _ in range(40):
        view = renderer(planes, there, source=source, generator=torch.Generator().manual_seed(0))
        loss = (fetched(view, source) - wanted).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert errors[-1] < 0.5 * errors[0]


def test_what_is_fetched_is_judged_but_for_the_heads_old_place():
    source, planes = source_of(torch.rand(1, 3, 64, 64)), 0.1 * torch.randn(1, 3, 8, 32, 32)
    half = (torch.arange(64) < 32).float().expand(1, 1, 64, 64)
    with torch.no_grad():
        view = renderer_with(half)(planes, camera(0.25), source=source).fetched
    assert float(view.left.max()) > 0.5
    assert float(parting_term(view, view.pixels)) == 0
    other = torch.where(view.left > 0.99, 1 - view.pixels, view.pixels)
    assert float(parting_term(view, other)) < 0.01
    assert float(parting_term(view, view.pixels + 0.5)) == pytest.approx(0.5, abs=1e-4)


def test_it_needs_a_background_to_part_from():
    with pytest.raises(ValueError, match="set split and detail"):
        RendererConfig(matte=8, detail=True)
    with pytest.raises(ValueError, match=r"renderer\.matte 12 must be a multiple"):
        RendererConfig(matte=12, split=True, detail=True)
