"""The mesh of the whole picture: the face, rings of vertices that continue it to the border, and how they move.

Convention: arrays are float64, points (n, 3) = x right, y down in pixels of the source's crop, z in the same unit,
smaller is nearer; head frame and pose as in `portrayal.face.pose`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.face.topology import FACE_OVAL, LEFT_EYE, RIGHT_EYE
from portrayal.systems.meshwarp.layers import Array, Box, smoothstep

FACE_POINTS = 468
"""Landmarks that are vertices of the skin; the rest are the irises."""
OVAL = np.array(FACE_OVAL)
DEPTH_SLOPE = 0.8
"""How steeply hair and neck fall back behind the oval; above 2 a turn by 25 degrees would fold them under the face."""


@dataclass(frozen=True)
class Pose:
    """One frame's head to picture."""

    scale: float
    rotation: Array
    """(3, 3)"""
    translation: Array
    """(3,) pixels"""

    def head_to_picture(self, points: Array) -> Array:
        """(..., 3) head units to pixels."""
        pixels: Array = self.scale * points @ self.rotation.T + self.translation
        return pixels

    def picture_to_head(self, points: Array) -> Array:
        """(..., 3) pixels to head units."""
        units: Array = (points - self.translation) @ self.rotation / self.scale
        return units

    @property
    def plane(self) -> Array:
        """(2, 2): a shift in the head's x and y to the shift in the picture, pixels per head unit."""
        plane: Array = self.scale * self.rotation[:2, :2]
        return plane


@dataclass(frozen=True)
class Lashes:
    """Extra vertices on the edges that leave the upper lids, so that a closing lid unrolls skin and not lashes."""

    edges: NDArray[np.int64]
    """(n, 2) landmark on the lid's rim and the one above it; vertex i of the lashes lies between them."""
    triangles: NDArray[np.int64]
    """(k, 3) of the whole face; lash vertices count from 468 on."""


LASH = 0.7
"""Where a lash vertex lies at rest, as a share of its edge from the rim."""


def add_lashes(triangles: NDArray[np.int64]) -> Lashes:
    """Split the triangles above the upper lids. Args: triangles (k, 3) without those inside the eyes."""
    rims = [v for contour in (RIGHT_EYE, LEFT_EYE) for v in contour[9:]]
    contours = set(RIGHT_EYE) | set(LEFT_EYE)
    index: dict[tuple[int, int], int] = {}
    out: list[tuple[int, int, int]] = []

    def between(v: int, w: int) -> int:
        return index.setdefault((v, w), FACE_POINTS + len(index))

    for triangle in triangles.tolist():
        lid = [v for v in triangle if v in rims]
        above = [v for v in triangle if v not in contours]
        if not lid or not above:
            out.append(tuple(triangle))
        elif len(lid) == 2:
            (a, b), w = lid, above[0]
            m, n = between(a, w), between(b, w)
            out += [(a, b, n), (a, n, m), (m, n, w)]
        elif len(above) == 2:
            v, (a, b) = lid[0], above
            m, n = between(v, a), between(v, b)
            out += [(v, m, n), (m, a, b), (m, b, n)]
        else:
            v, w, corner = lid[0], above[0], next(x for x in triangle if x in contours and x not in rims)
            m = between(v, w)
            out += [(v, corner, m), (m, corner, w)]
    return Lashes(np.array(list(index)), np.array(out))


def place_lashes(edges: NDArray[np.int64], source: Array, driving: Array, zoom: float) -> tuple[Array, Array]:
    """Lash vertices (n, 3) in the source and in a driving frame: a stretched edge keeps its lashes' length.

    Args:
        zoom: size of the head in the driving frame / in the source.
    """
    rest_edge = source[edges[:, 1]] - source[edges[:, 0]]
    edge = driving[edges[:, 1]] - driving[edges[:, 0]]
    rest_length = zoom * np.linalg.norm(rest_edge[:, :2], axis=1)
    length = np.linalg.norm(edge[:, :2], axis=1)
    share = LASH * np.minimum(1, rest_length / np.maximum(length, 1e-6))
    return source[edges[:, 0]] + LASH * rest_edge, driving[edges[:, 0]] + share[:, None] * edge


@dataclass(frozen=True)
class Rings:
    """Vertices around the face; `m` = rings * 36, ring by ring outwards, in the order of `FACE_OVAL`."""

    rest: Array
    """(m, 3) pixels."""
    head: Array
    """(m, 3) the same points in the head frame."""
    rigid: Array
    """(m,) in [0, 1]: 1 moves with the head, 0 stays."""
    follow: Array
    """(m, 36) share of each oval point's own motion (beyond the head's) that the vertex takes over."""
    triangles: NDArray[np.int64]
    """(k, 3) indices; the oval's points count as their landmark, ring vertices from `first` on."""


