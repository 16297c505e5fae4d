"""The reader of NVIDIA's files gives what they hold, executes nothing, and says in one sentence what it refuses."""

from __future__ import annotations

import builtins
import collections
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from portrayal.errors import InputError, MissingFileError
from portrayal.weights.convert.nvidia_pickle import read_networks, stored_module
from tests.weights.nvidia_files import EasyDict, Persisted, fill, networks, write

STATE = {
    "b4.conv.weight": torch.arange(6.0).reshape(2, 3),
    "b4.conv.resample_filter": torch.ones(4, 4).half(),
    "net.0.weight": torch.arange(6.0).reshape(3, 2).T,
    "w_avg": torch.tensor(3),
}

DEEP_KEY = b"\x80\x02}N" + b"\x85" * 1_000_000 + b"Ns."
"""A dictionary whose key is a tuple in a tuple in a tuple...: to hash it would crash Python."""


class Called:
    """Is stored as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What is there only if something was executed."""
    return tmp_path / "mark"


@pytest.fixture
def network() -> Persisted:
    made = Persisted("Generator", z_dim=4, mapping_kwargs=EasyDict(num_layers=2))
    made.add_module("net", nn.Sequential())
    made.register_parameter("bias", None)
    made.hooks = collections.OrderedDict(a=1)
    fill(made, STATE)
    return made


def refusal(path: Path) -> str:
    """What the reader says of a file whose generator is bad."""
    with pytest.raises(InputError) as caught:
        stored(path)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600
    return str(caught.value)


def stored(path: Path) -> dict[str, torch.Tensor]:
    try:
        return stored_module(read_networks(path)["G_ema"], name="G_ema").state_dict()
    except ValueError as error:
        raise InputError(str(error)) from error


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_it_gives_tensors_and_settings(tmp_path: Path, network: Persisted, protocol: int) -> None:
    found = read_networks(write(tmp_path / "a.pkl", networks(network), protocol=protocol))
    assert found["training_set_kwargs"] == {"class_name": "training.dataset.ImageFolderDataset", "xflip": True}
    module = stored_module(found["G_ema"], name="G_ema")
    assert module.class_name == "Generator"
    assert module.settings == {"z_dim": 4, "mapping_kwargs": {"num_layers": 2}}
    assert module.attributes["hooks"] == {"a": 1}
    assert module.child("net").class_name == "Sequential"
    state = module.state_dict()
    assert set(state) == set(STATE)
    for name, value in STATE.items():
        assert state[name].dtype == value.dtype
        assert torch.equal(state[name], value)


def test_the_source_is_not_executed(tmp_path: Path, mark: Path) -> None:
    path = write(tmp_path / "a.pkl", networks(Persisted("Generator", source=f"import os; os.mkdir({str(mark)!r})")))
    assert stored(path) == {}
    assert not mark.exists()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("function", "argument", "name"),
    [
        (os.system, "mkdir {mark}", "posix.system"),
        (os.mkdir, "{mark}", "posix.mkdir"),
        (builtins.eval, "__import__('os').mkdir('{mark}')", "(builtins|__builtin__).eval"),
        (builtins.getattr, "{mark}", "(builtins|__builtin__).getattr"),
        (torch.load, "{mark}", "torch.serialization.load"),
    ],
)
def test_calls_of_other_code_are_refused(
    tmp_path: Path, mark: Path, function: Callable[..., Any], argument: str, name: str, protocol: int
) -> None:
    call = Called(function, argument.format(mark=mark))
    path = write(tmp_path / "bad.pkl", {"G_ema": call}, protocol=protocol)
    with pytest.raises(InputError, match=rf"bad\.pkl cannot be read .*: it names '{name}', which no network"):
        read_networks(path)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"cposix\nsystem\n(S'mkdir {mark}'\ntR.", b"(S'mkdir {mark}'\niposix\nsystem\n."])
def test_old_ways_to_call_are_refused(tmp_path: Path, mark: Path, content: bytes) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(content.replace(b"{mark}", str(mark).encode()))
    assert "it names 'posix.system'" in refusal(path)
    assert not mark.exists()


