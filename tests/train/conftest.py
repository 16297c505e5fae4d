import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from portrayal.train.loop import RunOptions


@pytest.fixture
def options(tmp_path):
    """Options of a quick run on the CPU: a function of the run folder's name."""

    def make(name: str = "run", **changes) -> RunOptions:
        quick = {"device": "cpu", "precision": "32-true", "workers": 0, "log_every_steps": 1, "save_every_steps": 5}
        return RunOptions(data=tmp_path, out=tmp_path / name, **(quick | changes))

    return make


def metrics(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def plain_convolutions() -> Iterator[None]:
    """Without oneDNN: on some processors (AMD Zen 4) its float32 convolutions write beyond their memory.

    That happens in the tiny tracker's backward pass and ends the whole run; these tests are about the loop.
    """
    with torch.backends.mkldnn.flags(enabled=False):
        yield
