"""Several processes (gloo on the CPU) learn what one process learns from the same batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from portrayal.train import state
from portrayal.train.checkpoint import latest_checkpoint
from portrayal.train.loop import train
from portrayal.train.state import average_gradients
from tests.train.conftest import metrics
from tests.train.toy import STAGE, Config


def run(out, *, devices: int, accumulate: int = 1, steps: int, launcher=()) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT")}
    root = Path(__file__).parents[2]
    environment |= {"PYTHONPATH": os.pathsep.join([str(root), *sys.path]), "OMP_NUM_THREADS": "1"}
    script = root / "tests/train/two_processes.py"
    command = [sys.executable, *launcher, str(script), str(out), str(devices), str(accumulate), str(steps)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def same_run(one, two) -> None:
    """Losses and weights agree to rounding: the mean of two means is not the mean in float32's last digits."""
    for a, b in zip(metrics(one), metrics(two), strict=True):
        for term in ("step", "l1", "adversarial", "discriminator"):
            assert a[term] == pytest.approx(b[term], rel=1e-4, abs=1e-6)
    a, b = load_file(one / "weights.safetensors"), load_file(two / "weights.safetensors")
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(options):
    """The engine starts the second process, with random numbers of its own."""
    one = train(STAGE, Config(steps=6), options("one")).parent
    run(options("two").out, devices=2, steps=6)
    same_run(one, options("two").out)
    stored = torch.load(latest_checkpoint(options("two").out) / "state.pt", weights_only=True)
    first, second = (rank["torch"] for rank in stored["random"])
    assert not torch.equal(first, second), "processes must not draw the same noise"


@pytest.mark.slow
def test_torchrun_with_parts_of_a_batch(options):
    one = train(STAGE, Config(steps=4), options("one", accumulate=2)).parent
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    run(options("two").out, devices=2, accumulate=2, steps=4, launcher=torchrun)
    same_run(one, options("two").out)


def test_gradients_are_averaged(monkeypatch):
    """One exchange; a parameter without a gradient anywhere keeps none, one that has it elsewhere gets its share."""
    parameters = [
        torch.nn.Parameter(torch.zeros(2, 3)),
        torch.nn.Parameter(torch.zeros(4)),
        torch.nn.Parameter(torch.zeros(1)),
    ]
    parameters[0].grad = torch.full((2, 3), 2.0)
    other = torch.cat([torch.full((6,), 4.0), torch.full((4,), 6.0), torch.zeros(1), torch.tensor([1.0, 1.0, 0.0])])
    monkeypatch.setattr(state.dist, "all_reduce", lambda flat: flat.add_(other))
    average_gradients(parameters, 2)
    torch.testing.assert_close(parameters[0].grad, torch.full((2, 3), 3.0))
    torch.testing.assert_close(parameters[1].grad, torch.full((4,), 3.0))
    assert parameters[2].grad is None
