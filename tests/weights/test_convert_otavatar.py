"""Official OTAvatar checkpoints, built from the parity fixtures' rule, converted and measured."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn

from portrayal.errors import InputError
from portrayal.nn.rendering.volume import Draws
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.train_decouple import controller_of, generator_of, networks
from portrayal.weights.convert import convert_weights
from portrayal.weights.registry import config_from_dict
from tests.parity import parity_fixture


def checkpoint(generator: str) -> dict[str, Any]:
    """As the official code saves it after training on several devices."""
    controller = dict(parity_fixture("otavatar_controller").state)
    eg3d = {"backbone.mapping.w_avg": torch.zeros(512)} | dict(parity_fixture(generator).state)
    return {
        "net_Warp": {f"module.{name}": torch.zeros_like(x) for name, x in controller.items()},
        "net_Warp_ema": controller,
        "net_G_ema": {f"module.{name}": x for name, x in eg3d.items()},
        "opt_Warp": {"state": {}, "param_groups": [{"lr": 1e-3}]},
        "sch_Warp": {"last_epoch": 3},
        "opt_G": {},
        "current_iteration": 2000,
    }


@pytest.mark.slow
@torch.no_grad()
def test_a_checkpoint_gives_the_reference_outputs(tmp_path: Path) -> None:
    torch.save(checkpoint("eg3d_triplane"), tmp_path / "a.pt")
    path = convert_weights("otavatar", tmp_path / "a.pt", tmp_path / "a.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert metadata["system"] == "otavatar"
    config = config_from_dict(Config, json.loads(metadata["config"]))
    assert config == Config.official()
    with torch.device("meta"):
        model = nn.ModuleDict(networks(config))
    model.load_state_dict(tensors, assign=True)
    fixture = parity_fixture("otavatar_controller")
    fixture.check("directions", controller_of(model)(fixture.inputs["coefficients"]))

    fixture, generator = parity_fixture("eg3d_triplane"), generator_of(model)
    x = fixture.inputs
    fixture.check("ws", generator.broadcast(generator.latents(x["z"], x["c"])))
    planes = generator.planes(x["ws"])
    fixture.check("planes", planes)
    quantiles = torch.linspace(0, 1, 48).expand(1, 64 * 64, 48)
    view = generator.view(
        planes, x["ws"], x["c"], draw=lambda rays, _: Draws(torch.full_like(quantiles, 0.5), quantiles)
    )
    fixture.check("raw_rgb", view.raw)
    fixture.check("depth", view.depth)
    assert view.picture is not None
    fixture.check("image", view.picture)


def test_another_generator_is_refused(tmp_path: Path) -> None:
    torch.save(checkpoint("eg3d_triplane_small"), tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt is not laid out as a checkpoint of .*generator\.backbone"):
        convert_weights("otavatar", tmp_path / "a.pt", tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


def test_layers_that_are_not_shared_are_refused(tmp_path: Path) -> None:
    states = checkpoint("eg3d_triplane_small")
    states["net_Warp_ema"]["mapping_Refine.4.bias"] = torch.ones(256)
    torch.save(states, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"mapping_Refine\.4\.bias differs from mapping_Refine\.0"):
        convert_weights("otavatar", tmp_path / "a.pt", tmp_path / "a.safetensors")


class Hostile:
    """Would leave a file behind if it were unpickled as an object."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_nothing_is_executed(tmp_path: Path) -> None:
    torch.save({"net_G_ema": Hostile(tmp_path / "mark")}, tmp_path / "bad.pt")
    with pytest.raises(InputError, match=r"bad\.pt cannot be read as a checkpoint"):
        convert_weights("otavatar", tmp_path / "bad.pt", tmp_path / "a.safetensors")
    assert not (tmp_path / "mark").exists()
    torch.save({"net_G_ema": {}}, tmp_path / "half.pt")
    with pytest.raises(InputError, match="no state dict 'net_Warp_ema'"):
        convert_weights("otavatar", tmp_path / "half.pt", tmp_path / "a.safetensors")
