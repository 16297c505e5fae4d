"""Reading checkpoints of others: state dicts by name, without executing anything."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from portrayal.errors import InputError, MissingFileError
from portrayal.weights.registry import save_tensors


def read_states(path: Path, parts: Sequence[str], *, origin: str) -> dict[str, dict[str, Tensor]]:
    """Some state dicts of a checkpoint, without the prefix that data parallel training leaves.

    Args:
        parts: their names in the checkpoint, which may hold more. origin: the repository that writes such ones.

    Raises:
        MissingFileError: no such file. InputError: it is no checkpoint, or lacks one of the parts.
    """
    found = read_checkpoint(path)
    for part in parts:
        state = found.get(part) if isinstance(found, Mapping) else None
        if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
            raise InputError(f"{path} has no state dict {part!r}; a checkpoint of {origin} has {', '.join(parts)}")
    return {part: {name.removeprefix("module."): x for name, x in found[part].items()} for part in parts}


def read_checkpoint(path: Path) -> Any:
    """Whatever a checkpoint holds, as long as that is data.

    Raises:
        MissingFileError: no such file. InputError: it is no checkpoint.
    """
    if not path.is_file():
        raise MissingFileError(f"the checkpoint {path} does not exist")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as a checkpoint: {str(error).splitlines()[0]}") from error


def save_converted(
    output: Path,
    tensors: Mapping[str, Tensor],
    paths: Sequence[Path],
    *,
    config: Any = None,
    origin: str | None = None,
    **about: str,
) -> None:
    """Write a weights file made of checkpoints of others.

    Args:
        output: appears only when complete.
        paths: the checkpoints. origin: the repository that they are of.
        config: the system's, a dataclass. about: what else the file says of itself, beside licence and data.
    """
    about["licence"] = "that of the checkpoint"
    about["data"] = f"converted from {', '.join(path.name for path in paths)}{f' of {origin}' if origin else ''}"
    if config is not None:
        about["config"] = json.dumps(asdict(config), sort_keys=True)
    save_tensors(output, tensors, about)
