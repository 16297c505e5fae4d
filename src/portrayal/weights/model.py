"""A system's model from a weights file: one safetensors file with the tensors of `state_dict`, in float16 or float32.

Its metadata holds `system`, the name in `SYSTEMS`, and `config`, the resolved configuration as JSON, from which the
model is built; nothing else is needed to load it.
"""

from __future__ import annotations

import hashlib
import json
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from portrayal.errors import InputError, MissingFileError
from portrayal.types import System
from portrayal.weights.registry import config_from_dict


def embedded_file(name: str) -> Traversable:
    """Where the package has a system's weights, if it has any."""
    return files("portrayal.weights") / "embedded" / f"{name}.safetensors"


def embedded_path(name: str) -> Path | None:
    """That file in a package that is installed as a folder; None where the package has no such weights."""
    resource = embedded_file(name)
    if not resource.is_file():
        return None
    with as_file(resource) as path:
        return path


def embedded_model(system: System, name: str) -> nn.Module:
    """The model in the package, on the CPU.

    Raises:
        InputError: the package has no weights for this system.
    """
    resource = embedded_file(name)
    if not resource.is_file():
        first = next(iter(system.STAGES))
        raise InputError(
            f"the package has no weights for {name}; give a file of them with --weights, "
            f"which portrayal train {name} {first} writes."
        )
    with as_file(resource) as path:
        return read_model(path, system, name)


def read_model(path: Path, system: System, name: str) -> nn.Module:
    """The model in a weights file, in float32 on the CPU.

    Raises:
        MissingFileError: no such file. InputError: it is damaged, for another system, or of another layout.
    """
    metadata, tensors = _read(path)
    if metadata["system"] != name:
        raise InputError(f"{path}: its field system is {metadata['system']!r}, not {name!r}; choose that system.")
    try:
        config = config_from_dict(system.Config, json.loads(metadata["config"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: its field config does not fit this version's {name} ({error}); train or convert it again."
        ) from error
    model = system.build(config)
    _check_layout(path, tensors, model.state_dict())
    model.load_state_dict(tensors)
    return model


def weights_of(path: Path) -> str:
    """The name of the system that a weights file is for. Errors as in `read_model`."""
    with _opened(path) as file:
        return _metadata(path, file)["system"]


def mark_of(model: nn.Module) -> str:
    """16 hexadecimal digits that say which weights a model has: what it encodes fits no other ones."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()[:16]


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with _opened(path) as file:
        metadata = _metadata(path, file)
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, it is not a dict
    return metadata, {key: x.float() if x.is_floating_point() else x for key, x in tensors.items()}


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; give a weights file with --weights.")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is damaged or not a weights file of Portrayal ({error}); portrayal weights convert reads others."
        ) from error


def _metadata(path: Path, file: Any) -> dict[str, str]:
    metadata = dict(file.metadata() or {})
    for field in ("system", "config"):
        if field not in metadata:
            raise InputError(f"{path}: its metadata lack the field {field}; it is not a weights file of Portrayal.")
    return metadata


def _check_layout(path: Path, given: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Refuse a file whose tensors are not those of the model that its configuration describes."""
    for name, tensor in wanted.items():
        if name not in given:
            raise InputError(f"{path}: the tensor {name} is missing, which its configuration asks for; train it again.")
        if given[name].shape != tensor.shape:
            raise InputError(
                f"{path}: the tensor {name} is {tuple(given[name].shape)}, but its configuration asks for "
                f"{tuple(tensor.shape)}; train it again."
            )
    for name in given:
        if name not in wanted:
            raise InputError(f"{path}: the tensor {name} is unknown to its configuration; train it again.")
