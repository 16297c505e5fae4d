"""The face box: a square around the 468 mesh points, turned with the face's roll.

Convention: (x, y, side, roll): centre and side in pixels, roll in radians clockwise. The detector finds it, the
landmark network reads a crop `Config.crop_margin` times as wide, and landmarks give it back.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from portrayal.face.topology import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS

Box = NDArray[np.float64]
"""(4,) x, y, side, roll."""
Matrix = NDArray[np.float64]
"""(2, 3) picture pixels to crop pixels."""


def box_of_landmarks(landmarks: NDArray[np.floating]) -> Box:
    """(478, >=2) pixels to (x, y, side, roll)."""
    xy = np.asarray(landmarks[:468, :2], np.float64)
    roll = _roll(xy)
    axes = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    turned = xy @ axes.T
    low, high = turned.min(0), turned.max(0)
    x, y = axes.T @ ((low + high) / 2)
    return np.array([x, y, (high - low).max(), roll])


def boxes_of_landmarks(landmarks: Tensor) -> NDArray[np.float64]:
    """(n, 4) of landmarks (n, 478, 2 or 3)."""
    return np.stack([box_of_landmarks(points) for points in landmarks.detach().float().cpu().numpy()])


def _roll(xy: NDArray[np.float64]) -> float:
    """From the eyes and the nose-to-chin line, so that profiles, where the eyes nearly coincide, stay upright."""
    across = xy[list(LEFT_EYE_CORNERS)].mean(0) - xy[list(RIGHT_EYE_CORNERS)].mean(0)
    down = xy[152] - xy[10]
    direction = across + np.array([down[1], -down[0]])
    return float(np.arctan2(direction[1], direction[0]))


def boxes_to_corners(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, 4) boxes to (n, 4) x0, y0, x1, y1 of upright squares of the same centre and side."""
    half = boxes[:, 2:3] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], 1)


def overlaps(boxes: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of upright squares, (n, 4) x (m, 4) boxes -> (n, m)."""
    a, b = boxes_to_corners(boxes)[:, None], boxes_to_corners(others)[None]
    inter = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0).prod(-1)
    return inter / (boxes[:, None, 2] ** 2 + others[None, :, 2] ** 2 - inter).clip(1e-9)


def crop_matrix(box: Box, size: int) -> Matrix:
    """The map from a picture to a crop of it.

    Convention: pixel coordinates with centres at half integers (the crop spans [0, size]).

    Args:
        box: (x, y, side, roll) of the crop in the picture; the crop shows what lies in it, upright.
        size: side of the crop in its own pixels.

    Returns:
        (2, 3), picture pixels to crop pixels.
    """
    x, y, side, roll = box
    linear = size / side * np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return np.concatenate([linear, size / 2 - linear @ np.array([[x], [y]])], 1)


def warp(
    picture: NDArray[np.uint8], matrix: Matrix, size: tuple[int, int], *, border: int = cv2.BORDER_REPLICATE
) -> NDArray[np.uint8]:
    """Resample with a (2, 3) map from picture to output pixels; strong reductions are area averaged first.

    Args:
        size: (width, height) of the output.
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    shrink = int(1 / scale)
    if shrink >= 2:
        h, w = picture.shape[:2]
        small = cv2.resize(picture, (max(w // shrink, 1), max(h // shrink, 1)), interpolation=cv2.INTER_AREA)
        ratio = np.array([w / small.shape[1], h / small.shape[0]])
        picture, matrix = small, np.concatenate([matrix[:, :2] * ratio, matrix[:, 2:]], 1)
    # OpenCV counts pixel centres from 0, we from 0.5.
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    return cv2.warpAffine(picture, shifted, size, flags=cv2.INTER_LINEAR, borderMode=border)


def transform_points(points: NDArray[np.floating], matrix: Matrix) -> NDArray[np.float32]:
    """(n, 3) points through a (2, 3) matrix; z is scaled with the mean scale of x and y."""
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    xy = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([xy, points[:, 2:] * scale], 1).astype(np.float32)
