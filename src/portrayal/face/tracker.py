"""Face tracking: pictures and videos to landmarks and `FaceParams`.

`Tracker` measures single pictures; `Stream` follows faces from frame to frame (a face keeps its number, is looked for
again when it is lost, and anew after a cut); `track_frames` does a whole video in constant memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from portrayal.errors import InputError
from portrayal.face.box import box_of_landmarks, crop_matrix, overlaps, warp
from portrayal.face.config import Config
from portrayal.face.detect import Detections, detect_faces, suppress
from portrayal.face.morphable import FaceModel, fit_params, load_face_model
from portrayal.face.networks import TrackerNet, build
from portrayal.types import FaceParams, Frame, Track
from portrayal.weights.registry import load_embedded

FOUND = 0.5
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
    def cat(parts: list[FaceReading]) -> FaceReading:
        return FaceReading(
            torch.cat([p.landmarks for p in parts]),
            torch.cat([p.eye_openness for p in parts]),
            torch.cat([p.confidence for p in parts]),
        )


class Tracker:
    """The embedded networks, ready to measure pictures on one device."""

    def __init__(self, net: TrackerNet, config: Config, model: FaceModel, device: torch.device) -> None:
        self.config, self.model, self.device = config, model, device
        self.net = net.eval().to(device).requires_grad_(False)
        _fuse(self.net)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def detect(self, picture: NDArray[np.uint8], *, largest_side: int | None = None) -> Detections:
        """Face boxes of a picture, not yet confirmed by landmarks."""
        limits = {} if largest_side is None else {"largest_side": largest_side}
        return detect_faces(self.net.detector, picture, face_sizes=self.config.face_sizes, **limits)

    @torch.inference_mode()
    def measure(self, pictures: list[NDArray[np.uint8]], boxes: NDArray[np.float64]) -> FaceReading:
        """Landmarks of one face in each picture.

        Args:
            pictures: n pictures (h, w, 3) uint8 RGB (the same one may come several times).
            boxes: (n, 4) x, y, side, roll.
        """
        size, margin = self.config.crop_size, np.array([1, 1, self.config.crop_margin, 1])
        matrices = [crop_matrix(box * margin, size) for box in boxes]
        crops = np.stack([warp(p, m, (size, size)) for p, m in zip(pictures, matrices, strict=True)])
        tensor = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float().div(255)
        found = self.net.landmarks(tensor)
        landmarks = crop_to_picture(found.landmarks.cpu(), torch.from_numpy(np.stack(matrices)), size)
        return FaceReading(landmarks, found.eye_openness.cpu().clamp_min(0), found.confidence.sigmoid().cpu())

    def estimate(self, pictures: Tensor, boxes: NDArray[np.float64]) -> tuple[Tensor, Tensor, Tensor]:
        """`measure` on a batch of tensors, differentiable with respect to the pictures: for training losses.

        Args:
            pictures: (b, 3, h, w) in [0, 1].
            boxes: (b, 4) face boxes x, y, side, roll in pixels.

        Returns:
            landmarks (b, 478, 3) px, eye openness (b, 2), confidence (b,) as a logit.
        """
        h, w = pictures.shape[2:]
        size, margin = self.config.crop_size, np.array([1, 1, self.config.crop_margin, 1])
        matrices = torch.from_numpy(np.stack([crop_matrix(box * margin, size) for box in boxes])).to(pictures)
        square = torch.cat([matrices, matrices.new_tensor([[[0, 0, 1]]]).expand(len(boxes), 1, 3)], 1)
        to_unit = pictures.new_tensor([[2 / w, 0, -1], [0, 2 / h, -1], [0, 0, 1]])
        from_unit = pictures.new_tensor([[size / 2, 0, size / 2], [0, size / 2, size / 2], [0, 0, 1]])
        theta = (to_unit @ torch.linalg.inv(square) @ from_unit)[:, :2]
        grid = F.affine_grid(theta, [len(boxes), 3, size, size], align_corners=False)
        crops = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
        found = self.net.landmarks(crops)
        return crop_to_picture(found.landmarks, matrices, size), found.eye_openness, found.confidence

    def find(self, picture: NDArray[np.uint8], *, largest_side: int | None = None) -> FaceReading:
        """Every face of a picture, largest first: detection, then landmarks read twice, the second time upright."""
        found = self.detect(picture, largest_side=largest_side)
        empty = FaceReading(torch.zeros(0, 478, 3), torch.zeros(0, 2), torch.zeros(0))
        reading = self.measure([picture] * len(found.boxes), found.boxes) if len(found.boxes) else empty
        good = [i for i, c in enumerate(reading.confidence.tolist()) if c > FOUND / 2]
        if not good:
            return empty
        reading = self.measure([picture] * len(good), reading[good].boxes)
        boxes = reading.boxes
        kept = suppress(Detections(boxes, reading.confidence.double().numpy()))
        order = sorted(
            (i for i in range(len(boxes)) if any((boxes[i] == k).all() for k in kept.boxes)), key=lambda i: -boxes[i, 2]
        )
        confidence = reading.confidence.tolist()
        return reading[[i for i in order if confidence[i] > FOUND and boxes[i, 2] >= SMALLEST]]

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


@dataclass
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


def track_frames(tracker: Tracker, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[_Followed]]]:
    """Each frame with its faces (raw readings); nothing is kept."""
    stream = tracker.stream()
    for frame in frames:
        yield frame, stream.read(frame.image)


def track_clip(tracker: Tracker, frames: Iterable[Frame], *, number: int | None = None) -> Track:
    """One face through a whole video; frames where it is missing hold the nearest seen one, with confidence 0.

    Args:
        frames: in order; consumed once, not kept.
        number: of the face; None takes the one seen longest, weighted with its size.

    Raises:
        InputError: no face in any frame.
    """
    readings: dict[int, list[tuple[int, FaceReading]]] = {}
    times: list[Fraction] = []
    width = height = 0
    for i, (frame, faces) in enumerate(track_frames(tracker, frames)):
        times.append(frame.time)
        height, width = frame.image.shape[:2]
        for face in faces:
            readings.setdefault(face.number, []).append((i, face.reading))
    if not readings:
        raise InputError("no face was found in any frame; use a video in which a face is visible")
    if number is None:
        number = max(readings, key=lambda n: sum(float(r.boxes[0, 2]) for _, r in readings[n]))
    seen = readings[number]
    found = torch.zeros(len(times), dtype=torch.bool)
    found[[i for i, _ in seen]] = True
    params = tracker.fit(FaceReading.cat([r for _, r in seen]), width, height)
    nearest = nearest_indices(np.array([i for i, _ in seen]), len(times))
    held = params[torch.from_numpy(nearest)]
    return Track(held.replace(confidence=held.confidence * found), tuple(times), width, height, found)


def nearest_indices(seen: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """For each of `count` frames the position in `seen` (sorted frame numbers) of the nearest one."""
    frames = np.arange(count)
    right = np.searchsorted(seen, frames).clip(0, len(seen) - 1)
    left = (right - 1).clip(0)
    return np.where(np.abs(seen[left] - frames) <= np.abs(seen[right] - frames), left, right)


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


@lru_cache(maxsize=4)
def load_tracker(device: str = "auto") -> Tracker:
    """The embedded tracker.

    Args:
        device: cpu, cuda, mps or auto (the first of cuda, mps, cpu that there is).
    """
    tensors, config = load_embedded("tracker", Config)
    net = build(config)
    net.load_state_dict(tensors)
    return Tracker(net, config, load_face_model(), pick_device(device))


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


def _fuse(module: torch.nn.Module) -> None:
    """Fold each batch norm into the convolution before it."""
    for name, child in module.named_children():
        parts = list(child.children()) if isinstance(child, torch.nn.Sequential) else []
        if len(parts) == 2 and isinstance(parts[0], torch.nn.Conv2d) and isinstance(parts[1], torch.nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(parts[0], parts[1]))
        else:
            _fuse(child)
