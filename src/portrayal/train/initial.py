"""The weights files of stages: what they hold, and how a training starts from one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from portrayal.errors import InputError
from portrayal.train.run_folder import config_json, differences
from portrayal.train.stage import Stage
from portrayal.train.state import TrainState
from portrayal.weights.registry import in_halves, save_tensors


def save_network(path: Path, network: nn.Module, metadata: Mapping[str, str], *, system: str, stage: str) -> None:
    """Everything of a network, floats as fp16, with what made it."""
    about = {"system": system, "stage": stage, "licence": "Apache-2.0", **metadata}
    save_tensors(path, in_halves(network.state_dict()), about)


def fill_network(networks: Sequence[nn.Module], tensors: Mapping[str, Tensor], *, path: Path, preset: str) -> None:
    """Give these networks, alike in layout, what a file holds.

    Args:
        path, preset: for the message: the file, and whose preset it must fit.

    Raises:
        InputError: the file is of another layout; names the first tensor that does not fit.
    """
    misfit = first_misfit(networks[0], {name: tuple(value.shape) for name, value in tensors.items()})
    if misfit:
        raise InputError(f"{path} does not fit {preset}: {misfit}")
    for network in networks:
        network.load_state_dict(tensors)


def load_initial(stage: Stage, path: Path, state: TrainState, config: Any) -> None:
    """Let the stage read a weights file.

    Raises:
        InputError: it is no weights file, or one of another layout, system or preset; names the first tensor that does
            not fit, and the fields of the configuration that differ.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a weights file ({error}); --init takes the .safetensors of a stage") from error
    try:
        stage.load_weights(path, state)
    except InputError:
        raise
    except (RuntimeError, KeyError, ValueError) as error:
        misfit = first_misfit(state.networks, shapes) or str(error).splitlines()[-1].strip()
        theirs = json.loads(metadata.get("config", "{}"))
        changed = list(differences(json.loads(config_json(config)), theirs))[:3] if theirs else []
        written = f"; it was made with {', '.join(changed)}" if changed else ""
        raise InputError(f"{path} does not fit this stage and preset: {misfit}{written}") from error


def first_misfit(networks: nn.Module, shapes: dict[str, tuple[int, ...]]) -> str | None:
    """The first tensor of the networks that a file lacks or has in another shape, else the first that is too much."""
    expected = {name: tuple(value.shape) for name, value in networks.state_dict().items()}
    for name, shape in expected.items():
        if name not in shapes:
            return f"it has no tensor {name}"
        if shapes[name] != shape:
            return f"its tensor {name} is {shapes[name]}, not {shape}"
    extra = [name for name in shapes if name not in expected]
    return f"its tensor {extra[0]} is not known here" if extra else None
