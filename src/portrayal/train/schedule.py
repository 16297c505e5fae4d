"""Learning rates over the steps of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """What the optimizers' own learning rates are multiplied by; a stage takes it from its configuration."""

    kind: Literal["cosine", "constant", "milestones"] = "cosine"
    """cosine: to zero over all steps; milestones: times `factor` at each of `milestones`."""
    warmup_steps: int = 100
    """Steps over which the rate rises from zero."""
    milestones: tuple[int, ...] = ()
    """Steps, ascending."""
    factor: float = 0.1

    def __post_init__(self) -> None:
        if (self.kind == "milestones") != bool(self.milestones):
            raise ValueError(f"schedule kind {self.kind!r} with milestones {self.milestones}: give both or neither")


def learning_rate_factor(schedule: Schedule, step: int, steps: int) -> float:
    """The factor for step `step` (from 0) of `steps`: linear warm-up times the schedule."""
    rise = min(1.0, (step + 1) / schedule.warmup_steps) if schedule.warmup_steps else 1.0
    if schedule.kind == "cosine":
        return rise * 0.5 * (1 + math.cos(math.pi * step / steps))
    passed = sum(step >= milestone for milestone in schedule.milestones)
    return rise * schedule.factor**passed
