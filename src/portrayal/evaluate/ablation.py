"""What a system says about one row of its ablation table; `evaluate.ablations` runs the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Ablation:
    """One row: how its system is configured, and how it is trained."""

    config: Callable[[Any], Any]
    """From the preset's configuration to the row's."""
    train: Callable[..., nn.Module]
    """(configuration, data, folder, progress) to a trained model in eval mode; continues what the folder holds."""
    shares_start: bool = False
    """Whether all rows begin with the same weights, which are not trained for any of them: `train` takes a file of them
    as `init`, or finds one itself."""
