"""GAN losses on functions whose slopes are known."""

from __future__ import annotations

import math

import pytest
import torch

from portrayal.nn.gan_losses import (
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)


def test_logistic_losses_by_hand() -> None:
    real, fake = torch.tensor([0.0, 2.0]), torch.tensor([-1.0])
    expected = (math.log(2) + math.log(1 + math.exp(-2))) / 2 + math.log(1 + math.exp(-1))
    assert float(discriminator_loss(real, fake)) == pytest.approx(expected, rel=1e-6)
    assert float(generator_loss(fake)) == pytest.approx(math.log(1 + math.e), rel=1e-6)
    assert torch.isfinite(generator_loss(torch.tensor([-1e4])))


def test_r1_of_a_quadratic_discriminator() -> None:
    """D(x) = k |x|^2 has the slope 2 k x, and the penalty the derivative 8 k |x|^2 by k."""
    images = torch.randn(3, 2, 4, 4, requires_grad=True)
    k = torch.tensor(0.5, requires_grad=True)
    penalty = r1_penalty((k * images.square()).sum((1, 2, 3)), images)
    squares = images.detach().square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(penalty, 4 * k**2 * squares)
    (slope,) = torch.autograd.grad(penalty, k)
    torch.testing.assert_close(slope, 8 * k.detach() * squares)


@pytest.mark.parametrize("size", [4, 16])
def test_path_length_of_a_scaled_orthogonal_map(size: int) -> None:
    """Where every w of a layer fills one channel with s w_0, |J^T y| = s |sum of y's channel|, s on average."""
    ws = torch.zeros(4000, 2, 3, requires_grad=True)
    images = 5 * ws[:, :, 0, None, None].expand(-1, -1, size, size)
    lengths = path_lengths(images, ws, generator=torch.Generator().manual_seed(0))
    assert lengths.shape == (4000,)
    assert float(lengths.square().mean()) == pytest.approx(25, rel=0.1)


def test_path_length_penalty_follows_its_mean() -> None:
    lengths = torch.tensor([2.0, 4.0], requires_grad=True)
    penalty, mean = path_length_penalty(lengths, torch.tensor(1.0), decay=0.5)
    assert float(mean) == 2
    assert not mean.requires_grad
    assert float(penalty.detach()) == 2  # (0^2 + 2^2) / 2
    penalty.backward()
    assert lengths.grad is not None
    assert lengths.grad.tolist() == [0, 2]
