"""Weights files of feature networks: found, read without executing anything, checked."""

import hashlib
import pickle

import numpy as np
import pytest
import torch

from portrayal.errors import InputError, MissingFileError
from portrayal.nn.hopenet import Hopenet
from portrayal.nn.imagenet import squeezenet_features
from portrayal.nn.lpips import Lpips
from portrayal.nn.mobilefacenet import MobileFaceNet
from portrayal.nn.pretrained import (
    load_arcface,
    load_fan,
    load_hopenet,
    load_i3d,
    load_inception,
    load_lpips,
    load_mobilefacenet,
    load_vgg16,
    load_vgg19,
    read_checkpoint,
)
from portrayal.weights import registry
from portrayal.weights.remote import RemoteWeights


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PORTRAYAL_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (load_vgg16, "vgg16"),
        (load_vgg19, "vgg19"),
        (lambda: load_lpips("vgg"), "vgg16"),
        (load_inception, "fid-inception"),
        (load_arcface, "arcface-irse50"),
        (load_fan, "fan-2dfan4"),
        (load_i3d, "i3d-kinetics400"),
    ],
)
def test_missing_weights_name_the_command(folder, load, name):
    with pytest.raises(InputError, match=f"is missing; run: portrayal weights get {name}$"):
        load()


def put(folder, monkeypatch, name, values):
    """A weights file under the name of a registry entry."""
    path = folder / f"{name}.pth"
    torch.save(values, path)
    entry = RemoteWeights(
        url=f"https://example.org/{name}.pth",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        size_bytes=path.stat().st_size,
        licence="none",
        what="a test",
    )
    monkeypatch.setitem(registry.REMOTE, name, entry)


def test_lpips_comes_from_the_two_official_files(folder, monkeypatch):
    classifier = {f"features.{name}": value for name, value in squeezenet_features().state_dict().items()}
    classifier["classifier.1.weight"] = torch.zeros(1000, 512, 1, 1)
    heads = {name: value.abs() for name, value in Lpips("squeeze").state_dict().items() if name.startswith("lin")}
    put(folder, monkeypatch, "squeezenet", classifier)
    put(folder, monkeypatch, "lpips-squeeze", heads)
    net = load_lpips("squeeze")
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    torch.testing.assert_close(net.state_dict()["features.0.weight"], classifier["features.0.weight"])
    torch.testing.assert_close(net.state_dict()["lin3.model.1.weight"], heads["lin3.model.1.weight"])
    del heads["lin3.model.1.weight"]
    put(folder, monkeypatch, "lpips-squeeze", heads)
    with pytest.raises(InputError, match=r"squeezenet and lpips-squeeze: the weights do not fit Lpips: .*lin3"):
        load_lpips("squeeze")


def test_weights_that_are_given(tmp_path):
    net = MobileFaceNet()
    values = {name: value for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    np.savez(tmp_path / "face.npz", **{name: value.numpy().astype(np.float16) for name, value in values.items()})
    loaded = load_mobilefacenet(tmp_path / "face.npz")
    weight = loaded.state_dict()["conv1.conv.weight"]
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, values["conv1.conv.weight"], atol=1e-3, rtol=1e-3)
    with torch.device("meta"):
        names = Hopenet().state_dict()
    torch.save({name: torch.zeros(value.shape) for name, value in names.items()}, tmp_path / "hopenet.pkl")
    assert load_hopenet(tmp_path / "hopenet.pkl").fc_yaw.weight.abs().max() == 0
    with pytest.raises(InputError, match="do not fit MobileFaceNet"):
        load_mobilefacenet(tmp_path / "hopenet.pkl")
    with pytest.raises(MissingFileError, match=r"other\.pkl does not exist"):
        load_hopenet(tmp_path / "other.pkl")


def test_files_that_would_run_code_are_not_opened(folder, tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return (exec, ("raise SystemExit('ran')",))

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match=r"evil\.pth cannot be read as weights"):
        read_checkpoint(path)
    torch.save({"a": [1, 2]}, tmp_path / "odd.pth")
    with pytest.raises(InputError, match="not a plain file of named tensors"):
        read_checkpoint(tmp_path / "odd.pth")
    entry = registry.REMOTE["i3d-kinetics400"]
    with (folder / "i3d-kinetics400.pt").open("wb") as file:
        file.truncate(entry.size_bytes)  # as long as the right one
    with pytest.raises(InputError, match="is not the known file; run: portrayal weights get i3d-kinetics400"):
        load_i3d()


def test_official_lpips_heads_fit():
    torchmetrics = pytest.importorskip("torchmetrics.functional.image.lpips")
    from pathlib import Path

    folder = Path(torchmetrics.__file__).parent / "lpips_models"  # the official files, which torchmetrics carries
    for net in ("alex", "vgg", "squeeze"):
        heads = read_checkpoint(folder / f"{net}.pth")
        with torch.device("meta"):
            own = Lpips(net).state_dict()
        assert {n: tuple(v.shape) for n, v in own.items() if n.startswith("lin")} == {
            n: tuple(v.shape) for n, v in heads.items()
        }
        assert (
            hashlib.sha256((folder / f"{net}.pth").read_bytes()).hexdigest() == registry.REMOTE[f"lpips-{net}"].sha256
        )
