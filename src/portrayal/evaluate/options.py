"""What can be chosen in an evaluation, each default once. Imports nothing heavy, so that `--help` stays fast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from portrayal.errors import InputError
from portrayal.options import RunOptions

Protocol = Literal["same", "cross", "attributes", "expression-interpolation", "novel-view", "identity-interpolation"]
Layout = Literal["auto", "clips", "voxceleb", "vfhq", "talkinghead", "hdtf", "videos"]
STUDY = "study"
"""In place of a system: the user study kit."""


@dataclass(frozen=True)
class EvaluateOptions(RunOptions):
    """How systems are measured."""

    weights: tuple[Path, ...] = ()
    """Weights files of your own instead of those in the package; each says itself which of the systems it is for."""
    protocol: tuple[Protocol, ...] = ("same", "cross")
    """same: a frame of a clip is driven by that clip; cross: by another person's; attributes: one thing is changed and
    everything is measured; expression-interpolation, novel-view, identity-interpolation: how even and faithful."""
    split: Literal["val", "train", "all"] = "val"
    """Which identities; reported numbers are on val, which nothing was trained on."""
    layout: Layout = "auto"
    """How the data folder is laid out; auto takes clips.csv if there is one, else every video below it."""
    motion: Literal["auto", "absolute", "relative"] = "auto"
    """absolute copies the driving pose and expression, relative adds their change since the reference frame; auto is
    relative to the source frame in same, which reproduces the truth best, and absolute elsewhere, as in the papers."""
    source_frame: Literal["first", "frontal"] = "first"
    """In same: the first frame is driven (MMFA), or a frontal one drawn at random (Export3D)."""
    frames: int = 6
    """Frames measured per clip, in stretches of three neighbours spread over it; 0 is all of them."""
    clips: int = 0
    """Measure only the first so many clips or pairs; 0 is all of them."""
    foreground: bool = False
    """Measure only the face and paint all else white, as Export3D's tables do for methods without a background."""
    figures: bool = False
    """Draw figures as well, PNG and SVG: t-SNE of expressions, error maps, error over time, expression vectors."""
    fresh: bool = False
    """Render and measure again what the output folder holds already."""
    seed: int = 0
    """Of the frontal frames, the pairs of data without a fixed list, and the bootstrap."""

    def __post_init__(self) -> None:
        if self.frames < 0 or self.clips < 0:
            raise InputError(f"frames and clips must not be negative, got {self.frames} and {self.clips}; 0 is all.")
        if not self.protocol:
            raise InputError("say at least one protocol, for example --protocol same cross.")


@dataclass(frozen=True)
class CompareOptions(RunOptions):
    """How systems are shown side by side."""

    systems: tuple[str, ...] = ()
    """Which ones, in this order; without it copy-source and all whose weights are in the package."""
    weights: tuple[Path, ...] = ()
    """Weights files of your own instead of those in the package; each says itself which of the systems it is for."""
    motion: Literal["absolute", "relative"] = "relative"
    """relative adds what the driving face does since its reference frame; absolute copies its pose and expression."""
    frames: int = 0
    """Only the first so many frames; 0 is all of them."""


@dataclass(frozen=True)
class StudyOptions:
    """A user study: make its page, hold it, count it."""

    make: Path | None = None
    """An evaluation's output folder (or any folder with <system>/<clip>.mp4 below it) to make a study of."""
    serve: Path | None = None
    """A study's folder to show to raters in a browser on this machine."""
    tally: Path | None = None
    """A study's folder whose answers to count."""
    kind: Literal["pairwise", "ratings"] = "pairwise"
    """pairwise: which of two is better, selection rates as in directions; ratings: motion and identity from 0 to 10."""
    port: int = 8765
    """Of the page."""
