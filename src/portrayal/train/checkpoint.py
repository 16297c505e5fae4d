"""Checkpoints of a run: one folder per step, complete or absent."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

KEEP = 2
"""Checkpoints that stay in a run folder."""


def save_checkpoint(run: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `checkpoint-<step>` beside its final name, then rename; older ones beyond `KEEP` go."""
    final = run / f"checkpoint-{step:08d}"
    partial = run / f"{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    torch.save(state, partial / "state.pt")
    if final.exists():
        shutil.rmtree(final)
    os.replace(partial, final)
    for old in _checkpoints(run)[:-KEEP]:
        shutil.rmtree(old)
    return final


def latest_checkpoint(run: Path) -> Path | None:
    """The newest complete checkpoint of a run folder."""
    found = _checkpoints(run)
    return found[-1] if found else None


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read without executing anything."""
    state: dict[str, Any] = torch.load(path / "state.pt", map_location=device, weights_only=True)
    return state


def _checkpoints(run: Path) -> list[Path]:
    return sorted(p for p in run.glob("checkpoint-*") if not p.name.endswith(".partial") and (p / "state.pt").is_file())
