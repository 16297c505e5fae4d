"""A stage small enough for many runs: two networks, two optimizers, random numbers from everywhere."""

import random
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset

from portrayal.errors import PortrayalError
from portrayal.train.loop import Stage
from portrayal.weights.registry import save_tensors


@dataclass(frozen=True)
class Loss:
    l1: float = 1.0
    adversarial: float = 0.1


@dataclass(frozen=True)
class Config:
    width: int = 8
    batch: int = 8
    steps: int = 20
    learning_rate: float = 1e-2
    ema: float = 0.9
    noise: float = 0.0
    """Of the random numbers in a step; 0 makes the step depend on its samples only."""
    loss: Loss = Loss()


class Samples(Dataset):
    """y is a fixed function of x; `bad` indices cannot be made."""

    def __init__(self, seed, samples, bad=()):
        self.seed, self.samples, self.bad = seed, samples, bad

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        if index in self.bad:
            raise PortrayalError(f"clip{index}.mp4 cannot be read")
        assert 0 <= index < self.samples
        x = torch.from_numpy(np.random.Generator(np.random.PCG64([self.seed, index])).normal(size=4).astype(np.float32))
        return {"x": x, "y": x.flip(0) * 2, "index": torch.tensor(index)}


def networks(config):
    generator = nn.Sequential(nn.Linear(4, config.width), nn.Tanh(), nn.Linear(config.width, 4))
    return {
        "generator": generator,
        "discriminator": nn.Sequential(nn.Linear(4, config.width), nn.ReLU(), nn.Linear(config.width, 1)),
    }


def optimizers(modules, config):
    return {name: torch.optim.Adam(modules[name].parameters(), lr=config.learning_rate) for name in modules}


def collate(samples):
    return {key: torch.stack([s[key] for s in samples]) for key in samples[0]}


def train_step(state, batch, config):
    """Least squares GAN on four numbers, in the engine's terms."""
    noise = torch.randn_like(batch["x"]) + np.random.normal() + random.random()  # noqa: NPY002
    guess = state.networks["generator"](batch["x"] + config.noise * noise)
    critic = state.networks["discriminator"]
    with state.only("discriminator"):
        real = (critic(batch["y"]) - 1).square().mean() + critic(guess.detach()).square().mean()
        state.backward(real)
        state.step_optimizer("discriminator", clip=1.0)
    with state.only("generator"):
        terms = {"l1": (guess - batch["y"]).abs().mean(), "adversarial": (critic(guess) - 1).square().mean()}
        state.backward(config.loss.l1 * terms["l1"] + config.loss.adversarial * terms["adversarial"])
        state.step_optimizer("generator", clip=1.0)
    return terms | {"discriminator": real}


def preview(state, batch, config):
    torch.randn(3)  # must not change the training
    return np.full((8, 8, 3), int(batch["index"][0]) % 256, np.uint8)


def save_weights(path, state, config, metadata):
    save_tensors(path, dict(state.averaged.state_dict()), metadata)


def load_weights(path, state):
    tensors = load_file(path)
    state.networks.load_state_dict(tensors)
    state.averaged.load_state_dict(tensors)


STAGE = Stage(
    networks=networks,
    optimizers=optimizers,
    dataset=lambda root, config, seed, samples: Samples(seed, samples),
    collate=collate,
    train_step=train_step,
    preview=preview,
    save_weights=save_weights,
    load_weights=load_weights,
)
