"""The other side of a face, where the source hides one."""

from __future__ import annotations

import pytest
import torch

from portrayal.nn.rendering.depth import depth_map
from portrayal.nn.rendering.head import HALF_AXES, MIDDLE
from portrayal.nn.rendering.rays import camera_rays
from portrayal.systems.export3d.body import NECK
from portrayal.systems.export3d.detail import OwnSight, SourceView, fetch, places_in_source
from portrayal.systems.export3d.flow import Look
from portrayal.systems.export3d.symmetry import Twin, twin_of
from tests.systems.export3d.cameras import camera

SIDE = 64


def met(view: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What rays meet of a head that is an ellipsoid: points (1, n, 3), depth (1, n), and where they meet it (1, n)."""
    origins, directions = camera_rays(view, height=SIDE, width=SIDE)
    axes = torch.tensor(HALF_AXES)
    start, along = (origins - torch.tensor(MIDDLE)) / axes, directions / axes
    a, b, c = along.square().sum(-1), (start * along).sum(-1), start.square().sum(-1) - 1
    inside = b.square() - a * c
    depth = torch.where(inside > 0, (-b - inside.clamp_min(0).sqrt()) / a, -b / a)
    return origins + depth[..., None] * directions, depth, inside > 0


def painted(points: torch.Tensor, on_head: torch.Tensor) -> torch.Tensor:
    """(1, 3, SIDE, SIDE): a head that is alike on both sides, in front of black."""
    x, y, _ = points.unbind(-1)
    colours = torch.stack([0.4 + 2 * x.abs(), 0.5 + 0.3 * torch.sin(20 * y), 0.9 - 2 * x.abs()], 1)
    return (colours * on_head[:, None]).unflatten(-1, (SIDE, SIDE)).clamp(0, 1)


def seen_by(source_yaw: float, yaw: float) -> tuple[SourceView, torch.Tensor, torch.Tensor, torch.Tensor, Twin | None]:
    """The source, the true view, which of it is head, its places in the source and their twins."""
    taken, view = camera(source_yaw), camera(yaw)
    points, depth, on_head = met(taken)
    picture = painted(points, on_head)
    source = SourceView(picture, taken, torch.zeros(1, 80), Look(torch.zeros(1, 64), torch.zeros(1, 2, 2)))
    grid = (SIDE, SIDE)
    head = on_head.float().unflatten(-1, grid)
    own = OwnSight(
        torch.zeros(1, 2, *grid), depth_map(depth.unflatten(-1, grid), head, taken), head[:, None], torch.tensor([NECK])
    )
    points, _, on_head = met(view)
    offset = torch.full((1, SIDE**2, 2), 0.5)
    places = places_in_source(points, offset, taken).mT.unflatten(-1, grid)
    truth, mask = painted(points, on_head), on_head.unflatten(-1, grid)[:, None]
    return source, truth, mask, places, twin_of(places, points, offset, view, source, own)


@pytest.mark.parametrize("turn", [-0.9, 0.9])
def test_a_profile_that_looks_ahead_gets_its_other_half(turn: float) -> None:
    source, truth, head, places, twin = seen_by(turn, 0.0)
    assert twin is not None
    wrong = [
        (fetch(source.picture, places, None, twin=x) - truth).abs().mean(1, keepdim=True)[head].mean().item()
        for x in (None, twin)
    ]
    assert wrong[1] < 0.5 * wrong[0]
    half = slice(0, SIDE // 2 - 4), slice(SIDE // 2 + 4, SIDE)
    near, far = half if float(source.camera[0, 3]) < 0 else half[::-1]
    taken = [float((twin.share * head)[..., part].sum() / head[..., part].sum()) for part in (near, far)]
    assert taken[0] < 0.05, "what the source shows is its own"
    assert taken[1] > 0.4


@pytest.mark.parametrize("yaw", [-0.5, 0.0, 0.5])
def test_a_face_that_looks_ahead_is_taken_as_it_is(yaw: float) -> None:
    *_, twin = seen_by(0.0, yaw)
    assert twin is None


def test_a_view_like_the_source_is_the_source() -> None:
    _, _, head, _, twin = seen_by(0.7, 0.7)
    assert twin is None or float((twin.share * head).sum() / head.sum()) < 0.03
