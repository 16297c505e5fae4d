"""The rows of Table 2: the base model, then one loss more in each, up to the whole system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from portrayal.evaluate.ablation import Ablation
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.model import Mmfa
from portrayal.systems.mmfa.train import STAGE
from portrayal.tracking import Progress
from portrayal.train.options import RunOptions

WEIGHTS = {
    "L_Exp": ("expression",),
    "L_C": ("identity",),
    "L_M": ("landmarks_face", "landmarks_mouth", "landmarks_pupil"),
}
"""Loss of the paper -> its weights in `LossConfig`, in the order of Table 2."""


def without(*names: str) -> Callable[[Config], Config]:
    """A configuration with those losses left out."""
    off = {weight: 0.0 for name in names for weight in WEIGHTS[name]}

    def change(config: Config) -> Config:
        config = config.unguided()
        return replace(config, loss=replace(config.loss, **off))  # type: ignore[arg-type]

    return change


def train_row(config: Config, data: Path, folder: Path, progress: Progress) -> nn.Module:
    """Train the main stage; the loop shows its own progress and continues what the folder holds.

    The rows share decoded frames.
    """
    from portrayal.train.loop import train

    options = RunOptions(data=data, out=folder, cache=folder.parent / "frames")
    model = Mmfa(config)
    model.load_state_dict(load_file(train(STAGE, config, options, name="mmfa main")))
    return model.eval()


ABLATIONS = {
    "base": Ablation(without("L_Exp", "L_C", "L_M"), train_row),
    "+ L_Exp": Ablation(without("L_C", "L_M"), train_row),
    "+ L_C": Ablation(without("L_M"), train_row),
    "+ L_M": Ablation(without(), train_row),
}
