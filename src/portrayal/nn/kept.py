"""What an optimisation for one picture leaves on the disk: its result, and the state that an interrupted one goes on
from. Both are safetensors files in a folder that may be deleted at any time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from portrayal.media.atomic import make_parent, remove, writing_error
from portrayal.weights.registry import save_tensors

KEPT = 32
"""Files that stay in such a folder; the oldest go."""
MOMENTS = ("exp_avg", "exp_avg_sq")
"""Of Adam."""


class KeptFile:
    """Tensors with a few words about them; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, name: str) -> None:
        self.path = None if folder is None else folder / name

    def read(self) -> tuple[dict[str, Tensor], dict[str, str]] | None:
        """Tensors and words; None where there is no such file. A damaged one is removed."""
        if self.path is None or not self.path.is_file():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
        except (SafetensorError, OSError):
            self.remove()
            return None

    def write(self, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
        """
        Raises:
            InputError: the folder cannot be written. PortrayalError: the disk is full or fails.
        """
        if self.path is None:
            return
        make_parent(self.path)
        try:
            save_tensors(self.path, tensors, about)
        except OSError as error:
            raise writing_error(error, self.path) from error

    def remove(self) -> None:
        if self.path is not None:
            remove(self.path)


def forget_oldest(folder: Path | None) -> None:
    """Remove all but the newest `KEPT` files."""
    if folder is None:
        return
    ages = sorted((path.stat().st_mtime_ns, path) for path in folder.glob("*.safetensors"))
    for _, path in ages[:-KEPT]:
        remove(path)


def digest_of(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """32 hexadecimal digits that change with anything in `about`, which is written as JSON, and with any tensor."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()[:32]


def learned_tensors(
    learned: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, *, moments: bool = True
) -> dict[str, Tensor]:
    """What has been learned by Adam, and its moments where it is to go on."""
    tensors = {f"weight.{name}": value.detach() for name, value in learned.items()}
    if moments:
        for name, value in learned.items():
            tensors |= {f"{field}.{name}": optimizer.state[value][field] for field in MOMENTS}
    return tensors


def restore_learned(
    learned: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], step: int
) -> None:
    """Put back what `learned_tensors` gave after `step` steps, all of it or nothing.

    Raises:
        ValueError: these are tensors of something else.
    """
    fields = ("weight", *(field for field in MOMENTS if any(name.startswith(f"{field}.") for name in tensors)))
    for name, value in learned.items():
        for field in fields:
            if f"{field}.{name}" not in tensors or tensors[f"{field}.{name}"].shape != value.shape:
                raise ValueError(f"there is no {field}.{name} of {tuple(value.shape)} among what was kept")
    with torch.no_grad():
        for name, value in learned.items():
            value.copy_(tensors[f"weight.{name}"])
            if len(fields) > 1:
                moments = {field: tensors[f"{field}.{name}"].to(value) for field in MOMENTS}
                optimizer.state[value] = {"step": torch.tensor(float(step)), **moments}
