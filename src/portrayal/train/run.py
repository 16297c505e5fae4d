"""Start a training by the names of its system and stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, make_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import tyro

from portrayal.errors import InputError
from portrayal.face.config import Config as FaceConfig
from portrayal.face.train import STAGES as FACE_STAGES
from portrayal.systems import SYSTEMS
from portrayal.train.loop import Stage, train
from portrayal.train.options import RunOptions

C = TypeVar("C")


def stages() -> dict[str, tuple[Any, Mapping[str, Stage]]]:
    """What can be trained: name to (Config, stages)."""
    return {"face": (FaceConfig, FACE_STAGES)} | {name: (s.Config, s.STAGES) for name, s in SYSTEMS.items()}


def train_stage(
    system: str, stage: str, options: RunOptions, *, preset: str = "compact", overrides: Sequence[str] = ()
) -> Path:
    """Train one stage of one system; an interrupted run in the same folder goes on.

    Args:
        system: a key of `SYSTEMS`, or face.
        stage: one of its `STAGES`.
        preset: of its `Config`.
        overrides: fields of the preset to change, as typed: ("--config.steps", "2000", "--config.loss.gaps", "1").

    Returns:
        The weights file.

    Raises:
        InputError: no such system, stage or preset, or data that cannot be used.
    """
    chosen, config = stage_and_preset(system, stage, preset)
    return train(chosen, settled(chosen, config, override(config, overrides)), options, name=f"{system} {stage}")


def settled(stage: Stage, before: Any, config: Any) -> Any:
    """A configuration whose stage knows of every change.

    A stage takes some fields from a part of its own (`steps` from `decouple.steps`); a later change of that part counts
    as one of the field, unless the field was changed itself.
    """
    again = stage.configure(config)
    changed = {
        name: getattr(again, name)
        for name in (field.name for field in fields(config))
        if getattr(again, name) != getattr(before, name) == getattr(config, name)
    }
    return replace(config, **changed)


def stage_and_preset(system: str, stage: str, preset: str) -> tuple[Stage, Any]:
    """A stage and a configuration by their names.

    Raises:
        InputError: no such system, stage or preset.
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
    chosen = its_stages[stage]
    return chosen, chosen.configure(getattr(config, preset)())


def override(config: C, arguments: Sequence[str]) -> C:
    """The configuration with the fields changed that `arguments` name. Exits with 2 after a mistake, as options do.

    Args:
        config: a frozen dataclass, nested ones inside.
        arguments: --config.FIELD VALUE ..., or --config.help, which prints the fields and exits.
    """
    if not arguments:
        return config
    typed = ["--help" if argument == "--config.help" else argument for argument in arguments]
    with_prefix = make_dataclass("Overrides", [("config", type(config), config)], frozen=True)
    description = "Fields of the configuration, with the preset's values."
    changed: Any = tyro.cli(
        with_prefix, prog="portrayal train", description=description, args=typed, config=(tyro.conf.AvoidSubcommands,)
    )
    return cast(C, changed.config)
