"""The light renderer: equations 1 and 2 against a few lines, what follows from them, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from portrayal.face.pose import angles_to_rotation
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.guided import GUIDES
from portrayal.systems.mmfa.keypoints import Pose
from portrayal.systems.mmfa.light import (
    LightRenderer,
    blend,
    enlarge,
    paint,
    pixel_grid,
    sample,
    sparse_motions,
)
from portrayal.systems.mmfa.light_config import LightConfig

K = 5
SMALL = LightConfig(
    volume_channels=4, depth=3, motion_channels=8, channels=(16, 8, 8), source_channels=(8, 16), blocks=1
)


def pose(angle: float = 0.0, scale: float = 0.7, x: float = 0.0, b: int = 1) -> Pose:
    rotation = angles_to_rotation(torch.tensor([[angle, 0.0, 0.0]])).expand(b, -1, -1)
    return Pose(rotation, torch.full((b,), scale), torch.tensor([[x, 0.0]]).expand(b, -1))


def points(b: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(b, K, 3, generator=torch.Generator().manual_seed(seed)) - 0.5


@pytest.fixture
def renderer() -> LightRenderer:
    torch.manual_seed(0)
    return LightRenderer(SMALL, keypoints=K).eval()


def test_sparse_motions_are_equation_1() -> None:
    source, driving = points(seed=1), points(seed=2)
    a, b = pose(0.3, 0.8), pose(-0.2, 0.6)
    turn, shifts = sparse_motions(source, driving, a, b)
    z = torch.tensor([0.1, -0.4, 0.2])
    jacobian = (a.scale * a.rotation[0]) @ torch.linalg.inv(b.scale * b.rotation[0])
    for k in range(K):
        expected = source[0, k] + jacobian @ (z - driving[0, k])
        assert torch.allclose(turn[0] @ z + shifts[0, k], expected, atol=1e-6)


def test_blend_is_equation_2() -> None:
    turn, shifts = sparse_motions(points(seed=1), points(seed=2), pose(0.3), pose())
    voxels = torch.rand(2, 3, 4, 3) * 2 - 1
    logits = torch.randn(1, 2, 12, K + 1)
    flows = blend(logits, turn, shifts, voxels)
    masks = logits.softmax(-1).view(2, 3, 4, K + 1)
    expected = masks[..., -1:] * voxels  # M_0 z
    for k in range(K):
        expected = expected + masks[..., k : k + 1] * (voxels @ turn[0].T + shifts[0, k])
    assert torch.allclose(flows[0], expected, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.floats(-0.5, 0.5), st.floats(-0.3, 0.3), st.floats(0.5, 1.0), st.floats(0.5, 1.0), st.integers(0, 1000))
def test_where_only_one_keypoint_counts_the_driving_keypoint_comes_from_the_source_keypoint(
    angle: float, x: float, f: float, g: float, seed: int
) -> None:
    source, driving = points(seed=seed), points(seed=seed + 1)
    turn, shifts = sparse_motions(source, driving, pose(angle, f, x), pose(0.0, g))
    logits = torch.full((1, 1, 1, K + 1), -1e4)
    logits[..., 2] = 1e4
    place = blend(logits, turn, shifts, driving[:, 2].view(1, 1, 1, 3))
    assert torch.allclose(place.flatten(), source[0, 2], atol=1e-5)


def test_without_motion_the_flow_is_the_grid(renderer: LightRenderer) -> None:
    picture, p = torch.rand(1, 3, 64, 64), points()
    motion = renderer.motion(renderer.appearance(picture), p, p, pose(0.2), pose(0.2))
    assert torch.allclose(motion.flow[0], pixel_grid(16, 16), atol=1e-4)


def test_a_shift_of_all_keypoints_moves_the_face(renderer: LightRenderer) -> None:
    """The source's face is read where it is, from the first step on."""
    picture, source = torch.rand(1, 3, 128, 128), points() * 0.3
    moved = source + torch.tensor([0.25, 0.0, 0.0])
    motion = renderer.motion(renderer.appearance(picture), source, moved, pose(), pose(x=0.25))
    middle = motion.flow[0, 16, 20].detach()  # x = 0.28
    assert float(pixel_grid(32, 32)[16, 20, 0] - middle[0]) == pytest.approx(0.25, abs=0.06)


def test_pictures_have_three_sizes_and_blend_moved_and_painted(renderer: LightRenderer) -> None:
    p = points(2)
    out = renderer(renderer.appearance(torch.rand(2, 3, 64, 64)), p, points(2, 3), pose(b=2), pose(0.1, b=2))
    assert [x.picture.shape[-1] for x in out.values()] == [16, 32, 64]
    for made in out.values():
        expected = made.share * made.moved + (1 - made.share) * made.painted
        assert torch.allclose(made.picture, expected, atol=1e-6)


def test_gradients_reach_every_parameter(renderer: LightRenderer) -> None:
    renderer.train()
    torch.nn.init.normal_(renderer.motion.masks.weight, std=0.1)  # zero at first, which hides what lies before
    out = renderer(renderer.appearance(torch.rand(2, 3, 64, 64)), points(2), points(2, 3), pose(b=2), pose(0.3, b=2))
    sum((x.picture * torch.rand_like(x.picture)).sum() for x in out.values()).backward()  # type: ignore[union-attr]
    for name, parameter in renderer.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_a_share_never_saturates() -> None:
    x = torch.zeros(1, 4, 2, 2)
    x[:, 3] = 1e4
    x.requires_grad_()
    share = paint(x, torch.zeros(1, 3, 2, 2)).share.detach()
    assert float(share.max()) < 1 / (1 + math.exp(-4)) + 1e-6


def test_enlarging_a_still_flow_keeps_it_still_up_to_the_border() -> None:
    assert torch.allclose(enlarge(pixel_grid(8, 8)[None], (32, 32))[0], pixel_grid(32, 32), atol=1e-6)


def test_sampling_at_the_grid_gives_the_picture() -> None:
    picture = torch.rand(1, 3, 8, 12)
    assert torch.allclose(sample(picture, pixel_grid(8, 12)[None]), picture, atol=1e-5)


def test_guides_are_different_landmarks_one_for_each_keypoint() -> None:
    assert len(set(GUIDES)) == len(GUIDES) == Config.compact().detector.keypoints
