"""Shapes, gradients and sizes of the tracker's networks."""

import pytest
import torch

from portrayal.face.config import Config
from portrayal.face.networks import Detector, LandmarkNet, build, soft_argmax


@pytest.mark.parametrize("config", [Config.tiny(), Config.compact()], ids=["tiny", "compact"])
def test_shapes_and_gradients(config):
    net = build(config)
    measure = net.landmarks(torch.rand(2, 3, config.crop_size, config.crop_size))
    maps = net.detector(torch.rand(2, 3, 96, 64))
    assert measure.landmarks.shape == (2, 478, 3)
    assert measure.eye_openness.shape == (2, 2)
    assert measure.confidence.shape == (2,)
    assert maps.heat.shape == (2, 12, 8)
    assert maps.box.shape == (2, 5, 12, 8)
    outputs = [measure.landmarks, measure.eye_openness, measure.confidence, maps.heat, maps.box]
    torch.stack([x.square().mean() for x in outputs]).sum().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


def test_soft_argmax_by_hand():
    """All weight in one cell gives that cell's centre; an even map gives the middle."""
    maps = torch.zeros(1, 2, 4, 8)
    maps[0, 0, 1, 6] = 100.0
    xy = soft_argmax(maps)
    torch.testing.assert_close(xy[0], torch.tensor([[6.5 / 4 - 1, 1.5 / 2 - 1], [0.0, 0.0]]))


def test_shipped_size():
    """Both networks in fp16 leave room for the face model within 8 MB."""
    config = Config.compact()
    numbers = sum(p.numel() for module in (Detector(config), LandmarkNet(config)) for p in module.state_dict().values())
    assert numbers * 2 < 7.2e6
