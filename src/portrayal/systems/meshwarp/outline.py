"""The outlines of a face and of a head as a picture shows them.

In a face seen from the side the far part of its oval (`face.topology.FACE_OVAL`) lies behind the cheek; what surrounds
the face in the picture begins at the outline, not at the oval.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from portrayal.face.topology import FACE_OVAL
from portrayal.media.head import fill_hull
from portrayal.systems.meshwarp.layers import Array, Picture

OVAL = np.array(FACE_OVAL)
SOFT = 0.08
"""Width of the rim of `face_mask`, of the height of the face."""


def beyond_oval(landmarks: Array) -> Array:
    """(36, 2) from each point of the oval outwards to the outline of the face, its convex hull, in the picture.

    Args:
        landmarks: (468 or more, 3 or 2) of one frame; irises do not count.
    """
    points = landmarks[:468, :2]
    centre = (points.min(0) + points.max(0)) / 2
    out = points[OVAL] - centre
    hull: Any = cv2.convexHull(points.astype(np.float32))
    corners = hull[:, 0].astype(np.float64)
    edges = np.roll(corners, -1, 0) - corners
    normals = np.stack([edges[:, 1], -edges[:, 0]], 1)
    offsets = np.sum(normals * (corners - centre), 1)
    normals, offsets = normals * np.sign(offsets)[:, None], np.abs(offsets)
    along = out @ normals.T  # (36, edges); the outline is where the first edge is crossed
    times = np.where(along > 1e-9, offsets / np.maximum(along, 1e-9), np.inf).min(1)
    beyond: Array = (times.clip(1, 10) - 1)[:, None] * out
    return beyond


def face_mask(landmarks: Array, size: tuple[int, ...]) -> Picture:
    """(h, w) of `size`, in [0, 1]: inside the outline of a face, softly. Args: landmarks (468 or more, 2 or 3)."""
    points = landmarks[:468, :2]
    mask = np.zeros(size, np.float32)
    fill_hull(mask, points, 1.0)
    width = 2 * round(SOFT * float(np.ptp(points[:, 1])) / 2) + 1
    small: Picture = cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    return np.asarray(cv2.blur(small, (width, width)))


def skull_outline(centre: Array) -> Array:
    """(n, 3) head frame: around a head with hair, as far down as its ears. Args: centre (3,) of the skull."""
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    around = centre + np.stack([0.95 * np.cos(turn), -0.09 + 1.15 * np.sin(turn), np.zeros(48)], 1)
    above: Array = around[around[:, 1] < centre[1] + 0.66]
    return above
