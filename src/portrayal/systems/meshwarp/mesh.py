"""The mesh of the whole picture: the face, rings of vertices that continue it to the border, and how they move.

Convention: arrays are float64, points (n, 3) = x right, y down in pixels of the source's crop, z in the same unit,
smaller is nearer; head frame and pose as in `portrayal.face.pose`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.face.topology import LEFT_EYE, RIGHT_EYE
from portrayal.media.head import fill_hull
from portrayal.systems.meshwarp.layers import Array, smoothstep, to_array
from portrayal.systems.meshwarp.outline import OVAL, beyond_oval, skull_outline
from portrayal.types import FaceParams

FACE_POINTS = 468
"""Landmarks that are vertices of the skin; the rest are the irises."""
DEPTH_SLOPE = 0.8
"""How steeply hair and neck fall back behind the oval; above 2 a turn by 25 degrees would fold them under the face."""


LENGTH = 0.8
"""Of a neck that goes with a head as it is where that moves far, head units; at most half of what is below the chin."""
CALM = 0.8
"""Beside and above the head the background stays from that distance on, head units; neck and shoulders go farther."""


CLOSED = 0.8
"""Head units beyond the outline of a face within which hair is drawn out to join it."""
CLOSING = 2.5
"""The same in lengths of the gap, where that is more."""


@dataclass(frozen=True)
class Pose:
    """One frame's head to picture."""

    scale: float
    rotation: Array
    """(3, 3)"""
    translation: Array
    """(3,) pixels"""

    @classmethod
    def of(cls, params: FaceParams, index: int) -> Self:
        """That of frame `index`."""
        return cls(float(params.scale[index]), to_array(params.rotation[index]), to_array(params.translation[index]))

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

    @property
    def depth(self) -> Array:
        """(2,): the shift in the picture of what lies a head unit farther back in the head."""
        depth: Array = self.scale * self.rotation[:2, 2]
        return depth


@dataclass(frozen=True)
class Face:
    """Where a face is in one frame."""

    landmarks: Array
    """(478, 3) pixels."""
    pose: Pose

    @classmethod
    def of(cls, params: FaceParams, index: int) -> Self:
        """That of frame `index`."""
        return cls(to_array(params.landmarks[index]), Pose.of(params, index))


@dataclass(frozen=True)
class Lashes:
    """Extra vertices on the edges that leave the upper lids, so that a closing lid unrolls skin and not lashes."""

    edges: NDArray[np.int64]
    """(n, 2) landmark on the lid's rim and the one above it; vertex i of the lashes lies between them."""
    triangles: NDArray[np.int64]
    """(k, 3) of the whole face; lash vertices count from 468 on."""


LASH = 0.7
"""Height of the lash vertices above the rim at rest, as a share of the usual height of the first row of triangles."""


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


def lash_shares(edges: NDArray[np.int64], source: Array) -> Array:
    """Where each lash vertex lies on its edge in the source, (n,) from 0 at the rim: all of an eye equally high."""
    rise = _rise(edges, source)
    shares = np.empty(len(edges))
    for contour in (RIGHT_EYE, LEFT_EYE):
        mine = np.isin(edges[:, 0], contour)
        shares[mine] = np.clip(LASH * np.median(rise[mine]) / rise[mine], 0.05, 0.85)
    return shares


def place_lashes(
    edges: NDArray[np.int64], shares: Array, source: Array, driving: Array, zoom: float
) -> tuple[Array, Array]:
    """Lash vertices (n, 3) in the source and in a driving frame: on a stretched edge lashes keep their height.

    Args:
        shares: (n,) as from `lash_shares`.
        zoom: size of the head in the driving frame / in the source.
    """
    rest_edge = source[edges[:, 1]] - source[edges[:, 0]]
    edge = driving[edges[:, 1]] - driving[edges[:, 0]]
    kept = shares * np.minimum(1, zoom * _rise(edges, source) / _rise(edges, driving))
    return source[edges[:, 0]] + shares[:, None] * rest_edge, driving[edges[:, 0]] + kept[:, None] * edge


