"""The square around a face: one fixed similarity for a whole clip, so that the crop neither jitters nor wobbles.

Convention: pixels x right, y down, pixel centres at half integers, in the picture and in the crop. OpenCV counts pixel
centres at integers; only this file converts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portrayal.face.camera import camera_from_pose
from portrayal.face.pose import angles_to_rotation
from portrayal.media.image import UInt8, check_rgb
from portrayal.types import FaceParams

Matrix = NDArray[np.float64]

_RIGHT_EYE, _LEFT_EYE = (33, 133), (362, 263)
"""Eye corners in the 478-point topology; "right" is the person's."""


@dataclass(frozen=True)
class Crop:
    """A similarity from picture pixels to the pixels of a square crop."""

    matrix: Matrix
    """(2, 3): crop = matrix @ (x, y, 1)."""
    size: int
    """Side of the crop in pixels."""

    def __post_init__(self) -> None:
        m = self.matrix
        if m.shape != (2, 3) or not np.allclose([m[0, 0], m[0, 1]], [m[1, 1], -m[1, 0]]) or self.scale == 0:
            raise ValueError(f"Crop.matrix must be a (2, 3) similarity without reflection, got {m.tolist()}")

    @property
    def scale(self) -> float:
        """Crop pixels per picture pixel."""
        return math.hypot(self.matrix[0, 0], self.matrix[1, 0])

    @property
    def angle(self) -> float:
        """Radians by which the picture is turned clockwise in the crop."""
        return math.atan2(self.matrix[1, 0], self.matrix[0, 0])

    @property
    def inverse(self) -> Matrix:
        """(2, 3): picture = inverse @ (x, y, 1)."""
        linear = np.linalg.inv(self.matrix[:, :2])
        return np.concatenate([linear, -linear @ self.matrix[:, 2:]], axis=1)


def crop_around(
    landmarks: Tensor,
    *,
    size: int = 512,
    scale: float = 2.3,
    shift_y: float = -0.1,
    upright: bool = False,
) -> Crop:
    """The one crop that shows a face in all frames.

    Its side is `scale` x the median side of the face's box, or 1.25 x the box of all frames together where the head
    moves so much that this is larger. Its centre is that of the box of all frames, moved by `shift_y` sides.

    Args:
        landmarks: (t, 478, 3) pixels of the picture.
        size: side of the crop in pixels.
        shift_y: negative moves the crop up, to show the hair.
        upright: also turn the crop so that the eyes are level on average.

    Raises:
        ValueError: no frame, or landmarks that are not finite or all at one point.
    """
    points = landmarks[..., :2].detach().double().cpu().numpy()
    if len(points) == 0 or not np.isfinite(points).all():
        raise ValueError("crop_around needs at least one frame with finite landmarks")
    angle = _eye_line(points) if upright else 0.0
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    points = points @ turn.T
    low, high = points.min(1), points.max(1)  # (t, 2)
    face = float(np.median((high - low).max(-1)))
    low, high = low.min(0), high.max(0)
    side = max(scale * face, 1.25 * float((high - low).max()))
    if side <= 0:
        raise ValueError("crop_around needs landmarks that span an area")
    centre = (low + high) / 2 + [0, shift_y * side]
    linear = size / side * turn
    shift = size / 2 - size / side * centre
    return Crop(np.concatenate([linear, shift[:, None]], axis=1), size)


def apply_crop(image: UInt8, crop: Crop) -> UInt8:
    """Cut the crop out of (h, w, 3) uint8 RGB; outside the picture its border is repeated.

    Returns:
        (size, size, 3) uint8; reduced without aliasing, enlarged bicubically.
    """
    check_rgb(image)
    image, matrix = cut_out(image, crop)
    return warp(image, matrix, (crop.size, crop.size))


def points_to_crop(points: Tensor, crop: Crop) -> Tensor:
    """(..., 2 or 3) picture pixels to crop pixels; z, if there, is scaled alike."""
    return _transform(points, crop.matrix, crop.scale)


def points_to_picture(points: Tensor, crop: Crop) -> Tensor:
    """The inverse of `points_to_crop`."""
    return _transform(points, crop.inverse, 1 / crop.scale)


def params_to_crop(params: FaceParams, crop: Crop) -> FaceParams:
    """The same face in pixels of the crop: landmarks, rotation, translation, scale and camera follow; the rest stays.

    Args:
        params: in pixels of the picture.
    """
    return _move(params, crop.matrix, crop.scale, crop.angle, width=crop.size, height=crop.size)


def params_to_picture(params: FaceParams, crop: Crop, *, width: int, height: int) -> FaceParams:
    """The inverse of `params_to_crop`, for a picture of that width and height in pixels."""
    return _move(params, crop.inverse, 1 / crop.scale, -crop.angle, width=width, height=height)


