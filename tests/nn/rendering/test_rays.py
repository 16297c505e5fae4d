"""Rays against EG3D's numbers and against projection; limits of a cube."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portrayal.face.camera import FOV_DEG, camera_label, fov_to_intrinsics, orbit, world_to_picture
from portrayal.nn.rendering.rays import box_limits, camera_rays, points_on_rays
from tests.parity import parity_fixture


def test_parity() -> None:
    fixture = parity_fixture("eg3d_ray_sampler")
    side = fixture.configuration["resolution"]
    origins, directions = camera_rays(fixture.inputs["c"], height=side, width=side)
    fixture.check("ray_origins", origins)
    fixture.check("ray_directions", directions)


@settings(max_examples=10, deadline=None)
@given(azimuth=st.floats(0.8, 2.3), elevation=st.floats(1.0, 2.1), depth=st.floats(0.5, 4), shift=st.floats(-0.1, 0.1))
def test_points_of_a_ray_are_seen_in_its_pixel(azimuth: float, elevation: float, depth: float, shift: float) -> None:
    cam2world = orbit(torch.tensor([azimuth]), torch.tensor([elevation]))
    intrinsics = fov_to_intrinsics(FOV_DEG) + torch.tensor([[0, 0.05, shift], [0, 0.3, -shift], [0, 0, 0]])
    camera = camera_label(cam2world, intrinsics)
    height, width = 3, 5
    origins, directions = camera_rays(camera, height=height, width=width)
    points = points_on_rays(origins, directions, torch.full((1, 15, 1), depth))
    seen = world_to_picture(points[:, :, 0], camera, width=width, height=height)[0]
    expected = torch.tensor([[x + 0.5, y + 0.5] for y in range(height) for x in range(width)])
    torch.testing.assert_close(seen, expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(1, 15))


def test_limits_of_the_cube_by_hand() -> None:
    origins = torch.tensor([[[0.0, 0, 3], [0, 0, 3], [0, 0, 0], [0, 0, 3], [0.9, 0, 3]]])
    slanted = [math.sqrt(0.5), 0, -math.sqrt(0.5)]
    directions = torch.tensor([[[0.0, 0, -1], [0, 0, 1], [1, 0, 0], slanted, [0, 0, -1]]])
    near, far, hit = box_limits(origins, directions, box_size=2.0)
    assert hit[0].tolist() == [True, False, True, False, True]
    torch.testing.assert_close(near[0, [0, 2, 4]], torch.tensor([2.0, 0, 2]))
    torch.testing.assert_close(far[0, [0, 2, 4]], torch.tensor([4.0, 1, 4]))
    assert near.isfinite().all()
    assert far.isfinite().all()


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**16), box=st.floats(0.2, 4))
def test_limits_enclose_exactly_the_points_inside(seed: int, box: float) -> None:
    random = torch.Generator().manual_seed(seed)
    origins = torch.randn(1, 8, 3, generator=random)
    directions = torch.nn.functional.normalize(torch.randn(1, 8, 3, generator=random), dim=-1)
    near, far, hit = box_limits(origins, directions, box_size=box)
    depths = torch.linspace(0, 8, 400).expand(1, 8, 400)
    inside = points_on_rays(origins, directions, depths).abs().amax(-1) < box / 2 - 1e-4
    between = (depths > near[..., None] - 1e-4) & (depths < far[..., None] + 1e-4) & hit[..., None]
    assert bool((between | ~inside).all())
    outside = points_on_rays(origins, directions, depths).abs().amax(-1) > box / 2 + 1e-3
    assert not bool(((depths > near[..., None]) & (depths < far[..., None]) & hit[..., None] & outside).any())
