"""Weights files of untrained tiny models."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from portrayal.train.initial import save_network


def write_untrained(folder: Path, system: Any, name: str) -> Path:
    """The preset `tiny` of a system, a key of `SYSTEMS`; heads of export3d are then ellipsoids."""
    torch.manual_seed(0)
    model = system.build(system.Config.tiny())
    path = folder / f"{name}.safetensors"
    save_network(path, model, {"config": json.dumps(asdict(model.config))}, system=name, stage="made")
    return path
