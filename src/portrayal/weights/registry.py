"""The weights that come with the package."""

from __future__ import annotations

import dataclasses
import json
from importlib.resources import as_file, files
from typing import Any, TypeVar, get_type_hints

from safetensors import safe_open
from torch import Tensor

from portrayal.errors import PortrayalError

C = TypeVar("C")


def load_embedded(name: str, config_class: type[C]) -> tuple[dict[str, Tensor], C]:
    """Tensors (float32) and configuration of `weights/embedded/<name>.safetensors`.

    Raises:
        PortrayalError: the installation lacks the file.
    """
    resource = files("portrayal.weights") / "embedded" / f"{name}.safetensors"
    if not resource.is_file():
        raise PortrayalError(f"the package's weights file {name}.safetensors is missing; install portrayal again")
    with as_file(resource) as path, safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        config = json.loads(file.metadata()["config"])
    return tensors, config_from_dict(config_class, config)


def config_from_dict(config_class: type[C], values: dict[str, Any]) -> C:
    """A frozen dataclass from the dictionary that `dataclasses.asdict` made of it (nested ones and tuples too)."""
    hints = get_type_hints(config_class)
    changed = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            value = config_from_dict(hints[name], value)
        changed[name] = tuple(value) if isinstance(value, list) else value
    return config_class(**changed)
