"""What a generator needs whose encoder learns along with it (AE-StyleGAN, Han et al. 2021).

True pictures are copied through the encoder; the mapping network learns to give codes that are distributed as the
encoder's are, so that random pictures are drawn from the same space that pictures are inverted to.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from portrayal.nn.stylegan2 import MappingNetwork
from portrayal.nn.stylegan2_layers import full_precision, normalise

REMEMBERED = 512
"""Codes of true pictures that the mapping network is compared with."""


class Remembered(nn.Module):
    """The newest w of true pictures; a buffer, so that checkpoints hold it."""

    codes: Tensor
    """(`REMEMBERED`, w_dim), the newest last."""

    def __init__(self, w_dim: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(REMEMBERED, w_dim))

    @torch.no_grad()
    def add(self, codes: Tensor) -> None:
        """Forget the oldest instead."""
        self.codes.copy_(torch.cat([self.codes, codes])[-REMEMBERED:])


def latent_distance(mapping: MappingNetwork, codes: Tensor, labels: Tensor | None = None) -> Tensor:
    """() how far w of random z are from where a normal distribution like that of codes (n, w_dim) has them.

    W is nearly normal here, and far from round: the variance lies in few of its many directions. With C the covariance
    of the codes and m their mean, z belongs to m + C^(1/2) z. Squared, relative to the variance of the codes.

    Args:
        mapping: z_dim and w_dim are the same.
        labels: (n, label_dim) that the mapping network reads; whatever they are, the codes shall be the same.
    """
    with full_precision(codes):
        z = torch.randn(len(codes), mapping.z_dim, device=codes.device)
        variances, axes = torch.linalg.eigh(codes.mT.cov())
        root = (axes * variances.clamp_min(0).sqrt()) @ axes.mT
        wanted = codes.mean(0) + normalise(z) @ root
        return (mapping(z, labels) - wanted).square().sum(1).mean() / (variances.clamp_min(0).sum() + 1e-8)
