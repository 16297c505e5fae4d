"""The training loop on the tracker's tiny preset: resume, files, complaints."""

import dataclasses
import json

import pytest
import torch
from safetensors import safe_open

from portrayal.errors import InputError, MissingFileError
from portrayal.face.config import Config
from portrayal.face.train import STAGES
from portrayal.train.checkpoint import latest_checkpoint
from portrayal.train.loop import RunOptions, train
from tests.data.made_faces import make_folder

TINY = dataclasses.replace(Config.tiny(), steps=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data") / "faces")


def options(data, out, **changes) -> RunOptions:
    quick = {"device": "cpu", "precision": "32-true", "workers": 0, "log_every_steps": 1}
    return RunOptions(data=data, out=out, **(quick | changes))


def test_four_steps_equal_two_and_two_more(data, tmp_path):
    """Bit for bit: weights, optimizers and data go on where they stopped."""
    whole = train(STAGES["tracker"], TINY, options(data, tmp_path / "whole", save_every_steps=2))

    class Stop(Exception):
        pass

    def stop_after_two(state, batch, config):
        if state.step == 2:
            raise Stop
        return STAGES["tracker"].train_step(state, batch, config)

    broken = dataclasses.replace(STAGES["tracker"], train_step=stop_after_two)
    with pytest.raises(Stop):
        train(broken, TINY, options(data, tmp_path / "parts", save_every_steps=2))
    assert latest_checkpoint(tmp_path / "parts").name == "checkpoint-00000002"
    parts = train(STAGES["tracker"], TINY, options(data, tmp_path / "parts", save_every_steps=2))
    with safe_open(whole, "pt") as a, safe_open(parts, "pt") as b:
        assert sorted(a.keys()) == sorted(b.keys())
        assert all(torch.equal(a.get_tensor(k), b.get_tensor(k)) for k in a.keys())  # noqa: SIM118
        assert json.loads(a.metadata()["config"])["crop_size"] == TINY.crop_size
        assert a.metadata()["licence"] == "Apache-2.0"


def test_run_folder(data, tmp_path):
    train(STAGES["tracker"], TINY, options(data, tmp_path, preview_every_steps=2))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    terms = {"landmarks", "gaps", "openness", "confidence", "heat", "box"}
    about = {"samples_per_second", "loader_wait", "learning_rate/both", "skipped"}
    assert lines[0].keys() == {"step"} | terms | about
    assert (tmp_path / "preview-000002.png").stat().st_size > 1000


def test_training_improves(data, tmp_path):
    config = dataclasses.replace(TINY, steps=60, batch=8, learning_rate=3e-3)
    train(STAGES["tracker"], config, options(data, tmp_path))
    losses = [json.loads(line)["landmarks"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_starts_from_a_weights_file(data, tmp_path):
    first = train(STAGES["tracker"], TINY, options(data, tmp_path / "a"))
    frozen = dataclasses.replace(TINY, steps=1, learning_rate=0.0, ema=0.0)
    second = train(STAGES["tracker"], frozen, options(data, tmp_path / "b", init=first))
    with safe_open(first, "pt") as a, safe_open(second, "pt") as b:
        name = "landmarks.regress.weight"
        torch.testing.assert_close(a.get_tensor(name), b.get_tensor(name))


def test_another_configuration_does_not_resume(data, tmp_path):
    train(STAGES["tracker"], TINY, options(data, tmp_path))
    with pytest.raises(InputError, match="learning_rate"):
        train(STAGES["tracker"], dataclasses.replace(TINY, learning_rate=1.0), options(data, tmp_path))


def test_a_loss_that_is_not_finite_is_named(data, tmp_path):
    def explode(state, batch, config):
        return {"landmarks": torch.tensor(1.0), "gaps": torch.tensor(float("nan"))}

    with pytest.raises(InputError, match="gaps is not finite at step 1"):
        train(dataclasses.replace(STAGES["tracker"], train_step=explode), TINY, options(data, tmp_path))


def test_missing_data(tmp_path):
    with pytest.raises(MissingFileError, match="--data"):
        train(STAGES["tracker"], TINY, options(tmp_path / "nowhere", tmp_path / "run"))
