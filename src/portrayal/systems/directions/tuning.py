"""Tuning the generator to one picture (Sec. 3.2, the step after inversion): PTI (Roich et al. 2021) around a fixed w+.

The inverted code stays what it is, the pivot; the synthesis network moves a little so that the pivot gives the very
picture, while codes around the pivot are held where they were (locality regularisation).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional as F

from portrayal.errors import InputError
from portrayal.media.atomic import make_parent, remove
from portrayal.nn.stylegan2 import Generator
from portrayal.systems.directions.config import TuningConfig
from portrayal.systems.directions.features import Perceptual
from portrayal.weights.registry import save_tensors

Progress = Callable[[int, int, float], None]
"""Steps done, steps in all, perceptual distance now."""
KEPT = 32
"""Results that stay in the cache folder; the oldest go."""
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
    done = _Store(cache, f"{key}.safetensors")
    run = _Run(generator, config)
    if (found := done.read()) is not None:
        distance, steps = run.restore(found)
        if progress:
            progress(config.steps, config.steps, distance)
        return Tuned(run.tuned, distance, steps)
    part = _Store(cache, f"{key}.part.safetensors")
    if (found := part.read()) is not None:
        run.restore(found)
    while True:
        pixel, unlike = run.compare(run.tuned.synthesis(pivot), picture, perceptual)
        distance = float(unlike.detach())
        if run.step >= config.steps or distance <= config.enough:
            break
        run.learn(config.pixel * pixel + config.perceptual * unlike, pivot, perceptual)
        if progress:
            progress(run.step, config.steps, distance)
        if run.step % config.save_every_steps == 0:
            part.write(run.tensors(moments=True), run.step, distance)
    done.write(run.tensors(moments=False), run.step, distance)
    part.remove()
    _forget_oldest(cache)
    return Tuned(run.tuned, distance, run.step)


def tuning_key(generator: Generator, picture: Tensor, pivot: Tensor, config: TuningConfig) -> str:
    """A name that changes with the picture, the pivot, the generator's weights and the configuration."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())
    tensors = {"picture": picture, "pivot": pivot} | dict(generator.state_dict())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()[:32]


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

    def tensors(self, *, moments: bool) -> dict[str, Tensor]:
        """Everything that a resume needs (`moments`: of Adam), or the result alone."""
        tensors = {f"weight.{name}": value.detach() for name, value in self.parameters.items()}
        if moments:
            for name, parameter in self.parameters.items():
                state = self.optimizer.state[parameter]
                tensors |= {f"{field}.{name}": state[field] for field in ("exp_avg", "exp_avg_sq")}
        return tensors

    def restore(self, found: tuple[dict[str, Tensor], float, int]) -> tuple[float, int]:
        """Go on from what `tensors` gave; (distance, step)."""
        tensors, distance, self.step = found
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"weight.{name}"])
                if f"exp_avg.{name}" in tensors:
                    moments = {field: tensors[f"{field}.{name}"].to(parameter) for field in ("exp_avg", "exp_avg_sq")}
                    self.optimizer.state[parameter] = {"step": torch.tensor(float(self.step)), **moments}
        return distance, self.step

    @torch.no_grad()
    def _near(self, pivot: Tensor) -> Tensor:
        """A code `radius` away from the pivot, towards that of a random z; follows from the step alone."""
        z_dim = self.original.mapping.z_dim
        z = torch.randn(1, z_dim, generator=torch.Generator().manual_seed(SEED + self.step)).to(pivot.device)
        way = self.original.broadcast(self.original.mapping(z)) - pivot
        return pivot + self.config.radius * way / way.square().mean().sqrt()


class _Store:
    """A file of the cache folder; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, name: str) -> None:
        self.path = None if folder is None else folder / name

    def read(self) -> tuple[dict[str, Tensor], float, int] | None:
        """Tensors, distance and step; None where there is none, or it is damaged."""
        if self.path is None or not self.path.is_file():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                about = file.metadata()
            return tensors, float(about["distance"]), int(about["step"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            remove(self.path)
            return None

    def write(self, tensors: dict[str, Tensor], step: int, distance: float) -> None:
        if self.path is not None:
            make_parent(self.path)
            contiguous = {name: value.cpu().contiguous() for name, value in tensors.items()}
            save_tensors(self.path, contiguous, {"step": str(step), "distance": repr(distance)})

    def remove(self) -> None:
        if self.path is not None:
            remove(self.path)


def _forget_oldest(folder: Path | None) -> None:
    """Remove all but the newest `KEPT` files."""
    if folder is None:
        return
    ages = sorted((path.stat().st_mtime_ns, path) for path in folder.glob("*.safetensors"))
    for _, path in ages[:-KEPT]:
        remove(path)


def _check(generator: Generator, picture: Tensor, pivot: Tensor) -> None:
    size, wanted = generator.synthesis.size, (1, generator.synthesis.layers, generator.synthesis.w_dim)
    if picture.shape != (1, 3, size, size):
        raise InputError(f"tuning needs one picture (1, 3, {size}, {size}), got {tuple(picture.shape)}")
    if pivot.shape != wanted:
        raise InputError(
            f"this generator reads w+ {wanted}, got {tuple(pivot.shape)}; encoder and generator belong to different "
            "models"
        )
