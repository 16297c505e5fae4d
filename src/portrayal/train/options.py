"""How a training runs. This module imports nothing heavy, so that `--help` stays fast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """Where and how a training runs; nothing here changes what is learned but the seed and rounding."""

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
    devices: int = 1
    """Devices (on a CPU: processes) of each node; they share the batch of the configuration."""
    num_nodes: int = 1
    """Machines that train together; docs/training.md says how to start them."""
    precision: str = "auto"
    """32-true, bf16-mixed or 16-mixed; auto is bf16-mixed on a device that multiplies bfloat16, else 32-true."""
    accumulate: int = 1
    """Parts that a batch is cut into, one after the other, where it does not fit into memory."""
    channels_last: bool = True
    """Keep the weights of 2D convolutions in the order that convolutions like best."""
    compile: bool = False
    """Compile the networks (torch.compile): slow to start, faster afterwards."""
    workers: int = 1
    """Processes that prepare samples, for each device (0: none but the training's own)."""
    cache: Path | None = None
    """Folder for decoded frames, which runs may share (None: frames in the run folder)."""
    seed: int = 0
    save_every_steps: int = 500
    preview_every_steps: int = 500
    log_every_steps: int = 20
    keep: int = 2
    """Checkpoints that stay in the run folder, beside the best."""
    profile: int = 0
    """Steps to profile, after the first few: a table and a Chrome trace in the run folder."""
