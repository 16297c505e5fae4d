"""MediaPipe's Face Landmarker as a tracker: an optional package whose model file comes through the weights registry.

Its detector sees the whole picture at 128 x 128, so that faces narrower than about a tenth of the picture are missed;
the embedded tracker finds them. It runs on the CPU and tells no confidence: 1 where it found a face, 0 where not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from portrayal.errors import InputError, PortrayalError
from portrayal.face.box import box_of_landmarks, crop_matrix, overlaps, transform_points, warp
from portrayal.face.measure import eye_openness
from portrayal.face.morphable import FaceModel, load_face_model
from portrayal.face.tracker import SMALLEST, FaceReading, Tracker, crop_to_picture
from portrayal.weights.registry import find_weights

WEIGHTS = "mediapipe-face-landmarker"
MOST_FACES = 8
"""Faces that are looked for in one picture."""
CROP_MARGIN = 2.0
"""Side of the crop that is measured / side of the face box; the detector wants some surroundings."""
CROP_SIZE = 384
"""Side of that crop in its own pixels: what the landmark network then reads of it is about its 256 x 256."""
SAME_FACE = 0.2
"""Least overlap (intersection over union) of a face found in a crop with the box that the crop was made around."""

Landmarker = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""A picture (h, w, 3) uint8 RGB, contiguous, to the landmarks (n, 478, 3) of its n faces: x and y in [0, 1] across and
down the picture, z in the unit of x."""


class MediapipeTracker(Tracker):
    """Faces measured by a MediaPipe landmarker."""

    def __init__(self, landmarker: Landmarker, model: FaceModel) -> None:
        super().__init__(model)
        self.landmarker = landmarker
        mean = model.mean.cpu().numpy()
        self.mean_in_box = transform_points(mean, crop_matrix(box_of_landmarks(mean), 2)) - np.array(
            [1, 1, 0], np.float32
        )
        """(478, 3) the mean face in its face box, [-1, 1]."""

    def find(self, picture: NDArray[np.uint8], *, largest_side: int | None = None) -> FaceReading:
        """Every face of a picture, largest first.

        Args:
            picture: (h, w, 3) uint8 RGB.
            largest_side: not used: MediaPipe reduces pictures itself.
        """
        h, w = picture.shape[:2]
        if min(h, w) < SMALLEST:
            return FaceReading.none()
        reading = _reading(self._look(picture) * np.array([w, h, w], np.float32))
        sides = reading.boxes[:, 2]
        return reading[[int(i) for i in np.argsort(-sides, kind="stable") if sides[i] >= SMALLEST]]

    def measure(self, pictures: list[NDArray[np.uint8]], boxes: NDArray[np.float64]) -> FaceReading:
        """Landmarks of the face at a box, in each picture.

        Args:
            pictures: n pictures (h, w, 3) uint8 RGB (the same one may come several times).
            boxes: (n, 4) x, y, side, roll of where the face is about.

        Returns:
            One face for each picture; where none was found the mean face in the box, with confidence 0.
        """
        parts = [self._measure(picture, box) for picture, box in zip(pictures, boxes, strict=True)]
        return FaceReading.cat(parts) if parts else FaceReading.none()

    def _measure(self, picture: NDArray[np.uint8], box: NDArray[np.float64]) -> FaceReading:
        """The face in an upright crop around the box that overlaps the box most, as n = 1."""
        matrix = crop_matrix(box * np.array([1, 1, CROP_MARGIN, 1]), CROP_SIZE)
        found = self._look(warp(picture, matrix, (CROP_SIZE, CROP_SIZE)))
        if len(found):
            in_crop = torch.from_numpy(found) * 2 - torch.tensor([1.0, 1.0, 0.0])
            matrices = torch.from_numpy(matrix).expand(len(found), 2, 3)
            reading = _reading(crop_to_picture(in_crop, matrices, CROP_SIZE).numpy())
            overlap = overlaps(reading.boxes, box[None])[:, 0]
            if overlap.max() > SAME_FACE:
                return reading[int(overlap.argmax())]
        in_box = torch.from_numpy(self.mean_in_box)[None]
        absent = _reading(crop_to_picture(in_box, torch.from_numpy(crop_matrix(box, 2))[None], 2).numpy())
        return FaceReading(absent.landmarks, absent.eye_openness, torch.zeros(1))

    def _look(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.landmarker(np.ascontiguousarray(picture))


def _reading(landmarks: NDArray[np.float32]) -> FaceReading:
    """Faces that were found, (n, 478, 3) pixels."""
    points = torch.from_numpy(landmarks.astype(np.float32))
    return FaceReading(points, eye_openness(points), torch.ones(len(points)))


@lru_cache(maxsize=1)
def load_mediapipe_tracker() -> MediapipeTracker:
    """The tracker on the model file of the weights registry.

    Raises:
        InputError: the package mediapipe or the model file is missing.
        PortrayalError: they are there but do not work.
    """
    return MediapipeTracker(open_landmarker(), load_face_model())


def open_landmarker(path: Path | None = None) -> Landmarker:
    """MediaPipe's landmarker for single pictures.

    Args:
        path: the model file; None is the one of the weights registry.

    Raises:
        InputError: the package mediapipe or the model file is missing.
        PortrayalError: they are there but do not work.
    """
    try:
        from mediapipe import Image, ImageFormat
        from mediapipe.tasks.python import BaseOptions
        from mediapipe.tasks.python.vision import FaceLandmarker, FaceLandmarkerOptions, RunningMode
    except ModuleNotFoundError as error:
        if error.name != "mediapipe":
            raise PortrayalError(f"mediapipe cannot be used: {error}; install it again") from error
        raise InputError('the mediapipe tracker needs its package; run: pip install "portrayal[mediapipe]"') from None
    path = path or find_weights(WEIGHTS)
    try:
        # As bytes, because MediaPipe fails on absolute paths on Windows (its issue 5343).
        model = BaseOptions(model_asset_buffer=path.read_bytes())
        options = FaceLandmarkerOptions(base_options=model, running_mode=RunningMode.IMAGE, num_faces=MOST_FACES)
        landmarker = FaceLandmarker.create_from_options(options)
    except (OSError, RuntimeError, ValueError) as error:
        raise PortrayalError(
            f"{path}: mediapipe cannot use this model ({error}); delete it and get it again"
        ) from error

    def look(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        faces = landmarker.detect(Image(image_format=ImageFormat.SRGB, data=picture)).face_landmarks
        return np.array([[(p.x, p.y, p.z) for p in face] for face in faces], np.float32).reshape(-1, 478, 3)

    return look