def _rise(edges: NDArray[np.int64], landmarks: Array) -> Array:
    """(n,) how far each edge rises above the line through its eye's corners' direction, pixels, at least a little."""
    rise = np.empty(len(edges))
    for contour in (RIGHT_EYE, LEFT_EYE):
        mine = np.isin(edges[:, 0], contour)
        along = landmarks[contour[8], :2] - landmarks[contour[0], :2]
        across = np.array([along[1], -along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
        rise[mine] = np.abs((landmarks[edges[mine, 1], :2] - landmarks[edges[mine, 0], :2]) @ across)
    return np.maximum(rise, 0.05)


@dataclass(frozen=True)
class Rings:
    """Vertices around the face; `m` = rings * 36, ring by ring outwards, in the order of `FACE_OVAL`."""

    rest: Array
    """(m, 3) pixels."""
    head: Array
    """(m, 3) the same points in the head frame."""
    rigid: Array
    """(m, 2) in [0, 1] for x and y: 1 moves with the head, 0 stays."""
    carried: Array
    """(m, 2) in [0, 1] for x and y: how far it goes with a neck that moves far, and below it is stretched."""
    beside: Array
    """(m, 1) in [0, 1]: 1 beside and above the head, 0 below the chin."""
    neck: Array
    """(3,) of `neck_of`."""
    follow: Array
    """(m, 36) weights of the oval points whose own motion (beyond the head's) the vertex follows, sum 1."""
    fade: Array
    """(m, 2) how far it follows them in x and y."""
    closing: Array
    """(m, 2) head units in the head's x and y: how much nearer it comes where a frame shows a point of the oval that
    the portrait hides, so that hair joins the face."""
    covered: Array
    """(36,) head units in the picture from each point of the oval outwards to the outline of the face."""
    triangles: NDArray[np.int64]
    """(k, 3) indices; the oval's points count as their landmark, ring vertices from `first` on."""


def build_rings(
    landmarks: Array,
    pose: Pose,
    *,
    width: int,
    height: int,
    window: tuple[int, int, int, int],
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
        width, height: of the crop.
        window: what of the crop shows the picture, see `media.crop.picture_window`.
        first: index of the first ring vertex.
        rings, skull_depth, still, reach: as in `Config`.
    """
    oval, hides = landmarks[OVAL], beyond_oval(landmarks)
    centre = (landmarks[:FACE_POINTS, :2].min(0) + landmarks[:FACE_POINTS, :2].max(0)) / 2
    outline = oval[:, :2] + hides
    border = _border_points(outline, centre, width, height)
    reach_px = np.maximum(np.linalg.norm(border - outline, axis=1), 1e-6)
    steps = np.minimum((np.arange(rings) / (rings - 2)) ** 1.5, 1)[:, None]  # the last two are the border
    steps = steps - (np.arange(rings) == rings - 2)[:, None] * np.minimum(5 / reach_px, 0.1)
    xy = outline + steps[..., None] * (border - outline)  # (rings, 36, 2)
    away = np.linalg.norm(xy - outline, axis=-1) / pose.scale  # head units beyond the face

    face = Face(landmarks, pose)
    skull = skull_of(face, skull_depth)
    depth = pose.picture_to_head(oval)[None, :, 2]
    behind = np.maximum(skull[2] - depth, 0.05)
    depth = depth + behind * (1 - np.exp(-DEPTH_SLOPE * away / behind))
    head_xy = _in_head(pose, (xy - pose.translation[:2]) / pose.scale - depth[..., None] * pose.rotation[:2, 2])
    head = np.concatenate([head_xy, depth[..., None]], -1).reshape(-1, 3)
    rest = pose.head_to_picture(head)
    rest[:, :2] = xy.reshape(-1, 2)

    # Towards the border of the picture a motion across it fades, towards the border of the crop every motion.
    inside = np.array([0.0, 0, width, height])
    beyond = _beyond_head(landmarks, pose, skull, xy, width, height)
    rigid, carried, fade = np.empty_like(xy), np.empty_like(xy), np.empty_like(xy)
    down = pose.plane[:, 1] / np.linalg.norm(pose.plane[:, 1])
    below = (xy - landmarks[152, :2]) @ down / pose.scale + 0.6
    calm = CALM + (3 - CALM) * smoothstep(below, 0.0, 1.0)
    under = np.maximum(below, (xy[..., 1] - oval[:, 1].max()) / pose.scale + 0.6)  # shoulders of a tilted head, too
    beside, length = 1 - smoothstep(under, 0.0, 0.6), LENGTH * pose.scale * smoothstep(below, 0.3, 0.8)
    soft, calm = still * pose.scale, calm * pose.scale
    for axis in range(2):
        limits = np.where(np.arange(4) % 2 == axis, np.array(window), inside)
        ease, edge = _ease(xy, limits, soft)
        rigid[..., axis] = ease * _fading(beyond, np.zeros_like(beyond), np.minimum(beyond + edge, calm))
        fade[..., axis] = ease * (1 - smoothstep(away / reach))
        # What a neck takes along goes out of the picture where that ends, and comes out of what is repeated there.
        limits[3] = np.inf if axis == 0 and window[3] < height else height
        ease, edge = _ease(xy, limits, soft)
        stays = np.minimum(beyond + edge, calm)
        carried[..., axis] = ease * _fading(beyond, np.minimum(length, stays / 2), stays)
    rigid[-2:] = carried[-2:] = beside[-2:] = 0
    turn = (np.arange(36)[:, None] - np.arange(36) + 18) % 36 - 18
    spread = 0.3 + 2.5 * np.minimum(away, 1.0)
    follow = np.exp(-0.5 * (turn[None] / spread[..., None]) ** 2)
    follow = follow / follow.sum(-1, keepdims=True)
    neck = neck_of(face, skull_depth)
    gap = _in_head(pose, hides / pose.scale)
    covered = np.linalg.norm(hides, axis=1) / pose.scale
    closing = (1 - smoothstep(away / np.maximum(CLOSED, CLOSING * np.linalg.norm(gap, axis=1))))[..., None] * gap
    rigid, carried, beside, follow, fade, closing = (
        x.reshape(rings * 36, -1) for x in (rigid, carried, beside, follow, fade, closing)
    )
    return Rings(
        rest, head, rigid, carried, beside, neck, follow, fade, closing, covered, _ring_triangles(rings, first)
    )


def skull_of(face: Face, skull_depth: float) -> Array:
    """(3,) middle of the skull, in the head frame. Args: skull_depth as in `Config`."""
    middle: Array = face.pose.picture_to_head(face.landmarks[[33, 263]]).mean(0) + np.array([0, 0, skull_depth])
    return middle


def neck_of(face: Face, skull_depth: float) -> Array:
    """(3,) behind the chin, in the head frame. Args: skull_depth as in `Config`."""
    chin = face.pose.picture_to_head(face.landmarks[152])
    return np.array([chin[0], chin[1], skull_of(face, skull_depth)[2]])


def neck_move(neck: Array, source: Pose, pose: Pose) -> Array:
    """(2,) pixels that a neck, as of `neck_of`, moves in the picture."""
    moved: Array = (pose.head_to_picture(neck) - source.head_to_picture(neck))[:2]
    return moved


def move_rings(rings: Rings, source: Face, driving: Face, *, loose: float, far: float) -> Array:
    """Where the rings' vertices are in a driving frame: (m, 3).

    Args:
        loose: in [0, 1], how far what is beside and above the head goes with it, as far as the border of the picture.
        far: in [0, 1], how far the neck keeps its length.
    """
    rigid = rings.rigid + loose * rings.beside * (1 - rings.rigid)
    turned = driving.pose.head_to_picture(rings.head)
    moved: Array = rings.rest.copy()
    moved[:, :2] += rigid * (turned - rings.rest)[:, :2]
    moved[:, :2] += far * (rings.carried - rings.rigid) * neck_move(rings.neck, source.pose, driving.pose)
    oval = source.landmarks[OVAL]
    own = driving.landmarks[OVAL] - driving.pose.head_to_picture(source.pose.picture_to_head(oval))
    moved[:, :2] += rings.fade * (rings.follow @ own[:, :2])
    moved[:, :2] -= (
        np.tile(_opened(rings, driving), len(rings.rest) // 36)[:, None] * rigid * rings.closing
    ) @ driving.pose.plane.T
    moved[:, 2] = turned[:, 2] + (1 - rigid.min(1)) * 2 * driving.pose.scale  # what stays is the background
    return moved


def _opened(rings: Rings, driving: Face) -> Array:
    """(36,) in [0, 1]: how much of what hides a point of the oval in the portrait does not hide it in a frame."""
    now = np.linalg.norm(beyond_oval(driving.landmarks), axis=1) / driving.pose.scale
    return 1 - np.minimum(now / np.maximum(rings.covered, 1e-6), 1)


def _in_head(pose: Pose, units: Array) -> Array:
    """Shifts in the picture (..., 2) in head units as such in the head's x and y; bounded for a head in profile."""
    shifts: Array = np.linalg.solve(_well_conditioned(pose.rotation[:2, :2]), units[..., None])[..., 0]
    return shifts


def _ease(xy: Array, limits: Array, soft: float) -> tuple[Array, Array]:
    """(...,) 0 on the nearest of the limits x0, y0, x1, y1, 1 `soft` pixels inside; and pixels from it."""
    edge: Array = np.minimum(xy - limits[:2], limits[2:] - xy).min(-1).clip(0)
    return smoothstep(edge / soft), edge


def _fading(beyond: Array, start: Array, stays: Array) -> Array:
    """From 1 at `start` pixels beyond the head to 0 where the background stays."""
    return 1 - smoothstep((beyond - start) / np.maximum(stays - start, 1e-6))


def _border_points(oval: Array, centre: Array, width: int, height: int) -> Array:
    """(36, 2): for each point of the oval, the one on the crop's border in the same direction from the centre.

    Where the oval itself reaches beyond the crop, the point lies just outside the oval.
    """
    angle = np.unwrap(np.arctan2(oval[:, 1] - centre[1], oval[:, 0] - centre[0]))
    angle = np.maximum.accumulate(angle) if angle[-1] > angle[0] else np.minimum.accumulate(angle)
    direction = np.stack([np.cos(angle), np.sin(angle)], 1)
    corner = np.where(direction > 0, [width, height], 0.0)
    with np.errstate(divide="ignore"):
        reach = np.min((corner - centre) / np.where(direction == 0, 1e-12, direction), axis=1)
    reach = np.maximum(reach, 1.03 * np.linalg.norm(oval - centre, axis=1))
    points: Array = centre + reach[:, None] * direction
    return points


def _beyond_head(landmarks: Array, pose: Pose, centre: Array, xy: Array, width: int, height: int) -> Array:
    """Distance in pixels of points (..., 2) from the outline of the head with hair; 0 inside.

    Args:
        centre: (3,) of the skull in the head frame.
    """
    outline = np.concatenate([pose.head_to_picture(skull_outline(centre))[:, :2], landmarks[OVAL, :2]])
    mask = np.full((height, width), 255, np.uint8)
    fill_hull(mask, outline, 0)
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    column = np.clip(xy[..., 0], 0, width - 1).astype(int)
    row = np.clip(xy[..., 1], 0, height - 1).astype(int)
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
