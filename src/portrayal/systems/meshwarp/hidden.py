"""Skin that the source hides because it faces away: when a turn uncovers it, it takes its texture from nearby.

Without this a portrait in three-quarter view that turns towards the camera would show, on its far cheek, the
background that lies at those landmarks in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portrayal.face.topology import LEFT_EYE, RIGHT_EYE
from portrayal.systems.meshwarp.layers import Array, smoothstep

AWAY = (0.08, 0.28)
"""Cosine to the camera below which a vertex is hidden, and above which it is not, if it has turned away:"""
TURNED = (0.08, 0.2)
"""how much smaller its cosine is than in a head that looks into the camera. The rim of a frontal face is not hidden."""
GRAZING = (0.15, 0.35)
"""Cosines of the rim, where landmarks often miss the skin by a little,"""
INSET = 0.04
"""and by how many head units its texture is taken further inside."""


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
    """(n, 2) pixels of the source: where the skin that faces the camera goes on."""


def find_hidden_skin(landmarks: Array, head: Array, skin: NDArray[np.int64]) -> HiddenSkin:
    """Args: landmarks (478, 3) of the source; head: the same in the head frame; skin (k, 3), front faces clockwise."""
    every = np.unique(skin)
    around = (skin[None] == every[:, None, None]).any(-1).astype(np.float64)
    facing = _facing(landmarks, skin, around)
    turned = smoothstep(_facing(head, skin, around) - facing, *TURNED)
    away = turned * (1 - smoothstep(facing, *AWAY))
    rim = 1 - smoothstep(facing, *GRAZING)
    hidden = np.maximum(away, rim) > 0
    lender = _spread_inwards(landmarks, skin, every, hidden)
    unit = np.linalg.norm(landmarks[RIGHT_EYE[0]] - landmarks[LEFT_EYE[0]])
    distance = np.linalg.norm(lender - landmarks[every[hidden], :2], axis=1)
    inset = rim[hidden] * np.minimum(1, INSET * unit / np.maximum(distance, 1e-6))
    touched = around[hidden].any(0)
    return HiddenSkin(
        every[hidden],
        skin[touched],
        around[hidden][:, touched],
        facing[hidden],
        np.maximum(away[hidden], inset),
        lender,
    )


def _spread_inwards(
    landmarks: Array, skin: NDArray[np.int64], every: NDArray[np.int64], hidden: NDArray[np.bool_]
) -> Array:
    """For each hidden vertex the mean of its neighbours' positions, hidden ones alike: (n, 2) pixels.

    The visible skin's texture so spreads evenly over the hidden skin.
    """
    index = np.full(int(skin.max()) + 1, -1)
    index[every] = np.arange(len(every))
    linked = np.zeros((len(every), len(every)))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        linked[index[skin[:, a]], index[skin[:, b]]] = linked[index[skin[:, b]], index[skin[:, a]]] = 1
    laplacian = np.diag(linked.sum(1) + 1e-6) - linked
    known = landmarks[every[~hidden], :2]
    pull = 1e-6 * landmarks[every[hidden], :2]  # keeps a hidden part without visible neighbours where it is
    spread: Array = np.linalg.solve(
        laplacian[np.ix_(hidden, hidden)], pull - laplacian[np.ix_(hidden, ~hidden)] @ known
    )
    return spread


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
