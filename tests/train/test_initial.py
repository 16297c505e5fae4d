"""Starting from a weights file that does not fit names the file and what is wrong with it."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file

from portrayal.errors import InputError, MissingFileError
from portrayal.train.loop import train
from tests.train.toy import STAGE, Config


@pytest.fixture
def weights(options):
    return train(STAGE, Config(steps=3), options("first"))


def test_training_starts_from_it(options, weights):
    frozen = Config(steps=1, learning_rate=0.0, ema=0.0)
    again = train(STAGE, frozen, options("second", init=weights))
    first, second = load_file(weights), load_file(again)
    for name in first:
        torch.testing.assert_close(first[name], second[name])


def test_of_another_preset(options, weights):
    tensor, field = r"its tensor generator.0.weight is \(8, 4\), not \(16, 4\)", r"width = 8 \(here 16\)"
    with pytest.raises(InputError, match=f"weights.safetensors does not fit .*{tensor}.*{field}"):
        train(STAGE, Config(width=16), options("second", init=weights))


def test_of_another_system(options, tmp_path):
    save_file({"stem.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"other.safetensors does not fit .*it has no tensor generator.0.weight"):
        train(STAGE, Config(), options(init=tmp_path / "other.safetensors"))


def test_with_more_tensors(options, weights, tmp_path):
    save_file(load_file(weights) | {"late.bias": torch.zeros(1)}, tmp_path / "more.safetensors")
    with pytest.raises(InputError, match=r"its tensor late.bias is not known here"):
        train(STAGE, Config(), options(init=tmp_path / "more.safetensors"))


def test_no_weights_file(options, tmp_path):
    (tmp_path / "notes.txt").write_text("these are not weights")
    with pytest.raises(InputError, match=r"notes.txt is not a weights file"):
        train(STAGE, Config(), options(init=tmp_path / "notes.txt"))
    with pytest.raises(MissingFileError, match=r"nowhere.safetensors does not exist"):
        train(STAGE, Config(), options(init=tmp_path / "nowhere.safetensors"))


def test_frozen_networks_are_used_and_not_kept(options):
    """`state.frozen` is in eval mode, does not learn and is in no checkpoint."""
    seen = []

    def train_step(state, batch, config):
        features = state.frozen["features"]
        seen.append((features.training, any(p.requires_grad for p in features.parameters())))
        return STAGE.train_step(state, batch, config)

    stage = dataclasses.replace(
        STAGE, train_step=train_step, frozen=lambda config: {"features": torch.nn.Sequential(torch.nn.BatchNorm1d(3))}
    )
    train(stage, Config(steps=2), options())
    assert seen == [(False, False)] * 2
    stored = torch.load(options().out / "checkpoint-00000002" / "state.pt", weights_only=True)
    assert not any("features" in name for name in (*stored["networks"], *stored["averaged"]))
