"""How motion is carried over. This module imports nothing heavy, so that `--help` stays fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from portrayal.errors import InputError


@dataclass(frozen=True)
class RetargetOptions:
    """How the driving motion is moved onto the source."""

    motion: Literal["relative", "absolute"] = "relative"
    """relative adds what the driving face does since its reference frame; absolute copies its pose and expression."""
    region: Literal["all", "pose", "expression", "eyes", "lips"] = "all"
    """Which part of the motion is used; the rest stays as in the source."""
    strength: float = 1.0
    """Factor on the motion: 0 keeps the source still, 1 is as driven, more exaggerates."""
    smooth: float = 1.0
    """Smoothing over time against trembling: 0 is off, 1 the usual amount."""
    reference: int | None = None
    """Driving frame that stands for the source's pose and expression in relative motion; None finds the best one."""

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise InputError(f"strength must not be negative, got {self.strength}; 1 is the motion as driven.")
        if self.smooth < 0:
            raise InputError(f"smooth must not be negative, got {self.smooth}; 0 switches smoothing off.")
        if self.reference is not None and self.reference < 0:
            raise InputError(f"reference must be a frame number from 0, got {self.reference}.")