def cut_out(image: UInt8, crop: Crop) -> tuple[UInt8, Matrix]:
    """The part of `image` that `crop` shows, reduced to at most twice the crop's resolution, and its crop matrix."""
    h, w = image.shape[:2]
    corners = crop.inverse @ np.array([[0, crop.size, crop.size, 0], [0, 0, crop.size, crop.size], [1, 1, 1, 1]])
    x0, y0 = (int(v) for v in np.clip(np.floor(corners.min(1)) - 4, 0, [w - 1, h - 1]))
    x1, y1 = (int(v) for v in np.clip(np.ceil(corners.max(1)) + 4, [x0 + 1, y0 + 1], [w, h]))
    part, matrix = image[y0:y1, x0:x1], crop.matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ [x0, y0]
    reduce = int(1 / crop.scale)
    if reduce >= 2:
        padded = cv2.copyMakeBorder(part, 0, -part.shape[0] % reduce, 0, -part.shape[1] % reduce, cv2.BORDER_REPLICATE)
        size = (padded.shape[1] // reduce, padded.shape[0] // reduce)
        part = np.asarray(cv2.resize(padded, size, interpolation=cv2.INTER_AREA), np.uint8)
        matrix[:, :2] *= reduce
    return part, matrix


def picture_window(image: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """What of a crop shows the picture: without the lines at its borders that only repeat the picture's last one.

    Args:
        image: (h, w, 3) in [0, 1]. Plain lines count as picture: there is nothing in them that could be seen to move.

    Returns:
        x0, y0, x1, y1.
    """
    height, width = image.shape[:2]
    top, bottom = _repeated(image), _repeated(image[::-1])
    left, right = _repeated(image.swapaxes(0, 1)), _repeated(image[:, ::-1].swapaxes(0, 1))
    return left, top, width - right, height - bottom


def _repeated(image: NDArray[np.float32]) -> int:
    """How many rows from the top equal the next one, at most a third of them; 0 where they are plain."""
    limit = len(image) // 3
    different = (image[1 : limit + 1] != image[:limit]).any((1, 2))
    count = int(different.argmax()) if different.any() else limit
    return count if np.ptp(image[0], axis=0).max() > 0.03 else 0


def warp(image: UInt8, matrix: Matrix, size: tuple[int, int]) -> UInt8:
    """Resample `image` with a (2, 3) matrix from its pixels to those of the result, (width, height) `size`."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    enlarges = math.hypot(matrix[0, 0], matrix[1, 0]) > 1.05
    method = cv2.INTER_CUBIC if enlarges else cv2.INTER_LINEAR
    return np.asarray(cv2.warpAffine(image, shifted, size, flags=method, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def warp_map(values: NDArray[np.float32], matrix: Matrix, size: tuple[int, int]) -> NDArray[np.float32]:
    """`warp` of (h, w) numbers; 0 outside, and bilinear."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    return np.asarray(cv2.warpAffine(values, shifted, size, flags=cv2.INTER_LINEAR, borderValue=0), np.float32)


def scaling(side: int, wanted: int) -> Crop:
    """The whole of a square picture with another side."""
    return Crop(np.array([[wanted / side, 0, 0], [0, wanted / side, 0]]), wanted)


def _eye_line(points: Matrix) -> float:
    """Mean angle of the line through the eyes' middles in (t, 478, 2), radians, clockwise."""
    right, left = points[:, _RIGHT_EYE].mean(1), points[:, _LEFT_EYE].mean(1)
    direction = (left - right) / np.linalg.norm(left - right, axis=-1, keepdims=True).clip(1e-9)
    x, y = direction.mean(0)
    return math.atan2(y, x)


def _transform(points: Tensor, matrix: Matrix, scale: float) -> Tensor:
    linear, shift = torch.from_numpy(matrix[:, :2]).to(points), torch.from_numpy(matrix[:, 2]).to(points)
    return torch.cat([points[..., :2] @ linear.T + shift, points[..., 2:] * scale], -1)


def _move(params: FaceParams, matrix: Matrix, scale: float, angle: float, *, width: int, height: int) -> FaceParams:
    """Carry a face along a similarity of the picture that enlarges by `scale` and turns clockwise by `angle`."""
    roll = angles_to_rotation(params.rotation.new_tensor([0.0, 0.0, angle]))
    rotation, size = roll @ params.rotation, params.scale * scale
    translation = _transform(params.translation, matrix, scale)
    return params.replace(
        landmarks=_transform(params.landmarks, matrix, scale),
        rotation=rotation,
        translation=translation,
        scale=size,
        camera=camera_from_pose(rotation, translation, size, width=width, height=height),
    )
