"""What a user can choose, each default once: the command line and Python take both from here.

This module imports nothing heavy, so that `--help` stays fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from portrayal.errors import InputError
from portrayal.motion.options import RetargetOptions

MAX_SIDE = 1920
"""Long side in pixels above which results are reduced unless a size is asked for."""


@dataclass(frozen=True)
class RunOptions:
    """Where it runs and what finds faces."""

    device: str = "auto"
    """Where networks run: cpu, cuda, cuda:1, mps; auto takes the GPU where there is one."""
    tracker: Literal["portrayal", "mediapipe"] = "portrayal"
    """What finds faces: the tracker in the package, or MediaPipe's (an optional package: portrayal[mediapipe])."""


@dataclass(frozen=True)
class SystemOptions(RunOptions):
    """Which system works."""

    system: str = "auto"
    """Which system renders: auto takes the one in the package that scores best (docs/results.md)."""
    weights: Path | None = None
    """A weights file of your own instead of the one in the package; it says itself which system it is for."""


@dataclass(frozen=True)
class AnimateOptions(SystemOptions, RetargetOptions):
    """How a portrait is animated; `RetargetOptions` holds what concerns the motion."""

    face: str = "largest"
    """Which face of the source moves: largest, all, or its number counted from the left, from 1."""
    missing: Literal["hold", "skip", "error"] = "hold"
    """Driving frames without a face: hold the motion, skip them (the sound stays in time), or stop with an error."""
    crop: bool = False
    """Write only the square around the face."""
    compare: bool = False
    """Write source, driving and result side by side as well, in a file beside the result."""
    size: int | None = None
    """Long side of the result in pixels; without it that of the source, at most 1920."""
    seed: int = 0
    """The same seed gives the same result, bit for bit, on the same machine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.face not in ("largest", "all") and not (self.face.isdecimal() and int(self.face) > 0):
            raise InputError(f"face must be largest, all or a number from 1, got {self.face!r}.")
        if self.size is not None and not 64 <= self.size <= 8192:
            raise InputError(f"size must be from 64 to 8192 pixels, got {self.size}.")


@dataclass(frozen=True)
class TrackOptions(RunOptions):
    """How faces are tracked."""

    overlay: bool = True
    """Write the picture or video with the landmarks drawn on it as well."""


@dataclass(frozen=True)
class TemplateOptions(SystemOptions):
    """What a motion template says about itself; it holds what `system` needs beside the face parameters."""

    origin: str = ""
    """Where the motion comes from, in your words; kept in the file."""
    consent: str = ""
    """Whether and how the person in the video agreed, in your words; kept in the file."""
