"""Codes that are remembered, and random codes that come to lie where they are."""

from __future__ import annotations

import torch

from portrayal.nn import autoencoding
from portrayal.nn.stylegan2 import MappingNetwork


def test_random_codes_come_to_lie_where_the_pictures_codes_are() -> None:
    """Mean and covariance, although most of the variance lies in a few skew directions."""
    torch.manual_seed(0)
    mapping = MappingNetwork(16, 16, layers=2, rate=1.0)
    mixing = torch.linalg.qr(torch.randn(16, 16)).Q * torch.logspace(0.5, -1, 16)
    codes = torch.randn(512, 16) @ mixing.T + 3
    optimizer = torch.optim.Adam(mapping.parameters(), lr=2e-2)
    first = float(autoencoding.latent_distance(mapping, codes).detach())
    for _ in range(300):
        optimizer.zero_grad()
        autoencoding.latent_distance(mapping, codes).backward()
        optimizer.step()
    drawn = mapping(torch.randn(4000, 16)).detach()
    assert float(autoencoding.latent_distance(mapping, codes).detach()) < 0.1 < first
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), atol=0.3, rtol=0)
    off = (drawn.mT.cov() - codes.mT.cov()).norm() / codes.mT.cov().norm()
    assert float(off) < 0.25


def test_the_newest_codes_are_remembered() -> None:
    kept = autoencoding.Remembered(2)
    kept.add(torch.ones(autoencoding.REMEMBERED - 1, 2))
    kept.add(torch.full((3, 2), 5.0))
    assert kept.codes.shape == (autoencoding.REMEMBERED, 2)
    assert kept.codes[:, 0].tolist() == [1.0] * (autoencoding.REMEMBERED - 3) + [5.0] * 3


def test_whatever_the_label_the_codes_are_the_same() -> None:
    torch.manual_seed(0)
    mapping = MappingNetwork(8, 8, label_dim=3, layers=2, rate=1.0)
    codes, labels = torch.randn(256, 8) * 2 + 1, torch.randn(256, 3)
    optimizer = torch.optim.Adam(mapping.parameters(), lr=2e-2)
    for _ in range(200):
        optimizer.zero_grad()
        autoencoding.latent_distance(mapping, codes, labels).backward()
        optimizer.step()
    z = torch.randn(200, 8)
    one, other = (mapping(z, labels[:200].roll(shift, 0)).detach() for shift in (0, 7))
    assert float((one - other).square().mean()) < 0.1 * float(one.var(0).mean())
