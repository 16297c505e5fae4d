"""EG3D's official generators, in files of their layout, converted and measured."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from portrayal.cli import main
from portrayal.errors import InputError
from portrayal.nn.rendering.volume import Draws, RayConfig
from portrayal.systems.otavatar import train_decouple
from portrayal.systems.otavatar.config import Config, GeneratorConfig
from portrayal.systems.otavatar.generator import TriplaneGenerator
from portrayal.train.initial import load_initial
from portrayal.train.state import TrainState
from portrayal.weights.convert import convert_weights
from portrayal.weights.registry import config_from_dict
from tests.parity import parity_fixture
from tests.weights.nvidia_files import (
    ORTHOGONAL_AXES,
    Persisted,
    eg3d_generator,
    networks,
    official_state,
    write,
)

CONFIG = replace(Config.tiny().generator, plane_axes="legacy")


@pytest.fixture
def model() -> TriplaneGenerator:
    torch.manual_seed(0)
    made = TriplaneGenerator(CONFIG)
    with torch.no_grad():
        for name, value in made.state_dict().items():
            if name.endswith(("bias", "noise_strength", "w_mean")):
                value.normal_()
    return made


def convert(folder: Path, generator: nn.Module) -> Path:
    write(folder / "eg3d.pkl", networks(generator))
    return convert_weights("eg3d", folder / "eg3d.pkl", folder / "eg3d.safetensors")


def load(path: Path) -> tuple[dict[str, str], Config, TriplaneGenerator]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    config = config_from_dict(Config, json.loads(metadata["config"]))
    model = nn.ModuleDict({"generator": TriplaneGenerator(config.generator)})
    model.load_state_dict(tensors)
    return metadata, config, model["generator"]


def test_it_gives_the_same_picture(tmp_path: Path, model: TriplaneGenerator) -> None:
    path = convert(tmp_path, eg3d_generator(official_state(model.state_dict()), CONFIG))
    metadata, config, converted = load(path)
    assert (metadata["system"], metadata["stage"]) == ("otavatar", "eg3d")
    assert metadata["data"] == "converted from eg3d.pkl of NVlabs/eg3d"
    assert config == replace(Config.official(), generator=CONFIG)
    camera, z = camera_label(), torch.randn(1, CONFIG.z_dim)
    with torch.no_grad():
        ws = model.broadcast(model.latents(z, camera))
        assert torch.equal(converted.latents(z, camera), model.latents(z, camera))
        assert torch.equal(converted(ws, camera), model(ws, camera))
        assert float(model(ws, camera).std()) > 0.01


def camera_label() -> Tensor:
    """(1, 25) in front of the face."""
    cam2world = torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 2.7], [0, 0, 0, 1]])
    intrinsics = torch.tensor([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]])
    return torch.cat([cam2world.flatten(), intrinsics.flatten()])[None]


def test_decouple_starts_from_it(tmp_path: Path, model: TriplaneGenerator) -> None:
    path = convert(tmp_path, eg3d_generator(official_state(model.state_dict()), CONFIG))
    config = replace(Config.tiny(), generator=CONFIG).decoupled()
    live, averaged = (nn.ModuleDict(train_decouple.networks(config)) for _ in range(2))
    load_initial(train_decouple.STAGE, path, TrainState(live, averaged, {}), config)
    for modules in (live, averaged):
        state = modules["generator"].state_dict()
        assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    other = replace(config, generator=replace(CONFIG, channel_max=8))
    wrong = nn.ModuleDict(train_decouple.networks(other))
    with pytest.raises(InputError, match=r"eg3d\.safetensors does not fit .* generator of this preset"):
        load_initial(train_decouple.STAGE, path, TrainState(wrong, wrong, {}), other)


@pytest.mark.parametrize(
    ("field", "config", "about"),
    [
        ("neural_size", replace(CONFIG, neural_size=32), {}),
        ("rays", replace(CONFIG, rays=replace(CONFIG.rays, limits=None)), {}),
        ("rays", replace(CONFIG, rays=replace(CONFIG.rays, white_background=True)), {"options": {"white_back": True}}),
        ("plane_axes", replace(CONFIG, plane_axes="orthogonal"), {"plane_axes": ORTHOGONAL_AXES}),
        ("super_clamp", replace(CONFIG, super_clamp=None), {"settings": {"sr_num_fp16_res": 0}}),
        ("mapping_rate", replace(CONFIG, mapping_rate=0.1), {"settings": {"mapping_kwargs": {"lr_multiplier": 0.1}}}),
        ("super_widths", CONFIG, {"enlarging": "SuperresolutionHybrid8X"}),
    ],
)
def test_it_draws_as_the_file_says(
    tmp_path: Path, model: TriplaneGenerator, field: str, config: GeneratorConfig, about: Mapping[str, Any]
) -> None:
    path = convert(tmp_path, eg3d_generator(official_state(model.state_dict()), config, **about))
    assert getattr(load(path)[1].generator, field) == getattr(config, field)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"options": {"avg_camera_pivot": [0, 0, -0.06]}}, r"its avg_camera_pivot is \[0, 0, -0\.06\], not \[0, 0, 0"),
        ({"options": {"c_gen_conditioning_zero": True}}, "its c_gen_conditioning_zero is True, not False"),
        ({"options": {"box_warp": -1}}, "box_size must be above 0"),
        ({"options": {"ray_start": "near"}}, "near"),
        ({"enlarging": "SuperresolutionHybrid2X"}, "its super-resolution is 'SuperresolutionHybrid2X', not"),
        ({"plane_axes": [[[1, 0, 0], [0, 1, 0], [0, 0, 1]]] * 3}, "its planes have other axes"),
        ({"settings": {"conv_clamp": 256}}, "conv_clamp"),
        ({"settings": {"img_resolution": 256}}, "its pictures are 256 pixels wide, not 32"),
        ({"settings": {"channel_max": 8}}, r"its tensor generator\.backbone.* is \(16, 4, 4\), not \(8, 4, 4\)"),
        ({"settings": {"channel_max": 1 << 60, "channel_base": 1 << 62}}, "."),
        ({"settings": {"w_dim": [[]]}}, "."),
    ],
)
def test_other_generators_are_refused(
    tmp_path: Path, model: TriplaneGenerator, about: Mapping[str, Any], message: str
) -> None:
    generator = eg3d_generator(official_state(model.state_dict()), CONFIG, **about)
    with pytest.raises(InputError, match=rf"eg3d\.pkl does not fit as a generator of NVlabs/eg3d .*{message}"):
        convert(tmp_path, generator)
    assert not (tmp_path / "eg3d.safetensors").exists()


def test_other_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"its network is a 'Generator', not a TriPlaneGenerator"):
        convert(tmp_path, Persisted("Generator"))
    write(tmp_path / "eg3d.pkl", {"G": Persisted("Generator")})
    with pytest.raises(InputError, match=r"it has no network or layer 'G_ema'"):
        convert_weights("eg3d", tmp_path / "eg3d.pkl", tmp_path / "eg3d.safetensors")


class Hostile:
    """Would leave a folder behind if it were unpickled as an object."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_hostile_file_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, output = write(tmp_path / "bad.pkl", {"G_ema": Hostile(tmp_path / "mark")}), tmp_path / "a.safetensors"
    assert main(["weights", "convert", "eg3d", str(bad), "-o", str(output)]) == 2
    told = capsys.readouterr().err
    assert "bad.pkl cannot be read as a file of NVIDIA's networks: it names 'posix.mkdir'" in " ".join(told.split())
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pkl"]


