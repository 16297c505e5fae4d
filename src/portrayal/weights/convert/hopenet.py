"""Snapshots of natanielruiz/deep-head-pose as safetensors, which `nn.pretrained.load_hopenet` reads."""

from __future__ import annotations

from pathlib import Path

from portrayal.nn.pretrained import load_hopenet
from portrayal.weights.registry import save_tensors


def convert_hopenet(path: Path, output: Path) -> None:
    """Write `hopenet_robust_alpha1.pkl` or another snapshot as a weights file.

    Raises:
        MissingFileError: no such file. InputError: it is not a Hopenet.
    """
    net = load_hopenet(path)
    about = {"network": "hopenet", "licence": "that of the checkpoint", "data": f"converted from {path.name}"}
    save_tensors(output, {name: value.contiguous() for name, value in net.state_dict().items()}, about)
