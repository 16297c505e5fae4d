"""Face tracking: pictures and videos to landmarks and `FaceParams`.

`Tracker` measures single pictures, with the embedded networks or with MediaPipe; `Stream` follows faces from frame to
frame (a face keeps its number, is looked for again when it is lost, and anew after a cut). `portrayal.tracking` does
whole files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Literal, overload

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portrayal.errors import InputError
from portrayal.face.box import box_of_landmarks, overlaps
from portrayal.face.morphable import FaceModel, fit_params
from portrayal.types import FaceParams, Frame

if TYPE_CHECKING:
    from portrayal.face.embedded_tracker import EmbeddedTracker

Backend = Literal["portrayal", "mediapipe"]
"""Whose networks measure."""
FOUND = 0.8
"""Least confidence for a face that the detector proposes."""
FOLLOWED = 0.3
"""Least confidence to go on following a face."""
SMALLEST = 12.0
"""Side of a face box in pixels below which landmarks mean nothing."""
SEARCH_EVERY = 25
"""Frames after which a stream looks for further faces."""
REMEMBERED = 75
"""Frames for which a lost face keeps its number."""
STREAM_SIDE = 640
"""Frames of a stream are searched for faces at this size."""


@dataclass(frozen=True)
class FaceReading:
    """Raw measurements of n faces in one picture."""

    landmarks: Tensor
    """(n, 478, 3) pixels of the picture."""
    eye_openness: Tensor
    """(n, 2)."""
    confidence: Tensor
    """(n,) in [0, 1]."""

    def __len__(self) -> int:
        return self.landmarks.shape[0]

    def __getitem__(self, index: int | list[int]) -> FaceReading:
        index = [index] if isinstance(index, int) else index
        return FaceReading(self.landmarks[index], self.eye_openness[index], self.confidence[index])

    @property
    def boxes(self) -> NDArray[np.float64]:
        """(n, 4) face boxes."""
        return np.array([box_of_landmarks(p) for p in self.landmarks.numpy()]).reshape(-1, 4)

    @staticmethod
    def none() -> FaceReading:
        """No face."""
        return FaceReading(torch.zeros(0, 478, 3), torch.zeros(0, 2), torch.zeros(0))

    @staticmethod
    def cat(parts: list[FaceReading]) -> FaceReading:
        return FaceReading(
            torch.cat([p.landmarks for p in parts]),
            torch.cat([p.eye_openness for p in parts]),
            torch.cat([p.confidence for p in parts]),
        )


class Tracker(ABC):
    """Measures faces in pictures; what does not depend on the network that does it."""

    batch = 1
    """Frames of a video that are best read at once."""

    def __init__(self, model: FaceModel) -> None:
        self.model = model

    @abstractmethod
    def find(self, picture: NDArray[np.uint8], *, largest_side: int | None = None) -> FaceReading:
        """Every face of a picture, largest first.

        Args:
            picture: (h, w, 3) uint8 RGB.
            largest_side: pixels; a longer picture may be searched at this size.
        """

    @abstractmethod
    def measure(self, pictures: list[NDArray[np.uint8]], boxes: NDArray[np.float64]) -> FaceReading:
        """Landmarks of one face in each picture.

        Args:
            pictures: n pictures (h, w, 3) uint8 RGB (the same one may come several times).
            boxes: (n, 4) x, y, side, roll of where the face is about.

        Returns:
            One face for each picture, in their order; low confidence where there is none.
        """

    def track_picture(self, picture: NDArray[np.uint8]) -> list[FaceParams]:
        """Every face of a picture, largest first, each with t = 1.

        Args:
            picture: (h, w, 3) uint8 RGB.
        """
        reading = self.find(picture)
        return [self.fit(reading[i], picture.shape[1], picture.shape[0]) for i in range(len(reading))]

    def fit(self, reading: FaceReading, width: int, height: int, *, identity: Tensor | None = None) -> FaceParams:
        """Frames of one face to `FaceParams`; the identity is shared unless given."""
        return fit_params(
            self.model,
            reading.landmarks,
            width=width,
            height=height,
            confidence=reading.confidence,
            eye_openness=reading.eye_openness,
            identity=identity,
        )

    def stream(self) -> Stream:
        """Follow faces through a video or a camera."""
        return Stream(self)


@dataclass(frozen=True)
class TrackedFace:
    """One face of one frame."""

    number: int
    """The same for the same face in all frames."""
    reading: FaceReading
    """n = 1."""
    params: FaceParams
    """t = 1."""


@dataclass(frozen=True)
class Sighting:
    """One face of one frame, as it was measured."""

    number: int
    """The same for the same face in all frames."""
    reading: FaceReading
    """n = 1."""


@dataclass(eq=False)
class _Followed:
    number: int
    reading: FaceReading
    identity: Tensor | None = None
    """Running mean of the identity coefficients."""
    frames: int = 0
    lost: int = 0
    """Frames since it was last seen."""


@dataclass
class Stream:
    """Faces followed from frame to frame; call `step` with every frame in turn."""

    tracker: Tracker
    followed: list[_Followed] = field(default_factory=list)
    lost: list[_Followed] = field(default_factory=list)
    frame: int = 0
    next_number: int = 0
    thumbnail: NDArray[np.float32] | None = None

    def step(self, picture: NDArray[np.uint8]) -> list[TrackedFace]:
        """The faces of the next frame, largest first.

        Args:
            picture: (h, w, 3) uint8 RGB.
        """
        h, w = picture.shape[:2]
        faces = []
        for face in self.read(picture):
            params = self.tracker.fit(face.reading, w, h, identity=_settled(face))
            weight = 1 / min(face.frames, 50)
            mean = params.identity if face.identity is None else face.identity.lerp(params.identity, weight)
            face.identity = mean
            faces.append(TrackedFace(face.number, face.reading, params))
        return faces

    def read(self, picture: NDArray[np.uint8]) -> list[_Followed]:
        """`step` without fitting the face model."""
        if self._is_cut(picture):
            self._lose(self.followed)
        if self.followed:
            reading = self.tracker.measure([picture] * len(self.followed), self._boxes(self.followed))
            for face, i in zip(list(self.followed), range(len(reading)), strict=True):
                face.reading = reading[i]
            self._lose([f for f in self.followed if not _credible(f.reading)])
            self._drop_doubles()
        if not self.followed or self.frame % SEARCH_EVERY == 0:
            self._search(picture)
        self.frame += 1
        for face in self.followed:
            face.frames += 1
        for face in self.lost:
            face.lost += 1
        self.lost = [f for f in self.lost if f.lost <= REMEMBERED]
        return sorted(self.followed, key=lambda f: -f.reading.boxes[0, 2])

    def read_batch(self, pictures: list[NDArray[np.uint8]]) -> list[list[Sighting]]:
        """The raw readings of consecutive frames, all frames in one batch where the faces stay in sight.

        Each face is read twice, first where it was before these frames, then where the first reading saw it. Where a
        frame is due for a search, follows a cut or loses a face, the frames are read one by one.
        """
        due = any((self.frame + i) % SEARCH_EVERY == 0 for i in range(len(pictures)))
        if due or not self.followed or len(pictures) == 1:
            return [self._sightings(picture) for picture in pictures]
        before = self.thumbnail
        if any(self._is_cut(picture) for picture in pictures):
            self.thumbnail = before
            return [self._sightings(picture) for picture in pictures]
        count, faces = len(pictures), list(self.followed)
        repeated = [picture for picture in pictures for _ in faces]
        reading = self.tracker.measure(repeated, np.tile(self._boxes(faces), (count, 1)))
        reading = self.tracker.measure(repeated, reading.boxes)
        if not all(_credible(reading[i]) for i in range(len(reading))):
            self.thumbnail = before
            return [self._sightings(picture) for picture in pictures]
        for i, face in enumerate(faces):
            face.reading, face.frames = reading[len(reading) - len(faces) + i], face.frames + count
        self.frame += count
        return [
            [Sighting(face.number, reading[t * len(faces) + i]) for i, face in enumerate(faces)] for t in range(count)
        ]

    def _sightings(self, picture: NDArray[np.uint8]) -> list[Sighting]:
        return [Sighting(face.number, face.reading) for face in self.read(picture)]

    def _search(self, picture: NDArray[np.uint8]) -> None:
        """Detect; new faces take the number of a lost one near them, else of any lost one, else a new number."""
        reading = self.tracker.find(picture, largest_side=STREAM_SIDE)
        boxes = reading.boxes
        known = self._boxes(self.followed)
        new = [i for i in range(len(reading)) if not (overlaps(boxes[i : i + 1], known) > 0.3).any()]
        for i in new:
            near = sorted(self.lost, key=lambda f: float(-overlaps(f.reading.boxes, boxes[i : i + 1])[0, 0]))
            if near:
                face = near[0]
                self.lost.remove(face)
                face.reading, face.lost = reading[i], 0
            else:
                face = _Followed(self.next_number, reading[i])
                self.next_number += 1
            self.followed.append(face)

    def _lose(self, faces: list[_Followed]) -> None:
        self.lost += [_Followed(f.number, f.reading, f.identity, f.frames) for f in faces]
        self.followed = [f for f in self.followed if f not in faces]

    def _drop_doubles(self) -> None:
        """Two tracks on one face: the older stays."""
        kept: list[_Followed] = []
        for face in sorted(self.followed, key=lambda f: f.number):
            if all(overlaps(face.reading.boxes, k.reading.boxes)[0, 0] < 0.5 for k in kept):
                kept.append(face)
        self.followed = kept

    @staticmethod
    def _boxes(faces: list[_Followed]) -> NDArray[np.float64]:
        return np.concatenate([f.reading.boxes for f in faces]) if faces else np.zeros((0, 4))

    def _is_cut(self, picture: NDArray[np.uint8]) -> bool:
        """A sudden change of the whole picture."""
        small = cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self.thumbnail = self.thumbnail, small
        return before is not None and float(np.abs(small - before).mean()) > 30.0


def track_frames(tracker: Tracker, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[Sighting]]]:
    """Each frame with its faces, `Tracker.batch` frames at a time; nothing is kept."""
    stream = tracker.stream()
    rest = iter(frames)
    while chunk := list(islice(rest, tracker.batch)):
        yield from zip(chunk, stream.read_batch([frame.image for frame in chunk]), strict=True)


def crop_to_picture(landmarks: Tensor, matrices: Tensor, size: int) -> Tensor:
    """Landmarks in [-1, 1] of crops to pixels of their pictures.

    Args:
        landmarks: (n, k, 3).
        matrices: (n, 2, 3) picture to crop.
        size: side of the crops in pixels.
    """
    matrices = matrices.to(landmarks)
    scale = torch.linalg.det(matrices[:, :, :2]).abs().sqrt()[:, None, None]
    xy = (landmarks[..., :2] + 1) * (size / 2) - matrices[:, None, :, 2]
    xy = xy @ torch.linalg.inv(matrices[:, :, :2]).mT
    return torch.cat([xy, landmarks[..., 2:] * (size / 2) / scale], -1)


@overload
def load_tracker(device: str = "auto", backend: Literal["portrayal"] = "portrayal") -> EmbeddedTracker: ...
@overload
def load_tracker(device: str = "auto", *, backend: Backend) -> Tracker: ...
@overload
def load_tracker(device: str, backend: Backend) -> Tracker: ...
def load_tracker(device: str = "auto", backend: Backend = "portrayal") -> Tracker:
    """A tracker, loaded once per process.

    Args:
        device: cpu, cuda, mps or auto (the first of cuda, mps, cpu that there is); mediapipe always runs on the CPU.
        backend: portrayal is the embedded network; mediapipe is Google's Face Landmarker, an optional package.

    Raises:
        InputError: an unknown backend, an unknown or missing device, or mediapipe or its model file is not installed.
    """
    # The networks import this module.
    from portrayal.face.embedded_tracker import load_embedded_tracker
    from portrayal.face.mediapipe_tracker import load_mediapipe_tracker

    if backend == "portrayal":
        return load_embedded_tracker(pick_device(device))
    if backend == "mediapipe":
        return load_mediapipe_tracker()
    raise InputError(f"tracker backend {backend!r} is unknown; use portrayal or mediapipe")


def pick_device(name: str) -> torch.device:
    """`auto` is the first of cuda, mps, cpu that there is.

    Raises:
        InputError: an unknown device, or one that this machine lacks.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device {name} is unknown; use auto, cpu, cuda, cuda:N or mps") from None
    if (device.type == "cuda" and not torch.cuda.is_available()) or (device.type == "mps" and not _has_mps()):
        raise InputError(f"--device {name}: this machine or this build of torch has none; use cpu")
    return device


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _credible(reading: FaceReading) -> bool:
    return float(reading.confidence[0]) > FOLLOWED and float(reading.boxes[0, 2]) >= SMALLEST


def _settled(face: _Followed) -> Tensor | None:
    """The identity, once it rests on enough frames."""
    return face.identity if face.frames > 10 else None
