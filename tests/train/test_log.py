"""What a run folder shows: previews of fixed samples, TensorBoard events, a profile; and disks that are full."""

import dataclasses
import errno
import json
import sys
from pathlib import Path

import pytest
import torch

from portrayal.media.image import read_image
from portrayal.train import log
from portrayal.train.log import Meter
from portrayal.train.loop import train
from tests.train.conftest import metrics
from tests.train.toy import STAGE, Config


def test_previews_show_fixed_samples(options):
    fixed = dataclasses.replace(STAGE, preview_batch=lambda root, config: {"index": torch.tensor([77])})
    train(fixed, Config(steps=6), options(preview_every_steps=2))
    train(STAGE, Config(steps=6), options("changing", preview_every_steps=2))
    pictures = [read_image(options().out / f"preview-{step:06d}.png") for step in (2, 4, 6)]
    assert all((picture == 77).all() for picture in pictures)
    shown = [read_image(options("changing").out / f"preview-{step:06d}.png")[0, 0, 0] for step in (2, 4, 6)]
    assert shown == [8, 24, 40], "without fixed samples: those of the step"


def test_tensorboard_events(options):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard")
    train(STAGE, Config(steps=4), options(preview_every_steps=4))
    events = accumulator.EventAccumulator(str(options().out))
    events.Reload()
    assert [e.step for e in events.Scalars("l1")] == [1, 2, 3, 4]
    assert events.Scalars("l1")[2].value == pytest.approx(metrics(options().out)[2]["l1"])
    assert [e.step for e in events.Images("preview")] == [4]


def test_without_tensorboard(options, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    train(STAGE, Config(steps=2), options())
    assert capsys.readouterr().err.count("tensorboard is not installed") == 1
    assert len(metrics(options().out)) == 2


def test_metrics_on_a_full_disk(options, monkeypatch, capsys):
    """Said once; the training goes on and its weights are there."""
    real = Path.open

    def full(self, mode="r", *rest, **named):
        if self.name == "metrics.jsonl" and mode == "a":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, mode, *rest, **named)

    monkeypatch.setattr(log.Path, "open", full)
    weights = train(STAGE, Config(steps=3), options())
    assert weights.is_file()
    assert capsys.readouterr().err.count("metrics cannot be written") == 1


def test_speed_is_measured(options):
    train(STAGE, Config(steps=4), options())
    for line in metrics(options().out):
        assert line["samples_per_second"] > 0
        assert 0 <= line["loader_wait"] <= 1


def test_the_last_step_is_logged(options):
    """Whatever was left out or measured since the last line is not lost."""
    train(STAGE, Config(steps=5), options(log_every_steps=3))
    assert [line["step"] for line in metrics(options().out)] == [3, 5]


def test_profile(options):
    train(STAGE, Config(steps=9), options(profile=2))
    assert "aten::addmm" in (options().out / "profile.txt").read_text()
    trace = json.loads((options().out / "profile-trace.json").read_text())
    assert trace["traceEvents"]


def test_a_term_is_averaged_over_the_steps_that_had_it():
    """A regularisation that is due every few steps is logged at its own size."""
    meter = Meter()
    for step in range(4):
        lazy = {"lazy": torch.tensor(3.0 + step)} if step % 2 == 0 else {}
        meter.add({"always": torch.tensor(float(step))} | lazy)
    assert meter.pop(1) == {"always": 1.5, "lazy": 4.0}
    meter.add({"always": torch.tensor(7.0)})
    assert meter.pop(1) == {"always": 7.0}
