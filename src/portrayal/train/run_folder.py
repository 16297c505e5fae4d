"""What a run folder belongs to: one stage, one configuration, one seed."""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from portrayal.errors import InputError, MissingFileError
from portrayal.media.atomic import make_parent
from portrayal.train.checkpoint import write_json
from portrayal.train.options import RunOptions
from portrayal.weights.registry import git_commit


def open_run(options: RunOptions, config: Any, name: str) -> None:
    """Create the folder with config.json and run.json, or make sure that it is this run's.

    Raises:
        InputError: it is another run's, the data folder or `init` is missing, or the folder cannot be created.
    """
    if not options.data.is_dir():
        raise MissingFileError(f"{options.data} does not exist; give the folder of labelled faces with --data")
    if options.init is not None and not options.init.is_file():
        raise MissingFileError(f"{options.init} does not exist; --init names a weights file to start from")
    make_parent(options.out / "config.json")
    _same(options.out / "config.json", json.loads(config_json(config)))
    _same(options.out / "run.json", {"stage": name, "seed": options.seed} if name else {"seed": options.seed})
    for leftover in options.out.glob("checkpoint-*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)


def config_json(config: Any) -> str:
    """The resolved configuration as JSON."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def about_run(config: Any, step: int) -> dict[str, str]:
    """Metadata of a weights file: what made it."""
    return {
        "config": config_json(config),
        "step": str(step),
        "git_commit": git_commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Fields that differ, as `loss.lpips = 2.0 (here 1.0)`: theirs first, then mine."""
    for key in sorted(mine.keys() | theirs.keys()):
        a, b = mine.get(key, "absent"), theirs.get(key, "absent")
        if isinstance(a, dict) and isinstance(b, dict):
            yield from differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield f"{prefix}{key} = {json.dumps(b)} (here {json.dumps(a)})"


def _same(path: Path, mine: dict[str, Any]) -> None:
    """Write the file, or compare with it."""
    if not path.is_file():
        write_json(path, mine)
        return
    try:
        theirs = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged ({error}); use another --out") from error
    changed = list(differences(mine, theirs))
    if changed:
        raise InputError(f"{path} has {', '.join(changed)}; resume unchanged or use another --out")
