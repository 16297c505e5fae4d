"""The surface of a synthetic head: the face of the linear model, closed to a head with ears, neck, shoulders and hair.

Convention: the head frame of `face.pose` (x right, y down, nose towards -z; unit: the inter-ocular distance of the mean
face). The skull starts at the face's outline and follows it: every vertex is a fixed linear function of the face's 468
points plus a constant, so the whole head moves with identity and expression. Lengths of the skull are those of an
average adult (a head 23 cm high, 15.5 wide and 19.5 long, at 9 cm per unit).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial import KDTree

from portrayal.data.synthetic_raster import Floats, Ints, incidence, vertex_normals
from portrayal.face.morphable import load_face_model
from portrayal.face.topology import FACE_OVAL

FACE_POINTS = 468
CENTRE = np.array([0.0, -0.42, 0.22])
"""Middle of the skull."""
UP, DOWN, SIDE, FRONT, BACK = 1.13, 1.05, 0.86, 1.13, 1.06
"""Half axes of the skull from there."""
RINGS = np.array([0.06, 0.14, 0.24, 0.36, 0.5, 0.64, 0.78, 0.9])
"""Where rings of skull vertices lie between the face's outline (0) and the back of the head (1)."""
UNWRAP_AXIS = 0.25
"""z of the upright axis onto whose cylinder the face is unwrapped for its texture."""
UNWRAP_ANGLE, UNWRAP_TOP, UNWRAP_HEIGHT = 2.8, -1.1, 2.25
NECK_ROWS = np.array(
    # y, half width, half depth, z of the middle; from inside the head down to the chest
    [
        [0.15, 0.49, 0.48, 0.36], [0.60, 0.50, 0.48, 0.36], [0.90, 0.50, 0.48, 0.38], [1.15, 0.52, 0.49, 0.42],
        [1.35, 0.57, 0.52, 0.45], [1.52, 0.68, 0.57, 0.47], [1.66, 0.90, 0.62, 0.48], [1.80, 1.22, 0.68, 0.48],
        [1.96, 1.58, 0.74, 0.48], [2.14, 1.86, 0.80, 0.46], [2.40, 2.06, 0.88, 0.44], [2.90, 2.15, 0.95, 0.42],
        [4.00, 2.15, 1.00, 0.42], [7.00, 2.15, 1.00, 0.42],
    ]
)  # fmt: skip
NECK_COLUMNS = 40
EAR = np.array([0.80, -0.06, 0.12])
PARTS = ("skin", "eyes", "mouth", "neck", "clothes", "hair")
"""Names of the labels 1, 2, ...; 0 is the background."""


@dataclass(frozen=True)
class Head:
    """The head without hair: a fixed mesh of `v` vertices and `k` triangles."""

    from_face: sparse.csr_array
    """(v, 468) how each vertex follows the face."""
    offset: Floats
    """(v, 3)"""
    mean: Floats
    """(v, 3) where the mean face has its vertices."""
    triangles: Ints
    """(k, 3) clockwise in the picture where they face the camera."""
    parts: NDArray[np.uint8]
    """(k,) 1 + position in `PARTS`: skin, eyes, mouth, neck."""
    texture: Floats
    """(v, 2) place in the unit square of the face's texture; for the neck in that of the body's."""
    shade: Floats
    """(v,) share of the light that reaches this place in a usual room."""
    body: Floats
    """(v,) 0 moves with the head, 1 with the shoulders."""
    smooth: sparse.csr_array
    """(v, v) averages normals over neighbours, most on the chin, where the face's own points lie in furrows."""
    neck: NDArray[np.bool_]
    """(v,) neck and shoulders: the last ones."""
    ears: int
    """How many vertices before the neck are those of the ears."""


