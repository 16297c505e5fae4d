"""Official checkpoints of the directions paper, built from the parity fixtures' rule, converted and measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from portrayal.cli import main
from portrayal.errors import InputError
from portrayal.nn.e4e import E4eEncoder
from portrayal.systems import SYSTEMS
from portrayal.systems.directions import animate
from portrayal.systems.directions.pose import RELEASED_RANGES
from portrayal.weights.convert import convert_weights
from portrayal.weights.convert.stylegan2 import generator_from_rosinality
from portrayal.weights.model import read_model
from tests.parity import parity_fixture


def encoder_state() -> dict[str, Tensor]:
    """Of the right shapes, one number each in the file."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in E4eEncoder(256).state_dict().items()}
    return {name: torch.full((), 0.01).expand(shape) for name, shape in shapes.items()}


@pytest.mark.slow
@torch.no_grad()
def test_parity_of_a_converted_system(tmp_path: Path) -> None:
    """Generator, shift, truncation and matrix give the official numbers after the way through the file."""
    pictures, matrix = parity_fixture("stylegan2_rosinality_256"), parity_fixture("directions_matrix")
    files = {"g": {"g_ema": pictures.state}, "e": {"e": encoder_state()}, "a": {"A_matrix": matrix.state, "step": 1}}
    for name, content in files.items():
        torch.save(content, tmp_path / f"{name}.pt")
    out = tmp_path / "directions.safetensors"
    paths = [str(tmp_path / f"{name}.pt") for name in ("a", "g", "e")]
    assert main(["weights", "convert", "directions", *paths, "-o", str(out)]) == 0
    model = read_model(out, SYSTEMS["directions"], "directions").eval()
    assert isinstance(model, animate.Directions)
    shift = model.matrix(matrix.inputs["delta_p"])
    weight = matrix.state["linear.weight"].half().float()
    expected = matrix.inputs["delta_p"] @ weight.T + matrix.state["linear.bias"].half().float()
    torch.testing.assert_close(shift.flatten(1), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.poses.ranges, torch.tensor(RELEASED_RANGES), atol=2e-2, rtol=1e-3)
    official = generator_from_rosinality(pictures.state)
    for name, value in model.generator.synthesis.state_dict().items():
        torch.testing.assert_close(value, official[f"synthesis.{name}"].half().float(), msg=name)
    w = model.generator.broadcast(torch.randn(1, 512))
    moved = model.reenacted(w, torch.zeros(1, 15))
    bias = model.matrix(torch.zeros(1, 15))
    mean = model.generator.mapping.w_mean
    assert float(mean.abs().max()) > 0, "measured, as the file has none"
    torch.testing.assert_close(moved[:, :8], mean + 0.7 * (w[:, :8] + bias - mean), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(moved[:, 8:], mean + 0.7 * (w[:, 8:] - mean), atol=1e-5, rtol=1e-5)
    assert animate.direction_names(model)[2:5] == ("roll", "jaw", "expression-1")


def test_parts_are_named_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"A_matrix": {"linear.weight": torch.zeros(4096, 15)}}, tmp_path / "a.pt")
    torch.save({"net": {}}, tmp_path / "other.pt")
    torch.save({"g_ema": {"a": torch.zeros(1)}}, tmp_path / "g.pt")
    torch.save({"e": {"b": torch.zeros(1)}}, tmp_path / "e.pt")
    out = tmp_path / "o.safetensors"
    a, g, e, other = (tmp_path / f"{name}.pt" for name in ("a", "g", "e", "other"))
    with pytest.raises(InputError, match="the generator and the encoder are missing; convert directions takes three"):
        convert_weights("directions", a, out)
    with pytest.raises(InputError, match=r"other\.pt is no checkpoint of the directions paper; these have g_ema, e, A"):
        convert_weights("directions", [a, other], out)
    with pytest.raises(InputError, match="both hold a matrix"):
        convert_weights("directions", [a, a], out)
    with pytest.raises(InputError, match=r"not laid out as the directions paper's files"):
        convert_weights("directions", [a, g, e], out)
    with pytest.raises(InputError, match="is one file, got 2; convert one at a time"):
        convert_weights("e4e", [e, e], out)
    assert main(["weights", "convert", "directions", str(a), "-o", str(out)]) == 2
    assert "are missing" in capsys.readouterr().err
    assert not out.exists()
