"""Skin that the source hides because it faces away: when a turn uncovers it, it takes its texture from nearby.

Without this a portrait in three-quarter view that turns towards the camera would show, on its far cheek, the
background that lies at those landmarks in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portrayal.face.topology import LEFT_BROW, LEFT_EYE, LIPS_OUTER, RIGHT_BROW, RIGHT_EYE
from portrayal.systems.meshwarp.layers import Array, smoothstep

AWAY = (-0.05, 0.1)
"""Cosine to the camera below which a vertex is hidden, and above which it is not."""
GRAZING = (0.15, 0.35)
"""The same for vertices at the rim of the face: they are seen, but landmarks there often miss the skin by a little."""
INSET = 0.11
"""Head units by which the rim's texture is taken further inside."""
FACING = 0.45
"""Cosine above which a vertex' texture is good enough to be lent."""

PLAIN = 0.1
"""Head units that a lender must be away from eyes, brows and lips, so that it lends plain skin."""


@dataclass(frozen=True)
class HiddenSkin:
    """The vertices of the face that face away in the source."""

    vertices: NDArray[np.int64]
    """(n,) landmarks."""
    triangles: NDArray[np.int64]
    """(k, 3) the skin around them."""
    around: Array
    """(n, k) 1 where a triangle touches a vertex."""
    facing: Array
    """(n,) cosine to the camera in the source."""
    amount: Array
    """(n,) how far towards the lender the texture moves: 1 hidden, 0 not quite."""
    lender: Array
    """(n, 2) pixels of the source: the nearest point of the skin that faces the camera."""


def find_hidden_skin(landmarks: Array, skin: NDArray[np.int64]) -> HiddenSkin:
    """Args: landmarks (478, 3) of the source; skin (k, 3) triangles, front faces clockwise in the picture."""
    every = np.unique(skin)
    around = (skin[None] == every[:, None, None]).any(-1).astype(np.float64)
    facing = _facing(landmarks, skin, around)
    hidden = facing < GRAZING[1]
    features = landmarks[[*RIGHT_EYE, *LEFT_EYE, *RIGHT_BROW, *LEFT_BROW, *LIPS_OUTER]]
    unit = np.linalg.norm(landmarks[RIGHT_EYE[0]] - landmarks[LEFT_EYE[0]])
    plain = np.linalg.norm(landmarks[every, None] - features, axis=-1).min(1) > PLAIN * unit
    lenders = every[(facing > FACING) & plain]
    if not lenders.size:
        hidden[:] = False
    vertices = every[hidden]
    touched = around[hidden].any(0)
    lender = np.empty((len(vertices), 2))
    for i, vertex in enumerate(vertices):
        distance = np.linalg.norm(landmarks[lenders] - landmarks[vertex], axis=1)
        lender[i] = landmarks[lenders[distance.argmin()], :2]
    distance = np.linalg.norm(lender - landmarks[vertices, :2], axis=1)
    inset = np.minimum(1, INSET * unit / np.maximum(distance, 1e-6)) * (1 - smoothstep(facing[hidden], *GRAZING))
    amount = np.maximum(1 - smoothstep(facing[hidden], *AWAY), inset)
    return HiddenSkin(vertices, skin[touched], around[hidden][:, touched], facing[hidden], amount, lender)


def lend_texture(rest: Array, hidden: HiddenSkin, driving: Array) -> Array:
    """Vertices at rest (n, >= 2), with those that a driving frame uncovers moved to where the skin is visible.

    Args:
        driving: (478, 3) landmarks.
    """
    if not len(hidden.vertices):
        return rest
    uncovered = _facing(driving, hidden.triangles, hidden.around) - hidden.facing
    share = hidden.amount * smoothstep(uncovered, 0.05, 0.35)
    out = rest.copy()
    out[hidden.vertices, :2] += share[:, None] * (hidden.lender - rest[hidden.vertices, :2])
    return out


def _facing(points: Array, triangles: NDArray[np.int64], around: Array) -> Array:
    """Cosine of the angle between the skin around each vertex and the camera: (n,), negative faces away."""
    a = points[triangles[:, 0]]
    normal = np.cross(points[triangles[:, 1]] - a, points[triangles[:, 2]] - a)
    cosine: Array = around @ normal[:, 2] / np.maximum(around @ np.linalg.norm(normal, axis=1), 1e-9)
    return cosine
