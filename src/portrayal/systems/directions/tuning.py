"""Tuning the generator to one picture (Sec. 3.2, the step after inversion): PTI (Roich et al. 2021) around a fixed w+.

The inverted code stays what it is, the pivot; the synthesis network moves a little so that the pivot gives the very
picture, while codes around the pivot are held where they were (locality regularisation).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.errors import InputError
from portrayal.nn.kept import KeptFile, digest_of, forget_oldest, learned_tensors, restore_learned
from portrayal.nn.stylegan2 import Generator
from portrayal.systems.directions.config import TuningConfig
from portrayal.systems.directions.features import Perceptual

Progress = Callable[[int, int, float], None]
"""Steps done, steps in all, perceptual distance now."""
SEED = 0
"""Of the codes whose pictures are held where they were."""


@dataclass(frozen=True)
class Tuned:
    """A generator of one picture."""

    generator: Generator
    """Its synthesis is tuned; the mapping network is the original one's."""
    distance: float
    """Perceptual distance of its picture from the given one."""
    steps: int
    """That were taken."""


def tune(
    generator: Generator,
    picture: Tensor,
    pivot: Tensor,
    config: TuningConfig,
    perceptual: Perceptual,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Tune a copy of a generator to one picture.

    Args:
        picture: (1, 3, s, s) in [-1, 1]. pivot: (1, layers, w_dim), its inversion.
        cache: folder for results, keyed by the picture, the pivot, the model and `config`. A tuning that was done
            before is read from there, one that was interrupted goes on.
        progress: called after every step; with all steps at once where the result is cached.

    Returns:
        The copy. The given generator is not changed.

    Raises:
        InputError: picture or pivot do not fit the generator, or the cache folder cannot be written.
    """
    _check(generator, picture, pivot)
    key = tuning_key(generator, picture, pivot, config) if cache is not None else ""
    done, part = KeptFile(cache, f"{key}.safetensors"), KeptFile(cache, f"{key}.part.safetensors")
    run = _Run(generator, config)
    if (known := run.restore(done)) is not None:
        if progress:
            progress(config.steps, config.steps, known)
        return Tuned(run.tuned, known, run.step)
    run.restore(part)
    while True:
        pixel, unlike = run.compare(run.tuned.synthesis(pivot), picture, perceptual)
        distance = float(unlike.detach())
        if run.step >= config.steps or distance <= config.enough:
            break
        run.learn(config.pixel * pixel + config.perceptual * unlike, pivot, perceptual)
        if progress:
            progress(run.step, config.steps, distance)
        if run.step % config.save_every_steps == 0:
            run.keep(part, distance, moments=True)
    run.keep(done, distance, moments=False)
    part.remove()
    forget_oldest(cache)
    return Tuned(run.tuned, distance, run.step)


def tuning_key(generator: Generator, picture: Tensor, pivot: Tensor, config: TuningConfig) -> str:
    """A name that changes with the picture, the pivot, the generator's weights and the configuration."""
    return digest_of(asdict(config), {"picture": picture, "pivot": pivot} | dict(generator.state_dict()))


class _Run:
    """One tuning: the copy that learns, its optimizer, and the step."""

    def __init__(self, generator: Generator, config: TuningConfig) -> None:
        self.original, self.config, self.step = generator, config, 0
        self.tuned = deepcopy(generator).requires_grad_(False)
        self.parameters = dict(self.tuned.synthesis.named_parameters())
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=config.learning_rate)

    @staticmethod
    def compare(made: Tensor, wanted: Tensor, perceptual: Perceptual) -> tuple[Tensor, Tensor]:
        """Mean squared and perceptual difference of pictures in [-1, 1]."""
        return F.mse_loss(made, wanted), perceptual(made / 2 + 0.5, wanted / 2 + 0.5)

    def learn(self, loss: Tensor, pivot: Tensor, perceptual: Perceptual) -> None:
        """One step on the loss at the pivot, and on the original's picture of a code near it."""
        config = self.config
        if config.locality:
            near = self._near(pivot)
            with torch.no_grad():
                before = self.original.synthesis(near)
            pixel, unlike = self.compare(self.tuned.synthesis(near), before, perceptual)
            loss = loss + config.locality * (config.pixel * pixel + config.perceptual * unlike)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1

    def keep(self, file: KeptFile, distance: float, *, moments: bool) -> None:
        """Write everything that a resume needs (`moments`: of Adam), or the result alone."""
        tensors = learned_tensors(self.parameters, self.optimizer, moments=moments)
        file.write(tensors, {"step": str(self.step), "distance": repr(distance)})

    def restore(self, file: KeptFile) -> float | None:
        """Go on from what `keep` has written: the distance then; None where there is nothing to be had."""
        found = file.read()
        if found is None:
            return None
        tensors, about = found
        try:
            step, distance = int(about["step"]), float(about["distance"])
            restore_learned(self.parameters, self.optimizer, tensors, step)
        except (KeyError, ValueError):
            file.remove()
            return None
        self.step = step
        return distance

    @torch.no_grad()
    def _near(self, pivot: Tensor) -> Tensor:
        """A code `radius` away from the pivot, towards that of a random z; follows from the step alone."""
        z_dim = self.original.mapping.z_dim
        z = torch.randn(1, z_dim, generator=torch.Generator().manual_seed(SEED + self.step)).to(pivot.device)
        way = self.original.broadcast(self.original.mapping(z)) - pivot
        return pivot + self.config.radius * way / way.square().mean().sqrt()


def _check(generator: Generator, picture: Tensor, pivot: Tensor) -> None:
    size, wanted = generator.synthesis.size, (1, generator.synthesis.layers, generator.synthesis.w_dim)
    if picture.shape != (1, 3, size, size):
        raise InputError(f"tuning needs one picture (1, 3, {size}, {size}), got {tuple(picture.shape)}")
    if pivot.shape != wanted:
        raise InputError(
            f"this generator reads w+ {wanted}, got {tuple(pivot.shape)}; encoder and generator belong to different "
            "models"
        )
