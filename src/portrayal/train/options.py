"""How a training runs. This module imports nothing heavy, so that `--help` stays fast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """Where and how a training runs; nothing here changes what is learned but the seed."""

    data: Path
    """Folder of labelled clips, photos and scenes."""
    out: Path = Path("runs/train")
    """Run folder; an interrupted run in it goes on."""
    weights: Path | None = None
    """Weights file to write at the end (None: weights.safetensors in the run folder)."""
    init: Path | None = None
    """Weights file to start from, the shipped one for instance."""
    device: str = "auto"
    """cpu, cuda, mps or auto."""
    precision: str = "bf16-mixed"
    """32-true, bf16-mixed or 16-mixed."""
    workers: int = 1
    """Processes that prepare samples (0: none but the training's own)."""
    seed: int = 0
    save_every_steps: int = 500
    preview_every_steps: int = 500
    log_every_steps: int = 20