def build_rings(
    landmarks: Array,
    pose: Pose,
    *,
    window: Box,
    first: int,
    rings: int,
    skull_depth: float,
    still: float,
    reach: float,
) -> Rings:
    """Continue the face outwards: hair and skull behind it move with the head, the border of the picture stays.

    Args:
        landmarks: (478, 3) of the source.
        pose: of the source.
        window: what of the crop shows the picture, see `picture_window`; nothing moves at its border.
        first: index of the first ring vertex.
        rings, skull_depth, still, reach: as in `Config`.
    """
    oval = landmarks[OVAL]
    centre = (landmarks[:FACE_POINTS, :2].min(0) + landmarks[:FACE_POINTS, :2].max(0)) / 2
    border = _border_points(oval[:, :2], centre, window)
    reach_px = np.maximum(np.linalg.norm(border - oval[:, :2], axis=1), 1e-6)
    steps = np.minimum((np.arange(1, rings + 1) / (rings - 1)) ** 1.5, 1)[:, None]  # the last two are the border
    steps = steps - (np.arange(rings) == rings - 2)[:, None] * np.minimum(3 / reach_px, 0.1)
    xy = oval[None, :, :2] + steps[..., None] * (border - oval[:, :2])[None]  # (rings, 36, 2)
    away = np.linalg.norm(xy - oval[None, :, :2], axis=-1) / pose.scale  # head units beyond the oval

    eyes = pose.picture_to_head(landmarks[[33, 263]]).mean(0)
    depth = pose.picture_to_head(oval)[None, :, 2]
    behind = np.maximum(eyes[2] + skull_depth - depth, 0.05)
    depth = depth + behind * (1 - np.exp(-DEPTH_SLOPE * away / behind))
    head_xy = np.linalg.solve(
        _well_conditioned(pose.rotation[:2, :2]),
        ((xy - pose.translation[:2]) / pose.scale - depth[..., None] * pose.rotation[:2, 2])[..., None],
    )[..., 0]
    head = np.concatenate([head_xy, depth[..., None]], -1).reshape(-1, 3)
    rest = pose.head_to_picture(head)
    rest[:, :2] = xy.reshape(-1, 2)

    edge = np.minimum(xy - window[:2], window[2:] - xy).min(-1).clip(0)
    beyond = _beyond_head(landmarks, pose, eyes + np.array([0, 0, skull_depth]), xy, window)
    rigid = 1 - smoothstep(beyond / np.maximum(beyond + edge, 1e-6))
    rigid = rigid * smoothstep(edge / (still * pose.scale))

    rigid[-2:] = 0
    fade = (1 - smoothstep(away / reach)) * smoothstep(edge / (still * pose.scale))
    turn = (np.arange(36)[:, None] - np.arange(36) + 18) % 36 - 18
    spread = 0.3 + 2.5 * np.minimum(away, 1.0)
    follow = np.exp(-0.5 * (turn[None] / spread[..., None]) ** 2)
    follow = fade[..., None] * follow / follow.sum(-1, keepdims=True)
    return Rings(rest, head, rigid.reshape(-1), follow.reshape(-1, 36), _ring_triangles(rings, first))


def move_rings(rings: Rings, source: Array, driving: Array, source_pose: Pose, driving_pose: Pose) -> Array:
    """Where the rings' vertices are in a driving frame: (m, 3).

    Args:
        source, driving: (478, 3) landmarks.
    """
    turned = driving_pose.head_to_picture(rings.head)
    moved: Array = rings.rest + rings.rigid[:, None] * (turned - rings.rest)
    oval = source[OVAL]
    own = driving[OVAL] - driving_pose.head_to_picture(source_pose.picture_to_head(oval))
    moved[:, :2] += rings.follow @ own[:, :2]
    moved[:, 2] = turned[:, 2] + (1 - rings.rigid) * 2 * driving_pose.scale  # what stays is the background
    return moved


def _border_points(oval: Array, centre: Array, window: Box) -> Array:
    """(36, 2): for each point of the oval, the one on the window's border in the same direction from the centre.

    Where the oval itself reaches beyond the window, the point lies just outside the oval.
    """
    angle = np.unwrap(np.arctan2(oval[:, 1] - centre[1], oval[:, 0] - centre[0]))
    angle = np.maximum.accumulate(angle) if angle[-1] > angle[0] else np.minimum.accumulate(angle)
    direction = np.stack([np.cos(angle), np.sin(angle)], 1)
    corner = np.where(direction > 0, window[2:], window[:2])
    with np.errstate(divide="ignore"):
        reach = np.min((corner - centre) / np.where(direction == 0, 1e-12, direction), axis=1)
    reach = np.maximum(reach, 1.03 * np.linalg.norm(oval - centre, axis=1))
    points: Array = centre + reach[:, None] * direction
    return points


def _beyond_head(landmarks: Array, pose: Pose, centre: Array, xy: Array, window: Box) -> Array:
    """Distance in pixels of points (..., 2) from the outline of the head with hair; 0 inside.

    Args:
        centre: (3,) of the skull in the head frame.
    """
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    skull = centre + np.stack([0.95 * np.cos(turn), -0.09 + 1.15 * np.sin(turn), np.zeros(48)], 1)
    skull = skull[skull[:, 1] < centre[1] + 0.66]
    outline = np.concatenate([pose.head_to_picture(skull)[:, :2], landmarks[OVAL, :2]]).astype(np.float32)
    hull: Any = cv2.convexHull(outline)
    mask = np.full((window.bottom, window.right), 255, np.uint8)
    cv2.fillPoly(mask, [np.round(hull).astype(np.int32)], 0)
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    column = np.clip(xy[..., 0], 0, window.right - 1).astype(int)
    row = np.clip(xy[..., 1], 0, window.bottom - 1).astype(int)
    away: Array = distance[row, column].astype(np.float64)
    return away


def _ring_triangles(rings: int, first: int) -> NDArray[np.int64]:
    """(k, 3): two triangles in each cell between neighbouring rings, the oval first."""
    index = np.concatenate([OVAL[None], first + np.arange(rings * 36).reshape(rings, 36)])
    a, b = index[:-1], index[1:]
    c, d = np.roll(a, -1, 1), np.roll(b, -1, 1)
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([c, b, d], -1).reshape(-1, 3)])


def _well_conditioned(matrix: Array) -> Array:
    """The matrix with singular values of at least 0.4, so that a head in profile does not blow its rings up."""
    u, s, vh = np.linalg.svd(matrix)
    conditioned: Array = (u * np.maximum(s, 0.4)) @ vh
    return conditioned
