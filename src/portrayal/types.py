"""The values that travel between the parts: plain frozen dataclasses of tensors.

Conventions (DESIGN, section 4): pixels x right, y down, pixel centres at half integers; head and camera axes x right,
y down, z into the scene (OpenCV); angles in radians; times are exact fractions of a second. Letters: `t` frames,
`h w` picture. Everything in `FaceParams` has the frame first, also for one picture (t = 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from fractions import Fraction
from types import ModuleType
from typing import Any, Protocol, Self, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from portrayal.face.topology import LANDMARKS
from portrayal.motion.options import RetargetOptions

T = TypeVar("T")
D = TypeVar("D", bound="Driving")
IDENTITY_SIZE = 80
EXPRESSION_SIZE = 64


@dataclass(frozen=True)
class FaceParams:
    """One face over `t` frames, as the tracker and the linear face model measure it.

    A landmark is x_px = scale * R @ S + translation, with S in the head frame of `face.morphable` (origin on the
    symmetry plane about 6 cm behind the face, unit: distance of the mean face's outer eye corners).
    """

    landmarks: Tensor
    """(t, 478, 3) pixels of the picture; z in the same unit, smaller is nearer."""
    identity: Tensor
    """(t, 80) coefficients a, unit variance on the training data; equal in all frames of a clip."""
    expression: Tensor
    """(t, 64) coefficients b."""
    rotation: Tensor
    """(t, 3, 3) head to picture."""
    translation: Tensor
    """(t, 3) pixels."""
    scale: Tensor
    """(t,) pixels per head unit."""
    gaze: Tensor
    """(t, 2, 2) (right eye, left eye) x (yaw, pitch), radians, relative to the head."""
    camera: Tensor
    """(t, 25) cam2world row-major and normalised intrinsics."""
    eye_openness: Tensor
    """(t, 2) (right, left): lid distance / eye width; about 0 shut, 0.3 open."""
    confidence: Tensor
    """(t,) probability that this is a face and the landmarks fit it; 0 where the frame has no face."""

    def __post_init__(self) -> None:
        t = self.landmarks.shape[0]
        shapes = {
            "landmarks": (t, LANDMARKS, 3),
            "identity": (t, IDENTITY_SIZE),
            "expression": (t, EXPRESSION_SIZE),
            "rotation": (t, 3, 3),
            "translation": (t, 3),
            "scale": (t,),
            "gaze": (t, 2, 2),
            "camera": (t, 25),
            "eye_openness": (t, 2),
            "confidence": (t,),
        }
        for name, shape in shapes.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"FaceParams.{name} must be {shape}, got {tuple(getattr(self, name).shape)}")

    def __len__(self) -> int:
        return self.landmarks.shape[0]

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Self:
        """Frames `index`; an int keeps the frame axis (t = 1)."""
        if isinstance(index, int):
            index = [index]
        return self.map(lambda x: x[index])

    def map(self, function: Any) -> Self:
        """The same fields, each passed through `function`."""
        return type(self)(**{f.name: function(getattr(self, f.name)) for f in fields(self)})

    def replace(self, **changes: Tensor) -> Self:
        return replace(self, **changes)

    @classmethod
    def cat(cls, parts: Sequence[FaceParams]) -> FaceParams:
        """One after the other in time."""
        return FaceParams(**{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(FaceParams)})


@dataclass(frozen=True)
class Track:
    """One face followed through a picture or a video."""

    params: FaceParams
    times: tuple[Fraction, ...]
    """Presentation time of each frame in seconds."""
    width: int
    height: int
    """Size of the tracked pictures in pixels."""
    found: Tensor
    """(t,) bool: the face was seen in that frame; elsewhere `params` holds the nearest seen frame."""

    def __len__(self) -> int:
        return len(self.params)


@dataclass(frozen=True)
class Portrait:
    """A square crop around one face, with the face's parameters in pixels of the crop."""

    image: Tensor
    """(1, 3, h, w) float32 [0, 1]."""
    params: FaceParams
    """t = 1."""
    moving: bool = False
    """Whether it is a frame of a video: what is completed in it has to be alike in the next one."""

    def require_square(self) -> None:
        """
        Raises:
            ValueError: this is not one square picture with one frame of parameters.
        """
        shape = tuple(self.image.shape)
        if len(shape) != 4 or shape[:2] != (1, 3) or shape[2] != shape[3] or len(self.params) != 1:
            found = f"{shape} and {len(self.params)} faces"
            raise ValueError(f"portrait must be one square (1, 3, s, s) picture with one face, got {found}")


@dataclass(frozen=True)
class FaceClip:
    """Consecutive square crops of one face (all of a short clip or a chunk of a long one)."""

    images: Tensor
    """(t, 3, h, w) float32 [0, 1]."""
    params: FaceParams
    times: tuple[Fraction, ...]


@dataclass(frozen=True)
class Source:
    """What a system keeps of a portrait. Systems derive from it and add tensors."""

    portrait: Portrait

    def notes(self) -> tuple[str, ...]:
        """What whoever gets the result should know about how the portrait was encoded."""
        return ()


@dataclass(frozen=True)
class Driving:
    """What a system keeps of a motion. Systems derive from it and add tensors with time first."""

    params: FaceParams
    times: tuple[Fraction, ...]

    def __len__(self) -> int:
        return len(self.params)

    def __getitem__(self, index: slice) -> Self:
        """A stretch of time."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def pick(self, frames: Sequence[int]) -> Self:
        """Some frames in this order: of every field, also those that a system adds."""
        if list(frames) == list(range(len(self))):
            return self
        return type(self)(**{f.name: _picked(getattr(self, f.name), list(frames)) for f in fields(self)})


def join_drivings(parts: Sequence[D]) -> D:
    """Motions of the same system one after the other in time, in all their fields; at least one."""
    return type(parts[0])(**{f.name: _joined([getattr(p, f.name) for p in parts]) for f in fields(parts[0])})


def own_fields(driving_type: type[Driving]) -> list[str]:
    """Names of the tensors that a system's `Driving` adds."""
    base = {f.name for f in fields(Driving)}
    return [f.name for f in fields(driving_type) if f.name not in base]


def _picked(column: Any, frames: list[int]) -> Any:
    return tuple(column[i] for i in frames) if isinstance(column, tuple) else column[frames]


def _joined(columns: list[Any]) -> Any:
    if isinstance(columns[0], FaceParams):
        return FaceParams.cat(columns)
    return sum(columns, ()) if isinstance(columns[0], tuple) else torch.cat(columns)


def move(value: T, device: torch.device | str) -> T:
    """The same value with every tensor in it on a device: dataclasses, tuples, lists and dictionaries of any depth."""
    return cast(T, _moved(value, device))


def _moved(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        old = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
        changes = {name: new for name, x in old.items() if (new := _moved(x, device)) is not x}
        return replace(value, **changes) if changes else value
    if type(value) in (tuple, list):
        items = [_moved(x, device) for x in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else type(value)(items)
    if type(value) is dict:
        return {key: _moved(x, device) for key, x in value.items()}
    return value


@dataclass(frozen=True)
class Depth:
    """How near what is drawn is to the camera, pixel by pixel."""

    nearness: Tensor
    """(b, 1, h, w) world units (`face.camera`), along the camera's axis, from the plane through the head's origin
    towards the camera; negative behind it."""
    opacity: Tensor
    """(b, 1, h, w) in [0, 1]: where it is 0 nothing with a depth is drawn, and `nearness` means nothing."""


@dataclass(frozen=True)
class Layers:
    """What is drawn, and what of it is head: the rest can be anything, so another background may take its place."""

    picture: Tensor
    """(b, 3, h, w) in [0, 1], the size of the portrait."""
    opacity: Tensor
    """(b, 1, h, w) in [0, 1]: share of the head in each pixel; exactly 0 away from it."""
    person: Tensor | None = None
    """(b, 1, h, w) in [0, 1]: of head, neck and shoulders; None: of the head, since nothing else is known."""


@dataclass(frozen=True)
class Edit:
    """Changes to a portrait by numbers, on top of what it shows. Angles in radians; 0 changes nothing."""

    yaw: float = 0.0
    """Turn about the vertical axis; positive turns the nose to the picture's left."""
    pitch: float = 0.0
    """Nod; positive looks down."""
    roll: float = 0.0
    """Tilt; positive is clockwise in the picture."""
    zoom: float = 1.0
    """Size of the head."""
    shift: tuple[float, float] = (0.0, 0.0)
    """(x, y) in inter-ocular distances."""
    smile: float = 0.0
    """0 as it is, 1 a broad smile, negative sad."""
    mouth_open: float = 0.0
    """0 as it is, 1 wide open."""
    blink: float = 0.0
    """0 as it is, 1 both eyes shut."""
    brow: float = 0.0
    """1 raised, -1 frown."""
    gaze_x: float = 0.0
    """Eyes to the picture's right, radians."""
    gaze_y: float = 0.0
    """Eyes down, radians."""

    def __post_init__(self) -> None:
        for f in fields(self):  # a number of numpy would turn float32 tensors into float64
            value = getattr(self, f.name)
            plain = tuple(map(float, value)) if isinstance(value, tuple) else float(value)
            object.__setattr__(self, f.name, plain)


@dataclass(frozen=True)
class Frame:
    """One decoded picture of a video."""

    image: np.ndarray[Any, np.dtype[np.uint8]]
    """(h, w, 3) uint8 RGB, upright."""
    time: Fraction
    """Presentation time in seconds; the first frame of a file need not be at 0."""
    duration: Fraction | None = None
    """Seconds for which it is shown, None if the file does not say; needed for the last frame only."""


class System(Protocol):
    """What `portrayal.systems.<name>` exports; one entry of `SYSTEMS`."""

    Config: Any
    """Frozen dataclass with the presets tiny(), compact(), paper()."""
    STAGES: dict[str, Any]
    """Named training stages; a system without any needs no weights."""
    CAPABILITIES: frozenset[str]
    DRIVING: type[Driving]
    """What `encode_driving` gives. Its own tensors tell about the face, not where it is in the picture."""

    def build(self, config: Any) -> torch.nn.Module: ...
    def encode_source(self, model: torch.nn.Module, portrait: Portrait) -> Source: ...

    def driving_pixels(self, model: torch.nn.Module) -> int | None:
        """Side of the square crops that `encode_driving` needs, in pixels; None where `FaceParams` are enough."""

    def encode_driving(self, model: torch.nn.Module, clip: FaceClip) -> Driving:
        """Frame by frame: chunks of a clip, encoded one after the other and joined, give what the whole clip gives."""

    def retarget_codes(self, driving: Driving, options: RetargetOptions) -> Driving:
        """Do to a system's own tensors what `options` say; `params` are on the source already (`motion.retarget`).

        Args:
            driving: a whole clip. options: `reference` is the number of a frame of it.
        """

    def render(self, model: torch.nn.Module, source: Source, driving: Driving) -> Iterator[Tensor]: ...


def as_system(module: ModuleType) -> System:
    """A system's package, typed."""
    return cast(System, module)


__all__ = [
    "EXPRESSION_SIZE",
    "IDENTITY_SIZE",
    "Depth",
    "Driving",
    "Edit",
    "FaceClip",
    "FaceParams",
    "Frame",
    "Layers",
    "Portrait",
    "Source",
    "System",
    "Track",
    "as_system",
    "join_drivings",
    "move",
    "own_fields",
]
