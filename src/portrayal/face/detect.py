"""Finding faces: the detector over a pyramid of the picture, its maps decoded to face boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from portrayal.face.box import overlaps
from portrayal.face.losses import CELL, UNIT_SIDE
from portrayal.face.networks import Detector, DetectorMaps

LARGEST_SIDE = 1536
"""Longer pictures are searched at this size; a face has to keep about 13 px there."""
MULTIPLE = 32


@dataclass(frozen=True)
class Detections:
    """Faces found in one picture, best first."""

    boxes: NDArray[np.float64]
    """(n, 4) x, y, side, roll in pixels of the picture."""
    scores: NDArray[np.float64]
    """(n,) in [0, 1]."""


@torch.inference_mode()
def detect_faces(
    detector: Detector,
    picture: NDArray[np.uint8],
    *,
    threshold: float = 0.5,
    largest_side: int = LARGEST_SIDE,
    face_sizes: tuple[float, float] = (13.0, 90.0),
) -> Detections:
    """All faces of a picture.

    Args:
        detector: in evaluation mode.
        picture: (h, w, 3) uint8 RGB.
        threshold: least score.
        largest_side: pixels; a longer picture is reduced to it first.
        face_sizes: what the detector reports at one level (`Config.face_sizes`); each level halves the picture.
    """
    h, w = picture.shape[:2]
    boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
    scale = min(1.0, largest_side / max(h, w))
    while True:
        size = (max(round(w * scale), 8), max(round(h * scale), 8))
        level = picture if size == (w, h) else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        found = _decode(detector(_input(level, detector)), threshold)
        boxes.append(found.boxes * np.array([w / size[0], h / size[1], w / size[0], 1.0]))
        scores.append(found.scores)
        if max(size) <= face_sizes[1] * 1.2:
            break
        scale /= 2
    return suppress(Detections(np.concatenate(boxes), np.concatenate(scores)))


def suppress(found: Detections, limit: float = 0.4) -> Detections:
    """Keep the best of each group of boxes whose intersection over union exceeds `limit`."""
    kept: list[int] = []
    iou = overlaps(found.boxes, found.boxes)
    for i in np.argsort(-found.scores):
        if all(iou[i, k] < limit for k in kept):
            kept.append(int(i))
    return Detections(found.boxes[kept], found.scores[kept])


def _input(level: NDArray[np.uint8], detector: Detector) -> Tensor:
    """(1, 3, h, w) in [0, 1], padded to what the strides need."""
    h, w = level.shape[:2]
    level = cv2.copyMakeBorder(level, 0, -h % MULTIPLE, 0, -w % MULTIPLE, cv2.BORDER_REPLICATE)
    tensor = torch.from_numpy(level).to(next(detector.parameters()).device)
    return tensor.permute(2, 0, 1)[None].float().div(255)


def _decode(maps: DetectorMaps, threshold: float) -> Detections:
    """Local maxima of the heat map with their boxes, in pixels of the level."""
    heat = maps.heat.sigmoid()
    peak = (F.max_pool2d(heat[None], 3, 1, 1)[0] == heat) & (heat > threshold)
    _, rows, columns = peak.nonzero(as_tuple=True)
    box = maps.box[0, :, rows, columns].double().cpu().numpy()
    side = UNIT_SIDE * np.exp(box[2].clip(-2, 2))
    x = (columns.cpu().numpy() + 0.5) * CELL + box[0] * side
    y = (rows.cpu().numpy() + 0.5) * CELL + box[1] * side
    boxes = np.stack([x, y, side, np.arctan2(box[4], box[3])], 1)
    return Detections(boxes, heat[0, rows, columns].double().cpu().numpy())
