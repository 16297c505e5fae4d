"""Distances between two sets of features, as functions: what FID and KID compute."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) of two Gaussians.

    The trace of the root is the sum of the roots of the eigenvalues of C_a^1/2 C_b C_a^1/2, which is symmetric; so it
    stays real and exact for singular covariances (fewer samples than features) too.

    Args:
        mean_a, mean_b: (c,). cov_a, cov_b: (c, c), symmetric; float64 for results good to many digits.
    """
    root = _symmetric_root(cov_a)
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross


def kernel_distance(a: Tensor, b: Tensor) -> Tensor:
    """Unbiased squared maximum mean discrepancy of (n, c) and (m, c) with the kernel (x . y / c + 1)^3."""
    c, n, m = a.shape[1], len(a), len(b)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.mT / c + 1) ** 3

    within_a, within_b = kernel(a, a), kernel(b, b)
    within = (within_a.sum() - within_a.trace()) / (n * (n - 1)) + (within_b.sum() - within_b.trace()) / (m * (m - 1))
    return within - 2 * kernel(a, b).mean()


def _symmetric_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp_min(0).sqrt() @ vectors.mT
