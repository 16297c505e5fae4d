"""What a user can choose, each default once: the command line and Python take both from here.

This module imports nothing heavy, so that `--help` stays fast.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

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


AVATAR_SUFFIX = ".avatar.safetensors"
"""Of files that hold a portrait as a system has encoded and tuned it."""


@dataclass(frozen=True)
class PortraitOptions(SystemOptions):
    """What is shown and kept of the portrait."""

    crop: bool = False
    """Write only the square around the face."""
    background: str = "keep"
    """What is behind the head: keep leaves it to the system; photo is the photo's own, filled in where the head was; a
    colour such as "#00ff00" (with the quotes) or a picture file fill the square around the face, which is then all that
    is written. For systems that know what of their picture is head."""
    keep_avatar: Path | None = None
    """Write the portrait as the system has it as well, into a file *.avatar.safetensors that -s takes instead of the
    photo; for systems that are tuned to one portrait."""

    @property
    def is_square(self) -> bool:
        """Whether the result is the square around the face."""
        return self.crop or self.background not in ("keep", "photo")

    def check_one_face(self, faces: int) -> None:
        """
        Raises:
            InputError: several faces move, and the square shows one.
        """
        if self.is_square and faces > 1:
            asked = "--crop" if self.crop else f"--background {self.background}"
            raise InputError(f"{asked} shows one face, --face all moves several; leave one of them out.")


def check_avatar_name(path: Path | None) -> None:
    """
    Raises:
        InputError: another ending than that of avatars.
    """
    if path is not None and not path.name.endswith(AVATAR_SUFFIX):
        raise InputError(f"{path}: an avatar must be named *{AVATAR_SUFFIX}.")


def check_background(background: str) -> None:
    """
    Raises:
        InputError: a colour that is none, or nothing at all.
    """
    if not background or (background.startswith("#") and not re.fullmatch("#[0-9a-fA-F]{6}", background)):
        raise InputError(
            f"background must be keep, photo, a picture file or a colour of six hex digits such as #00ff00, "
            f"got {background!r}."
        )


def check_face_and_size(face: str, size: int | None) -> None:
    """
    Raises:
        InputError: a face that is neither largest, all nor a number, or a size in pixels that no picture should have.
    """
    if face not in ("largest", "all") and not (face.isdecimal() and int(face) > 0):
        raise InputError(f"face must be largest, all or a number from 1, got {face!r}.")
    if size is not None and not 64 <= size <= 8192:
        raise InputError(f"size must be from 64 to 8192 pixels, got {size}.")


@dataclass(frozen=True)
class AnimateOptions(PortraitOptions, RetargetOptions):
    """How a portrait is animated; `RetargetOptions` holds what concerns the motion."""

    face: str = "largest"
    """Which face of the source moves: largest, all, or its number counted from the left, from 1."""
    missing: Literal["hold", "skip", "error"] = "hold"
    """Driving frames without a face: hold the motion, skip them (the sound stays in time), or stop with an error."""
    compare: bool = False
    """Write source, driving and result side by side as well, in a file beside the result."""
    size: int | None = None
    """Long side of the result in pixels; without it that of the source, at most 1920."""
    seed: int = 0
    """The same seed gives the same result, bit for bit, on the same machine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_face_and_size(self.face, self.size)
        check_avatar_name(self.keep_avatar)
        check_background(self.background)


SWEEPS: dict[str, tuple[float, float]] = {
    "yaw": (-25, 25),
    "pitch": (-20, 20),
    "roll": (-25, 25),
    "zoom": (0.8, 1.25),
    "shift-x": (-0.4, 0.4),
    "shift-y": (-0.3, 0.3),
    "smile": (-0.6, 1.2),
    "mouth-open": (0, 1),
    "blink": (0, 1),
    "brow": (-1, 1),
    "gaze-x": (-25, 25),
    "gaze-y": (-15, 15),
}
"""What can be swept, and over which range without another one; units as in `EditOptions`."""
Sweep = Literal[
    "yaw", "pitch", "roll", "zoom", "shift-x", "shift-y", "smile", "mouth-open", "blink", "brow", "gaze-x", "gaze-y"
]
LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("yaw", "pitch", "gaze-x", "gaze-y"), (-90, 90)),
    "roll": (-180, 180),
    "zoom": (0.2, 5),
    **dict.fromkeys(("shift-x", "shift-y"), (-5, 5)),
    **dict.fromkeys(("smile", "mouth-open", "blink", "brow"), (-2, 2)),
}
ALONG_LIMITS = (-2.0, 2.0)
"""Of a single learned direction."""


def _check_number(name: str, value: float, limits: tuple[float, float]) -> None:
    low, high = limits
    if not low <= value <= high:
        raise InputError(f"{name} must be from {low:g} to {high:g}, got {value:g}.")


