"""A system's weights: found in the package or given as a file, refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import portrayal.weights.model
from portrayal.cli import main
from portrayal.errors import InputError
from portrayal.evaluate.entrants import load_entrants
from portrayal.systems import SYSTEMS, load, ready
from tests import fake_system
from tests.fake_system import Config, write_weights


@pytest.fixture(autouse=True)
def tint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SYSTEMS, "tint", fake_system.system())


def test_a_file_builds_the_model_it_describes(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "w.safetensors", gain=0.5, built=Config(side=48))
    system, model = load("tint", weights=path)
    assert system is SYSTEMS["tint"]
    assert model.config == Config(side=48)
    assert not model.training
    gain = model.get_parameter("gain")
    assert gain.dtype == torch.float32
    assert gain.tolist() == [0.5] * 3


def test_loaded_once_until_the_file_changes(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "w.safetensors")
    first = load("tint", weights=path)[1]
    assert load("auto", weights=path)[1] is first
    write_weights(path, gain=2.0)
    assert load("tint", weights=path)[1].get_parameter("gain").tolist() == [2.0] * 3


def test_the_package_is_looked_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"no weights for tint; .*--weights"):
        load("tint")
    assert "meshwarp" in ready()
    assert "tint" not in ready()
    (tmp_path / "embedded").mkdir()
    path = write_weights(tmp_path / "embedded" / "tint.safetensors", gain=3.0)
    assert "tint" in ready([path])
    monkeypatch.setattr(portrayal.weights.model, "files", lambda _: tmp_path)
    assert load("tint")[1].get_parameter("gain").tolist() == [3.0] * 3


def other_system(path: Path) -> None:
    write_weights(path, system="otherwise")


def no_config(path: Path) -> None:
    save_file({"gain": torch.ones(3)}, path, {"system": "tint"})


def other_field(path: Path) -> None:
    write_weights(path, config='{"sides": 3}')


def not_json(path: Path) -> None:
    write_weights(path, config="side=3")


def other_shape(path: Path) -> None:
    write_weights(path, config='{"channels": 4}')


def missing_tensor(path: Path) -> None:
    save_file({"other": torch.ones(3)}, path, {"system": "tint", "config": "{}"})


def further_tensor(path: Path) -> None:
    save_file({"gain": torch.ones(3), "bias": torch.ones(3)}, path, {"system": "tint", "config": "{}"})


def text(path: Path) -> None:
    path.write_text("weights")


def absent(path: Path) -> None:
    pass


BAD: list[tuple[Callable[[Path], None], str]] = [
    (other_system, "field system is 'otherwise'"),
    (no_config, "lack the field config"),
    (other_field, "sides"),
    (not_json, "field config"),
    (other_shape, r"gain is \(3,\)"),
    (missing_tensor, "gain is missing"),
    (further_tensor, "bias is unknown"),
    (text, "not a weights file"),
    (absent, "does not exist"),
]


@pytest.mark.parametrize(("make", "said"), BAD, ids=[make.__name__ for make, _ in BAD])
def test_other_files_are_refused_by_name_and_field(make: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    make(tmp_path / "given.safetensors")
    with pytest.raises(InputError, match=rf"given\.safetensors.*{said}"):
        load("tint", weights=tmp_path / "given.safetensors")


def test_wrong_pairs_are_refused(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "given.safetensors")
    with pytest.raises(InputError, match=r"given.*meshwarp has nothing to train"):
        load("meshwarp", weights=path)
    with pytest.raises(InputError, match=r"given.*not measured"):
        load_entrants(["meshwarp"], device=torch.device("cpu"), weights=[path])
    with pytest.raises(InputError, match="two files"):
        load_entrants(["tint"], device=torch.device("cpu"), weights=[path, path])
    other = write_weights(tmp_path / "other.safetensors", system="otherwise")
    with pytest.raises(InputError, match=r"other.*no system 'otherwise'"):
        load(weights=other)


@pytest.mark.parametrize(
    "verb", ["animate", "template builtin:nod --consent mine", "evaluate meshwarp --data synthetic"]
)
def test_the_command_line_says_it_in_a_sentence(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*verb.split(), "--weights", "nowhere.safetensors"]) == 2
    error = capsys.readouterr().err
    assert "nowhere.safetensors does not exist" in error
    assert len(error.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
