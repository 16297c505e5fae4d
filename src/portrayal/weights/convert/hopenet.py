"""Snapshots of natanielruiz/deep-head-pose as safetensors, which `nn.pretrained.load_hopenet` reads."""

from __future__ import annotations

from pathlib import Path

from portrayal.nn.pretrained import load_hopenet
from portrayal.weights.convert.checkpoint import save_converted


def convert_hopenet(path: Path, output: Path) -> None:
    """Write `hopenet_robust_alpha1.pkl` or another snapshot as a weights file.

    Raises:
        MissingFileError: no such file. InputError: it is not a Hopenet.
    """
    save_converted(output, load_hopenet(path).state_dict(), [path], network="hopenet")
