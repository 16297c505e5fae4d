"""The whole system as one network: sizes, limits, and the weights files that it is read from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from portrayal.systems import otavatar
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.model import Otavatar
from portrayal.systems.otavatar.train_decouple import networks
from portrayal.train.initial import save_network
from portrayal.types import as_system
from portrayal.weights.model import read_model
from tests.systems.otavatar.test_generator import cameras

TINY = Config.tiny()


@pytest.mark.parametrize(
    ("preset", "whole", "controller"),
    [("paper", 31_734_308, 1_072_172), ("official", 31_531_556, 869_420), ("compact", 3_754_759, 312_924)],
)
def test_sizes_of_the_page_of_the_system(preset: str, whole: int, controller: int) -> None:
    with torch.device("meta"):
        model = Otavatar(getattr(Config, preset)())
    assert sum(p.numel() for p in model.parameters()) == whole
    assert sum(p.numel() for p in model.controller.parameters()) == controller


def test_identity_and_motion_are_added_and_limited() -> None:
    torch.manual_seed(0)
    model = Otavatar(TINY).eval().requires_grad_(False)
    window = torch.randn(2, 73, 27)
    identity = torch.randn(2, 6, 16)
    torch.testing.assert_close(model.latents(identity, window), identity + model.controller(window))
    far = model.latents(identity + 100, window)
    torch.testing.assert_close(far, (model.generator.w_mean + 5).expand(2, 6, 16))
    assert model(identity, window, cameras(0.0, 0.2)).shape == (2, 3, 32, 32)


def test_a_weights_file_of_the_stage_decouple_is_a_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained = nn.ModuleDict(networks(TINY))
    about = {"config": json.dumps(asdict(TINY.decoupled()))}
    save_network(tmp_path / "weights.safetensors", trained, about, system="otavatar", stage="decouple")
    model = read_model(tmp_path / "weights.safetensors", as_system(otavatar), "otavatar")
    assert isinstance(model, Otavatar)
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, atol=1e-3, rtol=1e-3)
