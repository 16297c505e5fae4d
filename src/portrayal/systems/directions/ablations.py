"""The rows of Tables 2 to 5: A without some losses, A of each stage, and with and without tuning the generator.

All rows share one generator and one encoder: those of a weights file that is given, else those in the package where the
preset is theirs, else trained first, once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from portrayal.evaluate.ablation import Ablation
from portrayal.systems.directions.config import Config, StageName
from portrayal.systems.directions.model import Directions
from portrayal.systems.directions.parts import load_parts
from portrayal.tracking import Progress
from portrayal.train.options import RunOptions
from portrayal.train.state import TrainState
from portrayal.weights.model import embedded_path

BEFORE: dict[StageName, tuple[StageName, ...]] = {
    "synthetic": ("synthetic",),
    "mixed": ("mixed",),
    "paired": ("mixed", "paired"),
}
"""The stages of A that lead to each: the third model is the second one, fine-tuned (Sec. 4)."""


def without(*losses: str) -> Callable[[Config], Config]:
    """A configuration with those fields of `ReenactmentConfig` at 0."""
    off = dict.fromkeys(losses, 0.0)
    return lambda config: replace(
        drawn_alone(config),
        reenactment=replace(config.reenactment, **off),  # type: ignore[arg-type]
    )


def drawn_alone(config: Config) -> Config:
    """Without `DirectionsConfig.detail`, which shows the portrait however it is drawn."""
    return replace(config, directions=replace(config.directions, detail=False))


def untuned(config: Config) -> Config:
    """Inference with the generator as it is."""
    return replace(drawn_alone(config), tuning=replace(config.tuning, steps=0))


def train_row(
    config: Config, data: Path, folder: Path, progress: Progress, *, stage: StageName, init: Path | None = None
) -> nn.Module:
    """Train A up to a stage; the loop shows its own progress and continues what the folders hold.

    Rows that differ in the tuning only share their runs, and all share decoded frames.

    Args:
        init: holds generator and encoder.
    """
    weights = init or _generator(config, data, folder.parent)
    for name in BEFORE[stage]:
        weights = _run(name, config, data, folder.parent, init=weights, anew=name == BEFORE[stage][0])
    model = Directions(config)
    model.load_state_dict(load_file(weights))
    return model.eval()


def _generator(config: Config, data: Path, folder: Path) -> Path:
    """The weights file of a generator and an encoder."""
    shipped = embedded_path("directions")
    if shipped is not None and config.image_size == Config.compact().image_size:
        return shipped
    return _run("encoder", config, data, folder, init=_run("stylegan", config, data, folder, init=None))


def load_shared(path: Path, state: TrainState) -> None:
    """All that a weights file holds but A, which may have been taught already.

    Raises:
        InputError: as `load_parts`.
    """
    load_parts(path, state, needed=("generator", "encoder"), optional=("poses",))


def _run(name: StageName, config: Config, data: Path, folder: Path, *, init: Path | None, anew: bool = False) -> Path:
    """Train a stage and return its weights. `anew`: A is not taken from `init`."""
    from portrayal.systems.directions import STAGES  # which imports this module
    from portrayal.train.loop import train

    alike = replace(config.tuning, steps=Config().tuning.steps)  # what is trained does not depend on it
    same = replace(config, tuning=alike).of_stage(name)
    if name not in BEFORE:
        same = replace(same, reenactment=Config().reenactment)
    mark = hashlib.sha256(json.dumps(asdict(same), sort_keys=True).encode()).hexdigest()[:8]
    options = RunOptions(data=data, out=folder / f"{name}-{mark}", cache=folder / "frames", init=init)
    stage = replace(STAGES[name], load_weights=load_shared) if anew else STAGES[name]
    return train(stage, same, options, name=f"directions {name}")


ABLATIONS = {
    "synthetic, w/o L_id + L_per": Ablation(
        without("identity", "perceptual"), partial(train_row, stage="synthetic"), shares_start=True
    ),
    "synthetic, w/o L_eye + L_mouth": Ablation(
        without("eye", "mouth"), partial(train_row, stage="synthetic"), shares_start=True
    ),
    "synthetic": Ablation(without(), partial(train_row, stage="synthetic"), shares_start=True),
    "real & synthetic": Ablation(without(), partial(train_row, stage="mixed"), shares_start=True),
    "paired, w/o optim.": Ablation(untuned, partial(train_row, stage="paired"), shares_start=True),
    "paired": Ablation(without(), partial(train_row, stage="paired"), shares_start=True),
}
