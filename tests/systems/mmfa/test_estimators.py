"""Shapes of A.1, gradients and bad configurations."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from portrayal.systems.mmfa.config import Config, EncoderConfig, GeneratorConfig
from portrayal.systems.mmfa.estimators import (
    AffineEstimator,
    ExpressionDecoder,
    ExpressionEncoder,
    HeadMotionEstimator,
)

TINY = Config.tiny()


def gradients_reach_all(net: nn.Module) -> bool:
    return all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())


def image(b: int = 2) -> torch.Tensor:
    return torch.rand(b, 3, TINY.image_size, TINY.image_size)


def test_affine_estimator_gives_a_positive_scale() -> None:
    net = AffineEstimator(TINY.affine_encoder)
    scale, translation = net(image())
    assert scale.shape == (2,)
    assert translation.shape == (2, 2)
    assert float(scale.detach().min()) > 0
    (scale.sum() + translation.sum()).backward()
    assert gradients_reach_all(net)


@pytest.mark.parametrize("config", [TINY, Config.paper()])
def test_expression_map_is_16_x_4_x_4(config: Config) -> None:
    net = ExpressionEncoder(config.expression).eval()
    shapes = []
    net.reduce.register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape)))
    with torch.no_grad():
        feature = net(torch.rand(1, 3, config.image_size, config.image_size))
    assert shapes == [(1, 16, 4, 4)]
    assert feature.shape == (1, 256)


def test_expression_decoder_depends_on_feature_and_identity() -> None:
    net = ExpressionDecoder(TINY.expression, keypoints=10)
    assert isinstance(net.last, nn.Linear)
    assert sum(isinstance(m, nn.BatchNorm1d) for m in net.hidden) == len(TINY.expression.decoder)
    feature, canonical = torch.randn(3, 256), torch.randn(3, 10, 3)
    delta = net(feature, canonical)
    assert delta.shape == (3, 10, 3)
    assert bool((delta < 0).any())
    assert bool((delta > 0).any())
    delta.square().sum().backward()
    assert gradients_reach_all(net)
    net.eval()
    with torch.no_grad():
        assert not torch.equal(net(feature, canonical), net(feature + 1, canonical))
        assert not torch.equal(net(feature, canonical), net(feature, canonical + 1))


def test_head_motion_estimator_gives_a_rotation() -> None:
    net = HeadMotionEstimator(TINY.affine_encoder, keypoints=10)
    found = net(image())
    pose = found.pose(half_turn=torch.pi)
    torch.testing.assert_close(pose.rotation @ pose.rotation.mT, torch.eye(3).expand(2, 3, 3), atol=1e-5, rtol=0)
    assert found.deformation.shape == (2, 30)
    (pose.rotation.square() * torch.randn(3, 3)).sum().add(found.translation.sum() + found.deformation.sum()).backward()
    assert gradients_reach_all(net)


def test_configurations_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="one number per stage"):
        EncoderConfig(widths=(32, 64), blocks=(1,))
    with pytest.raises(ValueError, match=r"expression\.widths.*image_size 128"):
        dataclasses.replace(Config.paper(), image_size=128)
    with pytest.raises(ValueError, match=r"generator\.channels.*3 numbers"):
        dataclasses.replace(TINY, generator=GeneratorConfig(channels=(32, 16)))
    with pytest.raises(ValueError, match="affine must be network"):
        dataclasses.replace(TINY, decomposition="face-vid2vid")
    with pytest.raises(ValueError, match=r"motion\.levels"):
        dataclasses.replace(TINY, motion=dataclasses.replace(TINY.motion, levels=5))
