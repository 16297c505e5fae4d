"""Interrupted runs: exact resume, kills at any moment, damaged and unwritable checkpoints."""

import dataclasses
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from portrayal.errors import InputError, PortrayalError
from portrayal.train import checkpoint
from portrayal.train.checkpoint import checkpoints, latest_checkpoint, load_newest, save_checkpoint
from portrayal.train.loop import train
from tests.train.conftest import metrics
from tests.train.toy import STAGE, Config

NOISY = Config(noise=0.3)
CPU = torch.device("cpu")


class Stop(Exception):
    pass


def stop_at(step):
    """The toy stage, interrupted in the middle of a step."""

    def train_step(state, batch, config):
        if state.step == step:
            raise Stop
        return STAGE.train_step(state, batch, config)

    return dataclasses.replace(STAGE, train_step=train_step)


def same(a: Path, b: Path) -> bool:
    x, y = load_file(a), load_file(b)
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def terms(run):
    return [{k: line[k] for k in ("step", "l1", "adversarial", "discriminator")} for line in metrics(run)]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_twenty_steps_equal_ten_and_ten_more(options, accumulate):
    """Bit for bit, with random numbers of torch, numpy and Python in every step; previews change nothing."""
    whole = train(STAGE, NOISY, options("whole", accumulate=accumulate, preview_every_steps=7))
    with pytest.raises(Stop):
        train(stop_at(13), NOISY, options("parts", accumulate=accumulate, save_every_steps=10))
    assert latest_checkpoint(options("parts").out).name == "checkpoint-00000010"
    parts = train(STAGE, NOISY, options("parts", accumulate=accumulate, save_every_steps=10))
    assert same(whole, parts)
    assert terms(whole.parent) == terms(parts.parent)
    assert not same(whole, train(STAGE, NOISY, options("other", seed=1)))


def test_metrics_have_every_step_once(options):
    """Lines from after the checkpoint, and one that a kill cut off, do not stay."""
    with pytest.raises(Stop):
        train(stop_at(8), NOISY, options())
    with (options().out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "l1"')
    train(STAGE, NOISY, options())
    assert [line["step"] for line in metrics(options().out)] == list(range(1, 21))


SCRIPT = """
import sys, time
from pathlib import Path
from portrayal.train.loop import RunOptions, train
from tests.train.toy import STAGE, Config
run = RunOptions(data=Path("."), out=Path(sys.argv[1]), device="cpu", precision="32-true", workers=0,
                 log_every_steps=1, save_every_steps=1)
print("started", flush=True)
train(STAGE, Config(steps=int(sys.argv[2]), noise=0.3), run)
"""


@pytest.mark.slow
def test_kill_at_any_moment_leaves_a_usable_run(options, tmp_path):
    """SIGKILL again and again while checkpoints are written without a pause; the result is as if nothing happened."""
    steps, run = 120, options("killed").out
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(run), str(steps)]
    reached = []
    for kill in range(3):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            before = latest_checkpoint(run)
            deadline = time.monotonic() + 120
            while latest_checkpoint(run) == before and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.013 * kill)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        state = load_newest(run, CPU)
        assert state is not None
        reached.append(state["step"])
    assert reached == sorted(reached)
    assert 0 < reached[0] < steps
    config = dataclasses.replace(NOISY, steps=steps)
    killed = train(STAGE, config, options("killed", save_every_steps=50))
    assert same(killed, train(STAGE, config, options("whole", save_every_steps=50)))


def test_unfinished_checkpoint_folders_are_removed(options):
    out = options().out
    with pytest.raises(Stop):
        train(stop_at(7), NOISY, options())
    (out / "checkpoint-00000006.partial").mkdir()
    (out / "checkpoint-00000006.partial" / "state.pt").write_bytes(b"half of it")
    (out / "checkpoint-00000007").mkdir()  # a folder without its file is none
    train(STAGE, NOISY, options())
    assert not list(out.glob("*.partial"))
    assert same(out / "weights.safetensors", train(STAGE, NOISY, options("whole")))


def test_a_damaged_checkpoint_is_passed_over(options, capsys):
    with pytest.raises(Stop):
        train(stop_at(12), NOISY, options())
    damaged = latest_checkpoint(options().out) / "state.pt"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    train(STAGE, NOISY, options())
    assert "checkpoint-00000010: this checkpoint is damaged" in capsys.readouterr().err
    assert same(options().out / "weights.safetensors", train(STAGE, NOISY, options("whole")))