@dataclass(frozen=True)
class EditOptions(PortraitOptions):
    """What is changed in a portrait: numbers on top of what it shows; angles in degrees."""

    yaw: float = 0.0
    """Turn the head; positive turns the nose to the picture's left."""
    pitch: float = 0.0
    """Nod; positive looks down."""
    roll: float = 0.0
    """Tilt; positive is clockwise in the picture."""
    zoom: float = 1.0
    """Size of the head; 1 keeps it."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Move the head to the right and down, in distances of the eyes."""
    smile: float = 0.0
    """1 is a broad smile, negative is sad."""
    mouth_open: float = 0.0
    """1 is wide open."""
    blink: float = 0.0
    """1 shuts both eyes."""
    brow: float = 0.0
    """1 raises the brows, -1 frowns."""
    gaze_x: float = 0.0
    """Turn the eyes to the picture's right."""
    gaze_y: float = 0.0
    """Turn the eyes down."""
    take: Literal["all", "rotation", "translation", "scale", "expression", "identity"] = "all"
    """What is taken from the picture that --from or --interpolate names. identity, with --interpolate: the person
    changes and the motion stays; for systems that can mix two persons."""
    motion: Literal["absolute", "relative"] = "absolute"
    """absolute copies what that picture shows; relative adds its change since --reference, a picture of the same
    person."""
    sweep: Sweep | None = None
    """Change this there and back, as a video, with a sheet of pictures beside it."""
    range: tuple[float, float] | None = None
    """Smallest and largest value of the sweep; without it a usual range."""
    steps: int = 7
    """Pictures on the sheet of a sweep or an interpolation."""
    frames: int = 50
    """Frames of their video, 25 per second."""
    along: str | None = None
    """Move along one direction that the system has learned, such as expression-3: there and back, as a sweep."""
    amount: float | None = None
    """With --along or --interpolate: one picture, moved so far. Of a direction 1 and -1 are the ends of what was
    learned; of an interpolation 1 is the other picture."""
    sample_expression: int = 0
    """Draw so many expressions at random, on one sheet; for systems that learned a distribution of them."""
    canonical: bool = False
    """Write the canonical face: neutral, from the front; for systems that have one."""
    depth: bool = False
    """Write how near the head is, nearest bright: of one picture a 16-bit PNG beside it, of a sweep a row on its sheet;
    for systems that make heads in space."""
    face: str = "largest"
    """Which face changes: largest, all, or its number counted from the left, from 1."""
    size: int | None = None
    """Long side of the result in pixels; without it that of the source, at most 1920."""
    seed: int = 0
    """Of the random expressions."""

    def __post_init__(self) -> None:
        check_face_and_size(self.face, self.size)
        check_avatar_name(self.keep_avatar)
        check_background(self.background)
        if self.canonical and self.background != "keep":
            raise InputError("--canonical has no background to change; leave --background out.")
        if self.depth and (self.sample_expression or self.canonical):
            raise InputError("--depth is that of an edit or a sweep; leave out --sample-expression and --canonical.")
        for name in SWEEPS:
            _check_number(name, self.number(name), LIMITS[name])
        if self.range is not None:
            if self.sweep is None and self.along is None:
                raise InputError("--range is that of a sweep; say which with --sweep, for example --sweep yaw.")
            for value in self.range:
                _check_number(self.sweep or "along", value, LIMITS[self.sweep] if self.sweep else ALONG_LIMITS)
        if self.amount is not None:
            _check_number("amount", self.amount, ALONG_LIMITS if self.along is not None else (0.0, 1.0))
        if self.steps < 2 or self.frames < 2:
            raise InputError(f"steps and frames must be at least 2, got {self.steps} and {self.frames}.")
        if not 0 <= self.sample_expression <= 64:
            raise InputError(f"sample-expression must be from 1 to 64, got {self.sample_expression}.")

    def number(self, name: str) -> float:
        """The value of a key of `SWEEPS`."""
        if name.startswith("shift-"):
            return self.shift["xy".index(name[-1])]
        return float(getattr(self, name.replace("-", "_")))

    def with_number(self, name: str, value: float) -> EditOptions:
        """The same with another value of a key of `SWEEPS`."""
        if name == "shift-x":
            return replace(self, shift=(value, self.shift[1]))
        if name == "shift-y":
            return replace(self, shift=(self.shift[0], value))
        changes: dict[str, Any] = {name.replace("-", "_"): value}
        return replace(self, **changes)


@dataclass(frozen=True)
class MeshOptions(SystemOptions):
    """How the head of a photo becomes a 3D model."""

    face: str = "largest"
    """Which face: largest, or its number counted from the left, from 1."""
    resolution: int = 128
    """Cells along a side of the cube around the head; twice as many take eight times as long."""

    def __post_init__(self) -> None:
        check_face_and_size(self.face, None)
        if self.face == "all":
            raise InputError("a mesh is one head; choose a face with --face largest or its number.")
        if not 16 <= self.resolution <= 512:
            raise InputError(f"resolution must be from 16 to 512 cells, got {self.resolution}.")


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