def skull_radius(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of the skull from `CENTRE`: (..., 3) unit directions to (...,)."""
    x, y, z = np.moveaxis(directions, -1, 0)
    vertical = np.where(y < 0, UP, DOWN)
    depth = np.where(z < 0, FRONT, BACK)
    radius = 1 / np.sqrt((x / SIDE) ** 2 + (y / vertical) ** 2 + (z / depth) ** 2)
    nape = smoothstep(y, -0.1, 0.8) * smoothstep(z, -0.1, 0.8)  # the head narrows towards the neck
    return np.asarray(radius * (1 - 0.2 * nape))


def mean_points() -> NDArray[np.float64]:
    """(468, 3) the mean face."""
    return np.asarray(load_face_model().mean[:FACE_POINTS].numpy(), np.float64)


def unwrap(points: NDArray[np.floating]) -> Floats:
    """(n, 3) head frame to (n, 2) in the unit square of the face's texture: angle about an upright axis, height."""
    angle = np.arctan2(points[:, 0], UNWRAP_AXIS - points[:, 2])
    place = np.stack([0.5 + angle / UNWRAP_ANGLE, (points[:, 1] - UNWRAP_TOP) / UNWRAP_HEIGHT], 1)
    return place.astype(np.float32)


@lru_cache(maxsize=1)
def _radius_table() -> Floats:
    """(64, 130) distance of the mean head's skin from `CENTRE`: polar angle by azimuth from -pi to pi."""
    head = head_mesh()
    skin = np.unique(head.triangles[head.parts == 1])
    offset = head.mean[skin[skin < len(head.mean) - head.neck.sum() - head.ears]] - CENTRE
    radius = np.linalg.norm(offset, axis=1)
    polar, azimuth = np.linspace(0, np.pi, 64)[:, None], np.linspace(-np.pi, np.pi, 130)[None]
    distance, nearest = KDTree(offset / radius[:, None]).query(to_direction(polar, azimuth), k=4)
    weight = 1 / (distance + 0.02)
    return ((weight * radius[nearest]).sum(-1) / weight.sum(-1)).astype(np.float32)


def to_direction(polar: NDArray[np.floating], azimuth: NDArray[np.floating]) -> NDArray[np.float64]:
    """Unit vectors (..., 3) from the angle to the crown and the azimuth (0 in front, positive to x > 0)."""
    parts = np.sin(polar) * np.sin(azimuth), -np.cos(polar), -np.sin(polar) * np.cos(azimuth)
    return np.stack(np.broadcast_arrays(*parts), -1)


def head_radius(polar: NDArray[np.floating], azimuth: NDArray[np.floating]) -> NDArray[np.float64]:
    """Distance of the mean head's skin, without ears, from `CENTRE` in these directions (see `to_direction`)."""
    table = _radius_table()
    row, column = np.broadcast_arrays(polar / np.pi * 63, (azimuth / np.pi + 1) / 2 * 129)
    place = (column.astype(np.float32), row.astype(np.float32))
    return np.asarray(cv2.remap(table, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float64)


@lru_cache(maxsize=1)
def head_mesh() -> Head:
    """The mesh, worked out once from the mean face."""
    model = load_face_model()
    face = mean_points()
    groups = [model.triangles_skin.numpy(), model.triangles_eyes.numpy(), model.triangles_mouth.numpy()]
    skull_from_face, skull_offset, skull_triangles = _skull(face)
    coarse_map = sparse.vstack([sparse.eye_array(FACE_POINTS), sparse.csr_array(skull_from_face)]).tocsr()
    coarse_offset = np.concatenate([np.zeros((FACE_POINTS, 3)), skull_offset])
    coarse = coarse_map @ face + coarse_offset
    triangles = np.concatenate([groups[0], skull_triangles, groups[1], groups[2]])
    parts = np.repeat([1, 1, 2, 3], [len(groups[0]), len(skull_triangles), len(groups[1]), len(groups[2])])
    refine, fine_triangles, fine_parts = _subdivide(coarse, triangles, parts.astype(np.uint8))
    from_face, offset = (refine @ coarse_map).tocsr(), refine @ coarse_offset

    oval = np.array(FACE_OVAL)
    outwards = 1 + 0.13 * np.minimum(RINGS / 0.36, 1)  # the painted face goes on a little behind its outline
    rim = unwrap(face)[oval] - 0.5
    rings = (0.5 + outwards[:, None, None] * rim).reshape(-1, 2)
    texture = refine @ np.concatenate([unwrap(face), rings, rings[-len(oval) :].mean(0, keepdims=True) * [1, 0.1]])
    mean = np.asarray(from_face @ face + offset)
    skin = fine_triangles[fine_parts == 1]
    downwards = vertex_normals(mean.astype(np.float32), skin, incidence(skin, len(mean)))[:, 1]
    shade = 1 - 0.5 * smoothstep(downwards, 0.55, 1.0) * smoothstep(mean[:, 1], 0.5, 0.75)  # under the jaw

    pieces = [_Piece(from_face, offset, fine_triangles, fine_parts, texture, shade, np.zeros(len(offset)))]
    pieces += [_ear(face, 1), _ear(face, -1), _neck()]
    return _join(pieces)


@dataclass(frozen=True)
class _Piece:
    """A part of the head; fields as in `Head`."""

    from_face: sparse.csr_array
    offset: NDArray[np.floating]
    triangles: Ints
    parts: NDArray[np.uint8]
    texture: NDArray[np.floating]
    shade: NDArray[np.floating]
    body: NDArray[np.floating]


def _join(pieces: list[_Piece]) -> Head:
    counts = [len(piece.offset) for piece in pieces]
    starts = np.cumsum([0, *counts[:-1]])
    triangles = np.concatenate([piece.triangles + start for piece, start in zip(pieces, starts, strict=True)])
    from_face = sparse.csr_array(sparse.vstack([piece.from_face for piece in pieces]), dtype=np.float32)
    offset = np.concatenate([piece.offset for piece in pieces])
    mean = np.asarray(from_face @ mean_points() + offset)
    parts = np.concatenate([piece.parts for piece in pieces])
    return Head(
        from_face=from_face,
        offset=offset.astype(np.float32),
        mean=mean.astype(np.float32),
        triangles=triangles.astype(np.int64),
        parts=parts.astype(np.uint8),
        texture=np.concatenate([piece.texture for piece in pieces]).astype(np.float32),
        shade=np.concatenate([piece.shade for piece in pieces]).astype(np.float32),
        body=np.concatenate([piece.body for piece in pieces]).astype(np.float32),
        smooth=_smoothing(mean, triangles[parts == 1]),
        ears=counts[1] + counts[2],
        neck=np.repeat([False] * (len(pieces) - 1) + [True], counts),
    )


def _skull(face: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], Ints]:
    """Rings from the outline to the back of the head: (n, 468) map, (n, 3) offset, triangles of the coarse mesh."""
    oval = np.array(FACE_OVAL)
    outline = face[oval] - CENTRE
    radius = np.linalg.norm(outline, axis=1)
    start, pole = outline / radius[:, None], np.array([0.0, 0.05, 1.0]) / np.hypot(0.05, 1)
    angle = np.arccos(start @ pole)[:, None]
    follow, places = [], []
    for t in RINGS:
        direction = (np.sin((1 - t) * angle) * start + np.sin(t * angle) * pole) / np.sin(angle)
        blend = smoothstep(np.array(t), 0, 0.55)
        places.append(direction * ((1 - blend) * radius + blend * skull_radius(direction))[:, None] + CENTRE)
        follow.append((1 - smoothstep(np.array(t), 0, 0.9)) * np.eye(FACE_POINTS)[oval])
    places.append(CENTRE + pole[None] * skull_radius(pole[None])[:, None])
    follow.append(np.zeros((1, FACE_POINTS)))
    from_face, place = np.concatenate(follow), np.concatenate(places)
    count = len(oval)
    ring = np.concatenate([oval[None], FACE_POINTS + np.arange(len(RINGS) * count).reshape(-1, count)])
    triangles = stitch(ring, closed=True)
    back = FACE_POINTS + len(RINGS) * count
    last = ring[-1]
    triangles = np.concatenate([triangles, np.stack([np.roll(last, -1), last, np.full(count, back)], 1)])
    return from_face, place - from_face @ face, triangles


def stitch(grid: Ints, *, closed: bool) -> Ints:
    """Triangles between the rows of a grid of vertices; `closed` joins the last column to the first."""
    after = np.roll(grid, -1, 1)
    if not closed:
        grid, after = grid[:, :-1], after[:, :-1]
    a, b, c, d = grid[:-1].ravel(), after[:-1].ravel(), grid[1:].ravel(), after[1:].ravel()
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])