def test_no_checkpoint_can_be_read(tmp_path):
    (tmp_path / "checkpoint-00000003").mkdir()
    (tmp_path / "checkpoint-00000003" / "state.pt").write_bytes(b"")
    with pytest.raises(PortrayalError, match="none of its checkpoints can be read"):
        load_newest(tmp_path, CPU)


def test_a_full_disk_is_reported_and_training_goes_on(options, monkeypatch, capsys):
    real, failing = torch.save, [10, 15]

    def save(state, path):
        if state["step"] in failing:
            Path(path).write_bytes(b"a part of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(state, path)

    monkeypatch.setattr(checkpoint.torch, "save", save)
    with pytest.raises(Stop):
        train(stop_at(17), NOISY, options())
    complaints = [line for line in capsys.readouterr().err.splitlines() if "no checkpoint" in line]
    assert len(complaints) == 2
    assert "no checkpoint at step 10, training goes on" in complaints[0]
    assert "the disk is full" in complaints[0]
    assert [p.name for p in checkpoints(options().out)] == ["checkpoint-00000005"]
    assert not list(options().out.glob("*.partial"))
    failing.clear()
    train(STAGE, NOISY, options())
    assert same(options().out / "weights.safetensors", train(STAGE, NOISY, options("whole")))


def test_a_file_that_cannot_grow(tmp_path, capsys):
    """The kernel refuses the bytes, as on a full disk; torch's own error is understood too."""
    save_checkpoint(tmp_path, 1, {"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        assert save_checkpoint(tmp_path, 2, {"weights": torch.zeros(100_000)}) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "no checkpoint at step 2" in capsys.readouterr().err
    assert load_newest(tmp_path, CPU) == {"step": 1}


@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_and_the_best_stay(options, keep):
    """Validation numbers 5, 1, 4, 3, 2 ...: the second checkpoint is the best."""
    numbers = iter([5.0, 1.0, 4.0, 3.0, 2.0])

    def validate(state, config, data):
        torch.randn(5)  # must not change the training
        return {"loss": next(numbers), "psnr": 20.0}

    stage = dataclasses.replace(STAGE, validate=validate)
    weights = train(stage, NOISY, options(save_every_steps=4, keep=keep))
    out = options().out
    expected = {8} | set(range(20, 20 - 4 * keep, -4))
    assert [p.name for p in checkpoints(out)] == [f"checkpoint-{step:08d}" for step in sorted(expected)]
    assert json.loads((out / "best.json").read_text()) == {"step": 8, "criterion": "loss", "value": 1.0}
    best = torch.load(out / "checkpoint-00000008" / "state.pt", weights_only=True)
    stored = load_file(out / "best.safetensors")
    assert all(torch.equal(stored[k], best["averaged"][k]) for k in stored)
    measured = [line for line in metrics(out) if "validation/loss" in line]
    assert [line["step"] for line in measured] == [4, 8, 12, 16, 20]
    assert same(weights, train(STAGE, NOISY, options("unmeasured")))


def test_changed_configuration_names_file_and_field(options):
    train(STAGE, Config(steps=5), options())
    changed = dataclasses.replace(Config(steps=5), loss=dataclasses.replace(Config().loss, l1=2.0))
    with pytest.raises(InputError, match=r"config.json has loss.l1 = 1.0 \(here 2.0\)"):
        train(STAGE, changed, options())
    with pytest.raises(InputError, match=r"run.json has seed = 0 \(here 3\)"):
        train(STAGE, Config(steps=5), options(seed=3))


def test_a_run_folder_belongs_to_one_stage(options):
    train(STAGE, Config(steps=5), options(), name="toy main")
    with pytest.raises(InputError, match=r'run.json has stage = "toy main" \(here "toy vae"\)'):
        train(STAGE, Config(steps=5), options(), name="toy vae")
    other = dataclasses.replace(
        STAGE, networks=lambda config: {"generator": torch.nn.Linear(2, 2)}, optimizers=lambda m, c: {}
    )
    with pytest.raises(InputError, match="checkpoint is of another stage"):
        train(other, Config(steps=5), options(), name="toy main")
