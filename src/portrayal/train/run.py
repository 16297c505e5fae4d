"""Start a training by the names of its system and stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portrayal.errors import InputError
from portrayal.face.config import Config as FaceConfig
from portrayal.face.train import STAGES as FACE_STAGES
from portrayal.systems import SYSTEMS
from portrayal.train.loop import Stage, train
from portrayal.train.options import RunOptions


def stages() -> dict[str, tuple[Any, Mapping[str, Stage]]]:
    """What can be trained: name to (Config, stages)."""
    return {"face": (FaceConfig, FACE_STAGES)} | {name: (s.Config, s.STAGES) for name, s in SYSTEMS.items()}


def train_stage(system: str, stage: str, options: RunOptions, *, preset: str = "compact") -> Path:
    """Train one stage of one system; an interrupted run in the same folder goes on.

    Args:
        system: a key of `SYSTEMS`, or face.
        stage: one of its `STAGES`.
        preset: of its `Config`.

    Returns:
        The weights file.

    Raises:
        InputError: no such system, stage or preset, or data that cannot be used.
    """
    known = stages()
    if system not in known:
        raise InputError(f"there is no system {system!r} to train; choose one of: {', '.join(known)}.")
    config, its_stages = known[system]
    if stage not in its_stages:
        choice = f"choose one of: {', '.join(its_stages)}" if its_stages else "it has nothing to train"
        raise InputError(f"{system} has no stage {stage!r}; {choice}.")
    if preset not in ("tiny", "compact", "paper", "refine") or not hasattr(config, preset):
        raise InputError(f"{system} has no preset {preset!r}; choose tiny, compact, paper or refine where it has them.")
    return train(its_stages[stage], getattr(config, preset)(), options, name=f"{system} {stage}")
