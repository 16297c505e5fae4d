"""Where numbers stop being finite is said by name."""

import dataclasses

import pytest
import torch
from torch import nn

from portrayal.errors import InputError
from portrayal.train.loop import train
from tests.train.toy import STAGE, Config


class Logarithm(nn.Module):
    def forward(self, x):
        return torch.log(x)


def stage_with(module: nn.Module):
    """The toy stage, with another activation in the generator."""

    def networks(config):
        found = STAGE.networks(config)
        found["generator"][1] = module
        return found

    return dataclasses.replace(STAGE, networks=networks)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_first_bad_module_is_named(options, compiled, monkeypatch):
    """The logarithm of a negative number; what comes after it is not to blame."""
    if compiled:  # without a C++ compiler: what matters is that hooks are called all the same
        real = nn.Module.compile
        monkeypatch.setattr(nn.Module, "compile", lambda self: real(self, backend="eager"))
    with pytest.raises(
        InputError, match=r"loss .*l1.* is not finite; .*generator\.1 \(Logarithm\) at step 1"
    ) as raised:
        train(stage_with(Logarithm()), Config(), options(compile=compiled))
    assert "generator.2" not in str(raised.value)
    assert "input" not in str(raised.value)
    assert not list(options().out.glob("checkpoint-*"))


class Root(nn.Module):
    """Finite itself, with an infinite slope where it is zero."""

    def forward(self, x):
        return torch.sqrt(torch.relu(x) * 0)


def test_a_bad_gradient_is_named(options):
    with pytest.raises(InputError, match=r"the gradient of generator\.0\.weight.* at step 1"):
        train(stage_with(Root()), Config(), options())


def test_bad_weights_are_named(options):
    def train_step(state, batch, config):
        if state.step == 2:
            with torch.no_grad():
                state.networks["generator"][2].bias[1] = float("inf")
        return STAGE.train_step(state, batch, config)

    with pytest.raises(InputError, match=r"the weights generator\.2\.bias are not finite at step 3"):
        train(dataclasses.replace(STAGE, train_step=train_step), Config(), options())


def test_the_step_is_repeated_with_the_same_noise(options):
    """A rare accident of the random numbers is found again."""

    def networks(config):
        return STAGE.networks(config) | {"unlucky": Unlucky()}

    class Unlucky(nn.Module):
        def forward(self, x):
            return x / (torch.rand(()) > 0.9).logical_not()

    def train_step(state, batch, config):
        x = state.networks["unlucky"](batch["x"])
        return STAGE.train_step(state, batch | {"x": x}, config)

    stage = dataclasses.replace(STAGE, networks=networks, train_step=train_step, optimizers=generators_only)
    with pytest.raises(InputError, match=r"unlucky \(Unlucky\)"):
        train(stage, Config(steps=200), options(log_every_steps=50))


def generators_only(modules, config):
    return {name: torch.optim.Adam(modules[name].parameters(), 1e-3) for name in ("generator", "discriminator")}