def _subdivide(
    points: NDArray[np.float64], triangles: Ints, parts: NDArray[np.uint8]
) -> tuple[sparse.csr_array, Ints, NDArray[np.uint8]]:
    """Each triangle in four; new vertices where the surface bends least, old ones kept.

    Returns:
        (fine, coarse) map of vertices, fine triangles, their parts.
    """
    count = len(points)
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    unique, index = np.unique(edges, axis=0, return_inverse=True)
    ab, bc, ca = count + index.reshape(3, -1)
    a, b, c = triangles.T
    fine = np.concatenate([np.stack(x, 1) for x in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    fine_parts = np.tile(parts, 4)
    rows = np.repeat(np.arange(len(unique)), 2)
    half = sparse.csr_array((np.full(len(rows), 0.5), (rows, unique.ravel())), shape=(len(unique), count))
    middle = sparse.vstack([sparse.eye_array(count), half]).tocsr()

    laplacian = _laplacian(middle @ points, fine[fine_parts == 1])
    energy = (laplacian.T @ laplacian).tocsc()
    bent = count + np.flatnonzero(np.isin(unique, triangles[parts == 1]).all(1) & _used(fine, fine_parts, count))
    known = np.arange(count)
    solution = splu(energy[bent][:, bent].tocsc()).solve(-energy[bent][:, known].toarray())
    solution[np.abs(solution) < 2e-3] = 0
    solution /= solution.sum(1, keepdims=True)
    refine = middle.tolil()
    refine[bent] = solution
    return sparse.csr_array(refine), fine, fine_parts


def _used(fine: Ints, parts: NDArray[np.uint8], count: int) -> NDArray[np.bool_]:
    """Which new vertices belong to the skin."""
    used = np.zeros(int(fine.max()) + 1, bool)
    used[fine[parts == 1].ravel()] = True
    return used[count:]


def _laplacian(points: NDArray[np.float64], triangles: Ints) -> sparse.csr_array:
    """(v, v): a vertex minus the mean of its neighbours, the nearer the heavier; on a border along the border only."""
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    unique, uses = np.unique(np.sort(pairs, 1), axis=0, return_counts=True)
    border = np.zeros(len(points), bool)
    border[unique[uses == 1].ravel()] = True
    both = np.concatenate([unique, unique[:, ::-1]])
    rim = np.concatenate([uses == 1, uses == 1])
    both = both[~border[both[:, 0]] | rim]
    weight = 1 / np.linalg.norm(points[both[:, 0]] - points[both[:, 1]], axis=1)
    size = (len(points), len(points))
    total = np.bincount(both[:, 0], weight, len(points))
    mean = sparse.csr_array((weight / total[both[:, 0]], (both[:, 0], both[:, 1])), shape=size)
    return sparse.csr_array(sparse.diags_array((total > 0).astype(float)) - mean)


def _smoothing(mean: NDArray[np.float64], skin: Ints) -> sparse.csr_array:
    """(v, v) see `Head.smooth`."""
    pairs = np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]])
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    size = (len(mean), len(mean))
    linked = sparse.csr_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=size)
    linked.data[:] = 1
    count = linked.sum(1)
    average = sparse.diags_array(1 / np.maximum(count, 1)) @ linked
    step = 0.5 * (sparse.diags_array(np.where(count > 0, 1.0, 2.0)) + average)
    x, y = mean[:, 0], mean[:, 1]
    chin = smoothstep(y, 0.56, 0.64) * (1 - smoothstep(np.abs(x), 0.4, 0.55)) * (mean[:, 2] < -0.4)
    strong = (step @ step @ step @ step @ step @ step).tocsr()
    both = sparse.diags_array(chin) @ strong + sparse.diags_array(1 - chin) @ step
    return sparse.csr_array(both, dtype=np.float32)


