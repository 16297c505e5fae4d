"""Official checkpoints, built from the parity fixtures' rule, converted and measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from portrayal.cli import main
from portrayal.errors import InputError, MissingFileError
from portrayal.nn.e4e import E4eEncoder
from portrayal.nn.hopenet import Hopenet
from portrayal.nn.pretrained import load_e4e, load_hopenet
from portrayal.nn.volume import sample_volume
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.model import Mmfa
from portrayal.weights.convert import convert_weights
from portrayal.weights.convert.e4e import encoder_from_e4e
from portrayal.weights.registry import config_from_dict
from tests.parity import parity_fixture

KEYPOINTS = 5
"""Of the reduced fixtures."""


def checkpoint(generator: str) -> dict[str, Any]:
    """As the public implementation saves it, data parallel prefix and other content included."""
    head = dict(parity_fixture("fv2v_he_estimator").state)
    for name in ("fc_exp.weight", "fc_exp.bias"):
        head[name] = head[name][: 3 * KEYPOINTS]
    return {
        "generator": parity_fixture(generator).state,
        "kp_detector": {f"module.{n}": x for n, x in parity_fixture("fv2v_kp_detector_small").state.items()},
        "he_estimator": head,
        "optimizer_generator": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        "epoch": 7,
    }


def load(path: Path) -> Mmfa:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert metadata["system"] == "mmfa"
    config = config_from_dict(Config, json.loads(metadata["config"]))
    with torch.device("meta"):
        model = Mmfa(config)
    model.load_state_dict(tensors, assign=True)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("generator", ["fv2v_generator_small", "fv2v_spade_generator_small_input"])
def test_a_checkpoint_gives_the_reference_outputs(generator: str, tmp_path: Path) -> None:
    torch.save(checkpoint(generator), tmp_path / "a.pth.tar")
    model = load(convert_weights("face-vid2vid", tmp_path / "a.pth.tar", tmp_path / "a.safetensors"))
    fixture = parity_fixture("fv2v_kp_detector_small")
    fixture.check("kp", model.canonical(fixture.inputs["image"]))

    fixture = parity_fixture("fv2v_he_estimator")
    assert model.head_motion is not None
    found = model.head_motion(fixture.inputs["image"])
    for name in ("yaw", "pitch", "roll"):
        fixture.check(name, getattr(found, name))
    fixture.check("t", found.translation)

    fixture = parity_fixture(generator)
    x = fixture.inputs
    volume = model.appearance(x["image"])
    field = model.dense_motion(volume, x["kp_source"] + x["kp_delta"], x["kp_source"])
    (picture,) = model.generator(sample_volume(volume, field.deformation), field.occlusion).values()
    fixture.check("prediction", picture)


def test_wrong_files_get_one_sentence(tmp_path: Path) -> None:
    bad, out = tmp_path / "bad.pth", tmp_path / "out.safetensors"
    with pytest.raises(MissingFileError, match=r"none\.pth does not exist"):
        convert_weights("face-vid2vid", tmp_path / "none.pth", out)
    bad.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"bad\.pth cannot be read as a checkpoint"):
        convert_weights("face-vid2vid", bad, out)
    torch.save({"generator": {}}, bad)
    with pytest.raises(InputError, match="no state dict 'kp_detector'"):
        convert_weights("face-vid2vid", bad, out)
    torch.save({part: {"a": torch.ones(1)} for part in ("generator", "kp_detector", "he_estimator")}, bad)
    with pytest.raises(InputError, match=r"bad\.pth is not laid out"):
        convert_weights("face-vid2vid", bad, out)
    with pytest.raises(InputError, match="no converter for 'fomm'"):
        convert_weights("fomm", bad, out)
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        convert_weights("face-vid2vid", bad, tmp_path / "out.pth")
    assert not out.exists()


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    states = checkpoint("fv2v_generator_small")
    del states["generator"]["final.bias"]
    torch.save(states, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth is not laid out.*generator\.to_rgb\.bias"):
        convert_weights("face-vid2vid", tmp_path / "a.pth", tmp_path / "a.safetensors")


def test_hopenet_converts_and_loads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net: nn.Module = Hopenet().eval()
    torch.save(net.state_dict(), tmp_path / "hopenet.pkl")
    path = convert_weights("hopenet", tmp_path / "hopenet.pkl", tmp_path / "hopenet.safetensors")
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(load_hopenet(path).angles_deg(image), net.angles_deg(image))
    torch.save({"a": torch.ones(1)}, tmp_path / "b.pkl")
    with pytest.raises(InputError, match="do not fit Hopenet"):
        convert_weights("hopenet", tmp_path / "b.pkl", tmp_path / "b.safetensors")


def test_the_mean_of_encoder4editing_moves_into_the_heads() -> None:
    torch.manual_seed(0)
    net = E4eEncoder(32, w_dim=24, trunk=((16, 1), (16, 1), (32, 1), (32, 1))).eval()
    image, means = torch.rand(2, 3, 32, 32), torch.randn(8, 24)
    state = {n: x.clone() for n, x in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    others = {f"encoder.{name}": value for name, value in state.items()} | {"decoder.input": torch.ones(1)}
    with torch.no_grad():
        plain = net(image)
        net.load_state_dict(encoder_from_e4e({"e": state, "g": {}}))
        assert torch.equal(net(image), plain)
        for mean in (means, means[0]):
            checkpoint = {"state_dict": others, "latent_avg": mean, "opts": {"start_from_latent_avg": True}}
            net.load_state_dict(encoder_from_e4e(checkpoint))
            torch.testing.assert_close(net(image), plain + mean)
        net.load_state_dict(encoder_from_e4e({"state_dict": others, "latent_avg": means, "opts": {}}))
        assert torch.equal(net(image), plain)


@pytest.mark.slow
def test_an_encoder_converts_and_loads(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in E4eEncoder(256, layers=18).state_dict().items()}
    state = {name: torch.ones(()).expand(shape) for name, shape in shapes.items()}  # one number each in the file
    state["styles.17.linear.bias"] = torch.full((512,), 0.5)
    torch.save({"e": state}, tmp_path / "a.pt")
    net = load_e4e(convert_weights("e4e", tmp_path / "a.pt", tmp_path / "a.safetensors"))
    assert net.layers == 18
    assert not net.training
    assert float(net.styles[17].linear.bias[0]) == 0.5
    del state["latlayer1.bias"]
    torch.save({"e": state}, tmp_path / "b.pt")
    with pytest.raises(InputError, match=r"b\.pt is not laid out as an encoder.*latlayer1\.bias"):
        convert_weights("e4e", tmp_path / "b.pt", tmp_path / "b.safetensors")
    torch.save({"g_ema": {}}, tmp_path / "c.pt")
    with pytest.raises(InputError, match="neither e nor state_dict"):
        convert_weights("e4e", tmp_path / "c.pt", tmp_path / "c.safetensors")
    with pytest.raises(MissingFileError, match=r"none\.pt does not exist"):
        convert_weights("e4e", tmp_path / "none.pt", tmp_path / "c.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


def test_the_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "convert", "hopenet"]) == 2
    assert "needs a kind and a checkpoint" in capsys.readouterr().err
    assert main(["weights", "convert", "hopenet", str(tmp_path / "no.pkl"), "-o", str(tmp_path / "o.safetensors")]) == 2
    assert "no.pkl does not exist" in capsys.readouterr().err
