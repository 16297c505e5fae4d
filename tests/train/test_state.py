"""Gradients: parts of a batch, one network of several, clipping, half precision, averages."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from portrayal.errors import InputError
from portrayal.train.loop import train
from portrayal.train.process import start
from portrayal.train.state import Gradients, NotFiniteError, TrainState
from tests.train.toy import STAGE, Config


@pytest.fixture
def state(options):
    torch.manual_seed(0)
    return start(STAGE, Config(), options(), torch.device("cpu"))


def sgd(*, parts: int = 1) -> TrainState:
    """One linear network without bias under plain gradient descent."""
    network = nn.ModuleDict({"line": nn.Linear(3, 1, bias=False)})
    nn.init.zeros_(network["line"].weight)
    optimizers = {"line": torch.optim.SGD(network.parameters(), lr=1.0)}
    return TrainState(network, nn.ModuleDict(), optimizers, gradients=Gradients(parts=parts))


def test_parts_of_a_batch_give_the_gradient_of_the_whole():
    x, y = torch.randn(8, 3), torch.randn(8, 1)
    whole, cut = sgd(), sgd(parts=4)
    whole.backward((whole.networks["line"](x) - y).square().mean())
    norm = whole.step_optimizer("line")
    for part in range(4):
        cut.gradients.part = part
        some = slice(2 * part, 2 * part + 2)
        cut.backward((cut.networks["line"](x[some]) - y[some]).square().mean())
        last = cut.step_optimizer("line")
        assert (last is None) == (part < 3)
    torch.testing.assert_close(last, norm)
    torch.testing.assert_close(cut.networks["line"].weight, whole.networks["line"].weight)
    torch.testing.assert_close(whole.networks["line"].weight, (2 / 8) * (y.T @ x))
    assert cut.networks["line"].weight.grad is None


def test_clipping():
    state = sgd()
    state.backward(state.networks["line"](torch.tensor([[3.0, 0.0, 4.0]])).sum())
    assert state.step_optimizer("line", clip=1.0) == pytest.approx(5.0)
    torch.testing.assert_close(state.networks["line"].weight, torch.tensor([[-0.6, 0.0, -0.8]]), rtol=1e-5, atol=1e-6)


def test_only_one_network_learns(state):
    generator, discriminator = state.networks["generator"], state.networks["discriminator"]
    with state.only("generator"):
        state.backward(discriminator(generator(torch.randn(2, 4))).mean())
    assert all(p.grad is not None for p in generator.parameters())
    assert all(p.grad is None for p in discriminator.parameters())
    assert all(p.requires_grad for p in state.networks.parameters())


def test_what_was_frozen_stays_frozen(state):
    state.networks["generator"][0].requires_grad_(False)
    with state.only("generator"):
        assert not state.networks["generator"][0].weight.requires_grad
        assert state.networks["generator"][2].weight.requires_grad
    assert not state.networks["generator"][0].weight.requires_grad


def test_numbers_that_are_not_finite_teach_nothing(state):
    before = [p.clone() for p in state.networks.parameters()]
    with pytest.raises(NotFiniteError):
        state.backward(torch.tensor(float("nan")))
    parameter = state.networks["generator"][2].bias
    parameter.grad = torch.full_like(parameter, float("inf"))
    with pytest.raises(NotFiniteError, match=r"the gradient of generator\.2\.bias"):
        state.step_optimizer("generator")
    assert all(torch.equal(a, b) for a, b in zip(before, state.networks.parameters(), strict=True))


def test_average(state):
    """theta' <- d theta' + (1 - d) theta with d = min(ema, (1 + step) / (10 + step))."""
    with torch.no_grad():
        for parameter in state.networks.parameters():
            parameter.add_(1.0)
    old = [p.clone() for p in state.averaged.parameters()]
    state.average(0.999)
    for average, value, kept in zip(state.averaged.parameters(), state.networks.parameters(), old, strict=True):
        torch.testing.assert_close(average, 0.1 * kept + 0.9 * value)
        assert not average.requires_grad


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precision_learns(options, precision):
    """Losses follow those of float32 to the precision's rounding, and the scale is part of the checkpoint."""
    config = Config(steps=40)
    exact = load_file(train(STAGE, config, options("exact")))
    half = load_file(train(STAGE, config, options("half", precision=precision)))
    for name in exact:
        assert (half[name] - exact[name]).abs().max() < 0.2
    stored = torch.load(options("half").out / "checkpoint-00000040" / "state.pt", weights_only=True)
    assert bool(stored["scaler"]) == (precision == "16-mixed")
    assert all(value.dtype == torch.float32 for value in stored["networks"].values())


def test_overflow_in_half_precision_lowers_the_scale(options):
    """A gradient that overflows leaves the step out; training goes on."""
    stage = dataclasses.replace(
        STAGE, optimizers=lambda m, c: {"all": torch.optim.SGD(m.parameters(), lr=1e-9)}, train_step=steep_step
    )
    train(stage, Config(steps=4), options(precision="16-mixed"))
    stored = torch.load(options().out / "checkpoint-00000004" / "state.pt", weights_only=True)
    assert stored["scaler"]["scale"] < 2.0**16


def steep_step(state, batch, config):
    loss = state.networks["generator"](batch["x"]).square().mean() * 1e36
    state.backward(loss)
    state.step_optimizer("all")
    return {"loss": loss}


@pytest.mark.parametrize("changes", [{"accumulate": 2}, {"precision": "16-mixed"}])
def test_a_stage_that_steps_by_itself_cannot_do_everything(options, changes):
    def train_step(state, batch, config):
        loss = state.networks["generator"](batch["x"]).square().mean()
        state.backward(loss)
        state.optimizers["generator"].step()
        return {"loss": loss}

    stage = dataclasses.replace(STAGE, train_step=train_step)
    train(stage, Config(steps=2), options("plain"))
    with pytest.raises(InputError, match=r"TrainState.step_optimizer"):
        train(stage, Config(steps=2), options("refused", **changes))