@pytest.mark.slow
@torch.no_grad()
def test_official_names_give_the_reference_outputs(tmp_path: Path) -> None:
    fixture = parity_fixture("eg3d_triplane_small")
    given = fixture.configuration
    config = GeneratorConfig(
        channel_base=given["channel_base"],
        channel_max=given["channel_max"],
        neural_size=given["neural_rendering_resolution"],
        plane_axes="legacy",
        rays=RayConfig(coarse_samples=given["rendering"]["depth_resolution"], fine_samples=12),
    )
    state = {"backbone.mapping.w_avg": torch.zeros(512)} | fixture.state
    options = {name: value for name, value in given["rendering"].items() if name != "superresolution_module"}
    _, converted, generator = load(convert(tmp_path, eg3d_generator(state, config, options=options)))
    assert converted.generator == config
    x = fixture.inputs
    fixture.check("ws", generator.broadcast(generator.latents(x["z"], x["c"])))
    planes = generator.planes(x["ws"])
    fixture.check("planes", planes)
    quantiles = torch.linspace(0, 1, 12).expand(1, 32 * 32, 12)
    view = generator.view(
        planes, x["ws"], x["c"], draw=lambda rays, rays_config: Draws(torch.full_like(quantiles, 0.5), quantiles)
    )
    fixture.check("raw_rgb", view.raw)
    fixture.check("depth", view.depth)
    assert view.picture is not None
    fixture.check("image", view.picture)
