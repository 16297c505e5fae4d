"""Rendering: fields with known pictures, invariances, chunks, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portrayal.face.camera import split_camera
from portrayal.face.pose import angles_to_rotation
from portrayal.nn.rendering.rays import camera_rays
from portrayal.nn.rendering.volume import RayConfig, middle_draws, random_draws, render_rays
from portrayal.nn.triplane import OSGDecoder, triplane_field
from tests.nn.rendering.fields import NOTHING, ball, counted, portrait_camera, raw_density, smooth_head, turned

DENSE = RayConfig(coarse_samples=256, fine_samples=0, limits=(1.0, 5.0))


@settings(max_examples=15, deadline=None)
@given(radius=st.floats(0.3, 1.2), density=st.floats(0.05, 4), off=st.floats(0, 0.9), seed=st.integers(0, 99))
def test_opacity_through_a_ball(radius: float, density: float, off: float, seed: int) -> None:
    """1 - exp(-density * length of the chord), from any side."""
    random = torch.Generator().manual_seed(seed)
    direction = torch.nn.functional.normalize(torch.randn(3, generator=random), dim=0)
    aside = torch.linalg.cross(direction, torch.randn(3, generator=random))
    origin = -3 * direction + off * radius * torch.nn.functional.normalize(aside, dim=0)
    rays = origin[None, None], direction[None, None]
    rendered = render_rays(ball(radius, density), *rays, DENSE, middle_draws(rays[0], DENSE))
    chord = 2 * radius * math.sqrt(1 - off**2)
    # Entry and exit lie between two samples, and a segment with one end outside counts as empty.
    step = 4 / 255
    shortest, longest = (1 - math.exp(-density * max(chord + extra, 0)) for extra in (-2 * step, 0))
    assert shortest - 1e-4 <= rendered.opacity.item() <= longest + 1e-4


@settings(max_examples=6, deadline=None)
@given(distance=st.floats(2.4, 3.2), fine=st.sampled_from([0, 24]), disparity=st.booleans())
def test_depth_of_a_plane(distance: float, fine: int, disparity: bool) -> None:
    """Depth is measured along the ray: a plane across the view is farther in the corners."""
    config = RayConfig(coarse_samples=64, fine_samples=fine, disparity=disparity)
    camera = portrait_camera()
    cam2world, _ = split_camera(camera)
    eye, forward = cam2world[0, :3, 3], cam2world[0, :3, 2]

    def wall(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        ahead = (points - eye) @ forward
        return points, torch.where(ahead > distance, raw_density(2000.0), -2000.0)

    origins, directions = camera_rays(camera, height=5, width=5)
    rendered = render_rays(wall, origins, directions, config, middle_draws(origins, config))
    expected = distance / (directions @ forward)
    # Half a step and the slant of the corner rays; steps of equal disparity are longest (0.024) far away.
    torch.testing.assert_close(rendered.depth, expected, atol=0.04 if not fine else 0.03, rtol=0)


@settings(max_examples=5, deadline=None)
@given(yaw=st.floats(-3, 3), pitch=st.floats(-1.5, 1.5), roll=st.floats(-3, 3))
def test_turning_field_and_camera_together_changes_nothing(yaw: float, pitch: float, roll: float) -> None:
    config = RayConfig(coarse_samples=24, fine_samples=24)
    rotation = angles_to_rotation(torch.tensor([yaw, pitch, roll]))
    origins, directions = camera_rays(portrait_camera(), height=6, width=6)
    draws = middle_draws(origins, config)
    still = render_rays(smooth_head, origins, directions, config, draws)
    moved = render_rays(turned(smooth_head, rotation), origins @ rotation.T, directions @ rotation.T, config, draws)
    torch.testing.assert_close(moved.colour, still.colour, atol=2e-3, rtol=0)
    torch.testing.assert_close(moved.depth, still.depth, atol=2e-3, rtol=0)


def test_second_pass_sees_a_thin_shell_better_than_as_many_even_samples() -> None:
    def shell(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        colour, density = smooth_head(points)
        return colour, density * 4

    origins, directions = camera_rays(portrait_camera(), height=16, width=16)

    def error(config: RayConfig) -> float:
        found = render_rays(shell, origins, directions, config, middle_draws(origins, config))
        return float((found.colour - exact.colour).square().mean())

    many = RayConfig(coarse_samples=1024, fine_samples=0)
    exact = render_rays(shell, origins, directions, many, middle_draws(origins, many))
    assert error(RayConfig(24, 24)) < 0.5 * error(RayConfig(48, 0))


def test_chunks_bound_the_memory_and_change_nothing() -> None:
    config = RayConfig(coarse_samples=8, fine_samples=8, white_background=True)
    origins, directions = camera_rays(portrait_camera().expand(2, 25), height=7, width=5)
    draws = random_draws(origins, config, torch.Generator().manual_seed(0))
    asked: list[int] = []
    whole = render_rays(smooth_head, origins, directions, config, draws)
    parts = render_rays(counted(smooth_head, asked), origins, directions, config, draws, rays_per_chunk=4)
    assert max(asked) == 2 * 4 * 8
    torch.testing.assert_close(parts.colour, whole.colour)
    torch.testing.assert_close(parts.depth, whole.depth)


def test_randomness_comes_from_the_generator_alone() -> None:
    config = RayConfig(coarse_samples=8, fine_samples=8)
    rays = torch.zeros(2, 5, 3)
    first, again = (random_draws(rays, config, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first.jitter, again.jitter)
    assert torch.equal(first.importance, again.importance)
    assert first.jitter.shape == (2, 5, 8)


def test_nothing_is_black_white_or_far() -> None:
    for white in (False, True):
        config = RayConfig(coarse_samples=8, fine_samples=8, white_background=white)
        origins, directions = camera_rays(portrait_camera(), height=2, width=2)
        rendered = render_rays(
            lambda points: (points * 0 + 0.5, points[..., 0] * 0 + NOTHING),
            origins,
            directions,
            config,
            middle_draws(origins, config),
        )
        torch.testing.assert_close(rendered.colour, torch.full((1, 4, 3), float(white)))
        assert rendered.depth.min() > 3.2


def test_limits_from_the_cube() -> None:
    """Rays that miss the cube do not disturb those that hit it, and a ball in it is seen from inside the cube too."""
    config = RayConfig(coarse_samples=64, fine_samples=0, limits=None, box_size=2.0)
    origins = torch.tensor([[[0.0, 0, 5], [9, 9, 9], [0, 0, 0]]])
    directions = torch.tensor([[[0.0, 0, -1], [0, 0, -1], [0, 0, -1]]])
    rendered = render_rays(ball(0.5, 200.0), origins, directions, config, middle_draws(origins, config))
    torch.testing.assert_close(rendered.opacity, torch.tensor([[1.0, 0, 1]]), atol=1e-3, rtol=0)
    assert rendered.depth[0, 0].item() == pytest.approx(4.5, abs=0.05)
    missed = render_rays(
        ball(0.5, 1.0), origins[:, 1:2], directions[:, 1:2], config, middle_draws(origins[:, 1:2], config)
    )
    assert missed.opacity.item() == 0


def test_gradients_reach_planes_and_decoder() -> None:
    config = RayConfig(coarse_samples=6, fine_samples=6)
    planes = torch.randn(1, 3, 4, 8, 8, requires_grad=True)
    decoder = OSGDecoder(4, hidden=8, colours=3)
    origins, directions = camera_rays(portrait_camera(), height=4, width=4)
    rendered = render_rays(triplane_field(planes, decoder), origins, directions, config, random_draws(origins, config))
    (rendered.colour.sum() + rendered.depth.sum()).backward()
    for tensor in (planes, *decoder.parameters()):
        assert tensor.grad is not None
        assert bool(tensor.grad.isfinite().all())
        assert tensor.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"coarse_samples": 2}, "coarse_samples"),
        ({"limits": (3.0, 2.0)}, "near < far"),
        ({"box_size": 0.0}, "box_size"),
    ],
)
def test_bad_numbers_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RayConfig(**wrong)
