"""Equations 1 and 2, and what follows from them."""

from __future__ import annotations

import torch

from portrayal.nn.volume import coordinate_grid, sample_volume
from portrayal.systems.mmfa.config import MotionConfig
from portrayal.systems.mmfa.dense_motion import DenseMotion, sparse_motions

SIZE = (2, 4, 4)


def network() -> DenseMotion:
    torch.manual_seed(0)
    return DenseMotion(MotionConfig(first=4, largest=8, levels=2, compress=2), keypoints=3, channels=4, depth=2)


def points() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 3, 3) * 0.4, torch.randn(2, 3, 3) * 0.4


def test_equation_1() -> None:
    driving, source = points()
    jacobians = torch.randn(2, 3, 3, 3)
    grid = coordinate_grid(SIZE)
    found = sparse_motions(grid, driving, source, jacobians)
    assert torch.equal(found[:, 0], grid.expand(2, *SIZE, 3))
    z = grid[1, 2, 3]
    for b in range(2):
        for k in range(3):
            expected = source[b, k] + jacobians[b, k] @ (z - driving[b, k])
            torch.testing.assert_close(found[b, k + 1, 1, 2, 3], expected)


def test_one_jacobian_for_all_keypoints_and_none_for_the_identity() -> None:
    driving, source = points()
    grid = coordinate_grid(SIZE)
    shared = torch.randn(2, 3, 3)
    each = shared[:, None].expand(2, 3, 3, 3)
    torch.testing.assert_close(
        sparse_motions(grid, driving, source, shared), sparse_motions(grid, driving, source, each)
    )
    unit = torch.eye(3).expand(2, 3, 3)
    torch.testing.assert_close(sparse_motions(grid, driving, source, None), sparse_motions(grid, driving, source, unit))


def test_equation_2_is_the_masked_sum() -> None:
    driving, source = points()
    field = network().eval()(torch.randn(2, 4, *SIZE), driving, source)
    motions = sparse_motions(coordinate_grid(SIZE), driving, source, None)
    expected = sum(field.mask[:, k, ..., None] * motions[:, k] for k in range(4))
    torch.testing.assert_close(field.deformation, expected)
    torch.testing.assert_close(field.mask.sum(1), torch.ones(2, *SIZE))
    assert field.occlusion.shape == (2, 1, 4, 4)
    assert 0 < float(field.occlusion.detach().min()) <= float(field.occlusion.detach().max()) < 1


def test_keypoints_that_stay_leave_the_volume_as_it_is() -> None:
    driving, _ = points()
    volume = torch.randn(2, 4, *SIZE)
    field = network().eval()(volume, driving, driving)
    torch.testing.assert_close(sample_volume(volume, field.deformation), volume, atol=1e-4, rtol=1e-4)


def test_gradients_reach_keypoints_and_all_weights() -> None:
    driving, source = (p.requires_grad_() for p in points())
    net = network()
    field = net(torch.randn(2, 4, *SIZE), driving, source)
    (field.deformation.square().sum() + field.occlusion.sum()).backward()
    assert driving.grad is not None
    assert source.grad is not None
    assert all(p.grad is not None for p in net.parameters())