def _ear(face: NDArray[np.float64], side: int) -> _Piece:
    """A shell with a raised rim; follows the outline beside it."""
    rows, columns = np.array([0.0, 0.3, 0.55, 0.75, 0.9, 1.0, 1.02]), 18
    angle = np.arange(columns) * 2 * np.pi / columns
    r, a = rows[:, None], angle[None]
    back, down = np.cos(a) * r, np.sin(a) * r
    narrow = 1 - 0.3 * np.clip(np.sin(a), 0, 1) ** 2
    height = np.interp(rows, [0, 0.55, 0.8, 0.92, 1.0, 1.02], [0.02, 0.01, 0.05, 0.075, 0.04, -0.09])[:, None]
    out = height * (0.75 + 0.25 * np.cos(a)) + 0.1 * (back + 0.2)
    local = np.stack([side * out, 0.28 * down - 0.04 * back, 0.155 * narrow * back + 0.03 * down], -1)
    place = local.reshape(-1, 3) + EAR * [side, 1, 1]
    weights = np.zeros((len(place), FACE_POINTS))
    weights[:, 454 if side > 0 else 234] = 1
    grid = np.arange(len(place)).reshape(len(rows), columns)
    triangles = stitch(grid, closed=True)
    triangles = triangles if side > 0 else triangles[:, ::-1]
    shade = np.broadcast_to(np.interp(rows, [0, 0.5, 0.85, 1], [0.5, 0.65, 1, 1])[:, None], grid.shape)
    texture = np.repeat(unwrap(face)[[454 if side > 0 else 234]], len(place), 0)
    parts = np.ones(len(triangles), np.uint8)
    offset = place - weights @ face
    follow = sparse.csr_array(weights)
    return _Piece(follow, offset, triangles, parts, texture, shade.ravel(), np.zeros(len(place)))


