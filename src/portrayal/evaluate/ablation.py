"""What a system says about one row of its ablation table; `evaluate.ablations` runs the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from portrayal.tracking import Progress


@dataclass(frozen=True)
class Ablation:
    """One row: how its system is configured, and how it is trained."""

    config: Callable[[Any], Any]
    """From the preset's configuration to the row's."""
    train: Callable[[Any, Path, Path, Progress], nn.Module]
    """(configuration, data, folder, progress) to a trained model in eval mode; continues what the folder holds."""
