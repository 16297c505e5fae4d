"""Losses of StyleGAN2's training (Karras et al. 2020, arXiv 1912.04958): logistic, R1, path length."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Logistic loss (Goodfellow et al. 2014): logits of real and of generated pictures, any shapes, to a scalar."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Its non-saturating form for the generator."""
    return F.softplus(-fake).mean()


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Mean squared norm of the slope at real pictures (Mescheder et al. 2018, equation 9, without gamma / 2).

    Args:
        logits: (b,) of `images`, each of its own picture only.
        images: (b, c, h, w) that require gradients.

    Returns:
        A scalar that can be differentiated.
    """
    (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return slope.float().square().sum((1, 2, 3)).mean()


def path_lengths(images: Tensor, ws: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """|J^T y| for one random y per picture (section 3.2, equation 4).

    Args:
        images: (b, c, h, w) made from `ws`, in a graph.
        ws: (b, l, w_dim). The norm is the root of the mean over layers of the squared norm of each, as in both public
            implementations.
        generator: draws y, normal and divided by the root of the number of pixels, which makes the length independent
            of the resolution.

    Returns:
        (b,), can be differentiated.
    """
    y = torch.randn(images.shape, device=images.device, generator=generator) / math.sqrt(images[0, 0].numel())
    (slope,) = torch.autograd.grad((images.float() * y).sum(), ws, create_graph=True)
    return slope.float().square().sum(2).mean(1).sqrt()


def path_length_penalty(lengths: Tensor, mean: Tensor, *, decay: float = 0.99) -> tuple[Tensor, Tensor]:
    """Mean of (length - a)^2, a the running mean of lengths (equation 4, appendix B).

    Args:
        lengths: (b,).
        mean: scalar, a so far; 0 in the beginning.

    Returns:
        The penalty, and the new a, without gradient; the penalty is reckoned with the new one.
    """
    new = mean.lerp(lengths.detach().mean(), 1 - decay)
    return (lengths - new).square().mean(), new