def _neck() -> _Piece:
    """Neck and shoulders: stacked ellipses."""
    angle = np.arange(NECK_COLUMNS) * 2 * np.pi / NECK_COLUMNS
    y, wide, deep, z = (NECK_ROWS[:, i : i + 1] for i in range(4))
    x = wide * np.sin(angle)
    depth = z - deep * np.cos(angle)
    place = np.stack([x, np.broadcast_to(y, x.shape) + 0.05 * np.cos(angle), depth], -1).reshape(-1, 3)
    grid = np.arange(len(place)).reshape(len(NECK_ROWS), -1)
    triangles = stitch(grid, closed=True)[:, ::-1]
    body = np.broadcast_to(smoothstep(y, 0.5, 1.7), x.shape).ravel()
    shade = np.broadcast_to(0.42 + 0.58 * smoothstep(y, 0.75, 1.7), x.shape).ravel()
    around = np.abs(np.remainder(angle + np.pi, 2 * np.pi) - np.pi) / np.pi  # 0 in front, 1 behind: both sides alike
    row = np.interp(y, [0.15, 1.0, 3.0, 7.0], [0, 0.2, 0.9, 1.0])
    texture = np.stack(np.broadcast_arrays(around[None], row), -1).reshape(-1, 2)
    parts = np.full(len(triangles), 4, np.uint8)
    return _Piece(sparse.csr_array((len(place), FACE_POINTS)), place, triangles, parts, texture, shade, body)


def smoothstep(x: NDArray[np.floating], zero: float, one: float) -> NDArray[np.float64]:
    """0 up to `zero`, 1 from `one` on, smooth in between."""
    u = np.clip((np.asarray(x, np.float64) - zero) / (one - zero), 0, 1)
    return np.asarray(u * u * (3 - 2 * u))


__all__ = [
    "CENTRE",
    "EAR",
    "FACE_POINTS",
    "PARTS",
    "Head",
    "head_mesh",
    "head_radius",
    "mean_points",
    "skull_radius",
    "smoothstep",
    "stitch",
    "to_direction",
    "unwrap",
]
