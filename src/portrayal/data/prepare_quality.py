"""Which stretches of a tracked video become clips, where their crop lies, and what is wrong with the others.

The crop of FOMM, which face-vid2vid and MMFA train on: a clip follows one face until its box overlaps the clip's first
one too little; the crop is one fixed square around the union of all boxes, with a tenth of its longer side as margin.
A box spans the mesh's landmarks from the hairline to the chin, as those of the detector that FOMM used do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from portrayal.data.prepare_options import ClipRules
from portrayal.face.tracker import FaceReading
from portrayal.media.crop import Crop

Reason = Literal[
    "too short",
    "too small",
    "leaves the picture",
    "unsure tracking",
    "blurred",
    "several faces",
    "turned too far",
]
"""Why a stretch with a face is dropped."""

Corners = NDArray[np.float64]
"""(4,) x0, y0, x1, y1 in pixels."""

_SHARP_SIDE = 128
_SEEN = 0.15
"""Share of a second face's box that makes a crop show it."""


@dataclass(frozen=True)
class Moment:
    """One frame of a stretch."""

    reading: FaceReading
    """Of the face that is followed, n = 1, pixels of the video."""
    others: NDArray[np.float64]
    """(m, 4) corners of the other faces."""
    sharpness: float | None
    """None where it was not measured."""


def corners_of(reading: FaceReading, face: int = 0) -> Corners:
    """The upright box around the mesh (without the irises)."""
    points = reading.landmarks[face, :468, :2].double().numpy()
    return np.concatenate([points.min(0), points.max(0)])


def overlap(a: Corners, b: Corners) -> float:
    """Intersection over union."""
    both = _area(np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])]))
    return both / max(_area(a) + _area(b) - both, 1e-9)


def union(boxes: Sequence[Corners]) -> Corners:
    stacked = np.stack(boxes)
    return np.concatenate([stacked[:, :2].min(0), stacked[:, 2:].max(0)])


def crop_of(box: Corners, size: int, rules: ClipRules) -> Crop:
    """The square around the box of a whole clip."""
    side = (1 + 2 * rules.enlarge) * float((box[2:] - box[:2]).max())
    x, y = (box[:2] + box[2:]) / 2
    corner = np.array([x - side / 2, y - side / 2 - rules.shift_up * side])
    k = size / side
    return Crop(np.array([[k, 0, -k * corner[0]], [0, k, -k * corner[1]]]), size)


def corners_of_crop(crop: Crop) -> Corners:
    """The crop's square in pixels of the video."""
    low = -crop.matrix[:, 2] / crop.scale
    return np.concatenate([low, low + crop.size / crop.scale])


def sharpness(picture: NDArray[np.uint8], box: Corners) -> float:
    """Variance of the Laplacian of the face in grey levels, at 128 x 128 whatever its size.

    Args:
        picture: (h, w, 3) uint8 RGB. box: corners of the face in it.

    Returns:
        Below about 10 a face is visibly blurred or was enlarged; ordinary video has 30 to 500.
    """
    h, w = picture.shape[:2]
    x0, y0 = (int(np.clip(v, 0, limit - 2)) for v, limit in zip(box[:2], (w, h), strict=True))
    x1, y1 = (int(np.clip(math.ceil(v), low + 2, n)) for v, low, n in zip(box[2:], (x0, y0), (w, h), strict=True))
    face = cv2.cvtColor(picture[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY)
    shrinks = face.shape[0] > _SHARP_SIDE
    face = cv2.resize(face, (_SHARP_SIDE, _SHARP_SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return float(cv2.Laplacian(face, cv2.CV_32F).var())


def fault(
    moments: Sequence[Moment], crop: Crop, rules: ClipRules, *, width: int, height: int, yaw: NDArray[np.floating]
) -> Reason | None:
    """What is wrong with a stretch, the first that applies; None keeps it.

    Args:
        moments: its frames. crop: its crop in a picture of `width` x `height` pixels. yaw: of each frame, radians.
    """
    box = union([corners_of(m.reading) for m in moments])
    measured = [m.sharpness for m in moments if m.sharpness is not None]
    confidence = torch.cat([m.reading.confidence for m in moments]).numpy()
    checks: dict[Reason, bool] = {
        "too short": len(moments) < rules.min_frames,
        "too small": float((box[2:] - box[:2]).max()) < rules.min_side,
        "leaves the picture": _outside(crop, width, height) > rules.max_outside + 1e-6,
        "unsure tracking": float(np.quantile(confidence, 0.1)) < rules.min_confidence,
        "blurred": bool(measured) and float(np.median(measured)) < rules.min_sharpness,
        "several faces": not rules.several_faces and _shows_others(moments, corners_of_crop(crop)),
        "turned too far": rules.max_yaw is not None and float(np.abs(yaw).max()) > math.radians(rules.max_yaw),
    }
    return next((reason for reason, wrong in checks.items() if wrong), None)


def _outside(crop: Crop, width: int, height: int) -> float:
    """Share of its side by which the crop leaves the picture where it does so farthest."""
    x0, y0, x1, y1 = corners_of_crop(crop)
    return max(-x0, -y0, x1 - width, y1 - height, 0.0) / (x1 - x0)


def _shows_others(moments: Sequence[Moment], square: Corners) -> bool:
    others = np.concatenate([m.others for m in moments])
    if not len(others):
        return False
    shown = np.concatenate([np.maximum(others[:, :2], square[:2]), np.minimum(others[:, 2:], square[2:])], 1)
    areas = (others[:, 2:] - others[:, :2]).prod(1).clip(1e-9)
    return bool(((shown[:, 2:] - shown[:, :2]).clip(0).prod(1) / areas > _SEEN).any())


def _area(box: Corners) -> float:
    return float((box[2:] - box[:2]).clip(0).prod())