@pytest.mark.parametrize("deep", [False, True])
def test_a_pickle_in_the_place_of_numbers_is_not_executed(
    tmp_path: Path, mark: Path, network: Persisted, deep: bool
) -> None:
    hostile = DEEP_KEY if deep else pickle.dumps(Called(os.mkdir, str(mark)), 2)
    storage = Called(torch.storage._load_from_bytes, hostile)
    tensor = Called(torch._utils._rebuild_tensor_v2, storage, 0, (1,), (1,), False, None)
    network.b4.conv.other = tensor  # an attribute that is no buffer is never looked at
    assert set(stored(write(tmp_path / "a.pkl", networks(network)))) == set(STATE)
    network.b4.conv._buffers["late"] = tensor
    assert refusal(write(tmp_path / "a.pkl", networks(network))) == "the numbers of one of its tensors are damaged"
    assert not mark.exists()


@pytest.mark.parametrize("size", [(1000,), (7, 1), (-1,), "ab", (10**30, 0)])
def test_tensors_beyond_their_numbers_are_refused(tmp_path: Path, network: Persisted, size: Any) -> None:
    storage = torch.ones(6).storage()
    network._buffers["late"] = Called(torch._utils._rebuild_tensor_v2, storage, 0, size, (0,) * len(size), False, None)
    path = write(tmp_path / "a.pkl", networks(network))
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        stored_module(read_networks(path)["G_ema"], name="G_ema").state_dict()


def test_damaged_files_are_refused(tmp_path: Path, network: Persisted) -> None:
    whole = write(tmp_path / "whole.pkl", networks(network)).read_bytes()
    bad = tmp_path / "bad.pkl"
    for length in range(0, len(whole), 97):
        bad.write_bytes(whole[:length])
        assert f"{bad} cannot be read as a file of NVIDIA's networks: " in refusal(bad)
    for text in ("", "these are not weights\n", "<!DOCTYPE html>", "."):
        bad.write_text(text)
        assert f"{bad} cannot be read as a file of NVIDIA's networks: " in refusal(bad)
    write(bad, [1, 2])
    assert refusal(bad).endswith("it holds no dictionary")
    with pytest.raises(MissingFileError, match=r"nowhere\.pkl does not exist"):
        read_networks(tmp_path / "nowhere.pkl")


@pytest.mark.parametrize(
    "content",
    [
        DEEP_KEY,
        b"\x80\x04" + b"]" * 1_000_000 + b"a" * 999_999 + b".",  # lists in lists
        b"\x80\x04}r\xff\xff\xff\x7f.",  # a number of an object that would take gigabytes
    ],
)
def test_files_that_would_exhaust_python_are_refused(tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.pkl"
    bad.write_bytes(content)
    assert "cannot be read as a file of NVIDIA's networks" in refusal(bad)


def test_layers_without_end_are_refused(tmp_path: Path) -> None:
    circle = Persisted("Generator")
    circle.layers = nn.Sequential()
    circle.layers._modules["again"] = circle.layers
    assert refusal(write(tmp_path / "a.pkl", networks(circle))) == "it uses one module or storage twice"
    deep = last = Persisted("Generator")
    for _ in range(50):
        last.add_module("next", Persisted("Layer"))
        last = last.next
    assert "nested deeper than 32" in refusal(write(tmp_path / "a.pkl", networks(deep)))
    assert "no network or layer 'G_ema'" in refusal(write(tmp_path / "a.pkl", {"G_ema": {"w": 1}}))


def test_a_file_cannot_change_the_reader(tmp_path: Path, network: Persisted) -> None:
    """A pickle may set attributes of what a name gave it; that must not outlive the file."""
    names = (b"torch_utils.persistence\n_reconstruct_persistent_obj", b"collections\nOrderedDict", b"training.a\nB")
    for name in names:
        bad = tmp_path / "bad.pkl"
        bad.write_bytes(b"\x80\x02}X\x05\x00\x00\x00G_emac" + name + b"\nN}X\x05\x00\x00\x00stateNs\x86bs.")
        refusal(bad)
    assert set(stored(write(tmp_path / "a.pkl", networks(network)))) == set(STATE)
