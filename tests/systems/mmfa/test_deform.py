"""The random transforms: T undoes T^-1, pictures and points move alike, D' is a similarity."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portrayal.systems.mmfa.deform import Deformation, deform_landmarks


def deformation(seed: int = 0, batch: int = 2, affine: float = 0.05, spline: float = 0.005) -> Deformation:
    return Deformation.random(
        batch,
        affine_deviation=affine,
        spline_deviation=spline,
        control_points=5,
        generator=torch.Generator().manual_seed(seed),
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), affine=st.floats(0, 0.1), spline=st.floats(0, 0.01))
def test_there_and_back_is_the_identity(seed: int, affine: float, spline: float) -> None:
    t = deformation(seed, affine=affine, spline=spline)
    points = torch.rand(2, 40, 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    torch.testing.assert_close(t.deformed_to_original(t.original_to_deformed(points)), points, atol=2e-5, rtol=0)
    torch.testing.assert_close(t.original_to_deformed(t.deformed_to_original(points)), points, atol=2e-4, rtol=0)


def test_the_spline_is_the_sum_of_its_kernels() -> None:
    t = deformation(3)
    point = torch.tensor([0.3, -0.7])
    expected = t.linear[1] @ point + t.offset[1]
    for control, weight in zip(t.control, t.weights[1], strict=True):
        r = float((point - control).norm())
        expected = expected + weight * r**2 * math.log(r)
    torch.testing.assert_close(t.deformed_to_original(point.expand(2, 1, 2))[1, 0], expected)


def test_no_noise_changes_nothing() -> None:
    t = deformation(affine=0.0, spline=0.0)
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(t.deform_image(images), images, atol=1e-5, rtol=0)


def test_a_spot_in_the_picture_is_where_the_points_say() -> None:
    side = 96
    t = deformation(5)
    points = torch.tensor([[[0.2, -0.3]], [[-0.4, 0.1]]])
    axis = (torch.arange(side) + 0.5) * 2 / side - 1
    away = (axis[None, None, :] - points[:, :, :1]) ** 2 + (axis[None, :, None] - points[:, :, 1:]) ** 2
    moved = t.deform_image((-away / 0.004).exp()[:, None].reshape(2, 1, side, side))[:, 0]
    mass = moved / moved.sum((1, 2), keepdim=True)
    found = torch.stack([(mass.sum(1) * axis).sum(1), (mass.sum(2) * axis).sum(1)], -1)
    torch.testing.assert_close(found, t.original_to_deformed(points)[:, 0], atol=0.01, rtol=0)


def test_d_prime_keeps_angles() -> None:
    t = Deformation.random_similarity(8, angle=0.5, zoom=1.2, shift=0.1, generator=torch.Generator().manual_seed(0))
    size = torch.linalg.det(t.linear).sqrt()
    torch.testing.assert_close(t.linear @ t.linear.mT, size.square()[:, None, None] * torch.eye(2).expand(8, 2, 2))
    assert 1 / 1.2 <= float(size.min()) < float(size.max()) <= 1.2
    assert float(t.offset.abs().max()) <= 0.1
    points = torch.rand(8, 5, 2)
    torch.testing.assert_close(t.original_to_deformed(t.deformed_to_original(points)), points)


def test_landmarks_follow_the_face_in_depth_too() -> None:
    t = Deformation.random_similarity(1, angle=0.0, zoom=1.5, shift=0.0, generator=torch.Generator().manual_seed(1))
    landmarks = torch.rand(1, 478, 3) * 100
    moved = deform_landmarks(t, landmarks, 256)
    growth = 1 / float(t.linear[0, 0, 0])
    torch.testing.assert_close(moved[..., 2], landmarks[..., 2] * growth)
    torch.testing.assert_close(moved[..., :2] - 128, (landmarks[..., :2] - 128) * growth, atol=1e-3, rtol=0)


def test_gradients_pass_through_the_picture() -> None:
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    deformation().deform_image(images).sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0


@pytest.mark.parametrize("seed", [0, 1])
def test_one_seed_gives_the_same_transform(seed: int) -> None:
    assert torch.equal(deformation(seed).weights, deformation(seed).weights)
    assert not torch.equal(deformation(seed).weights, deformation(seed + 1).weights)
