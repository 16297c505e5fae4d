"""Triangles of the face mesh, derived from the points of a symmetric face; for the build of the face model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from portrayal.face.topology import FACE_OVAL, LEFT_EYE, LIPS_INNER, LIPS_OUTER, MIRROR, RIGHT_EYE

MESH_POINTS = 468
AXIS_DEPTH = 0.9
"""The axis of the cylinder onto which the face is unwrapped, in head units behind the nose tip."""

Triangles = NDArray[np.int64]
Points = NDArray[np.floating]


def triangulate_face(points: Points) -> dict[str, Triangles]:
    """Delaunay triangles of the cylindrical unwrapping of a face, the same on both sides of the midline.

    Args:
        points: (478, 3) head frame, symmetric, with eyes and mouth open so that the openings are polygons.

    Returns:
        "skin", "mouth", "eyes": (n, 3) int64 each, clockwise in the picture of a frontal face. Mouth and eyes fill the
        openings inside LIPS_INNER and the eye contours; these contours and LIPS_OUTER are edges.

    Raises:
        ValueError: if the points do not allow such a contour.
    """
    flat = _unwrap(points)
    mirror = np.array(MIRROR[:MESH_POINTS])
    middle = np.flatnonzero(mirror == np.arange(MESH_POINTS))
    half = np.union1d(middle, np.flatnonzero(flat[:, 0] < -1e-6))
    flat[middle, 0] = 0
    right = half[Delaunay(flat[half]).simplices]
    right = right[_of_the_face(flat, right)]
    for loop in (RIGHT_EYE, LIPS_INNER, LIPS_OUTER):
        for a, b in zip(loop, loop[1:] + loop[:1], strict=True):
            if a in half and b in half:
                right = _with_edge(flat, right, a, b)
    triangles = np.concatenate([right, mirror[right]])
    triangles = _clockwise(flat, triangles)
    centres = flat[triangles].mean(1)
    mouth = _in_polygon(centres, flat[list(LIPS_INNER)])
    eyes = _in_polygon(centres, flat[list(RIGHT_EYE)]) | _in_polygon(centres, flat[list(LEFT_EYE)])
    return {"skin": triangles[~mouth & ~eyes], "mouth": triangles[mouth], "eyes": triangles[eyes]}


def area_centroid(points: Points, triangles: Triangles) -> Points:
    """(3,) centroid of the surface that the triangles span."""
    a, b, c = points[triangles].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    centroid: Points = (area[:, None] * (a + b + c) / 3).sum(0) / area.sum()
    return centroid


def _unwrap(points: Points) -> Points:
    """(478, 3) to (468, 2): angle around a vertical axis inside the head, height."""
    x, y, z = points[:MESH_POINTS].T
    return np.stack([np.arctan2(x, AXIS_DEPTH + z.min() - z), y], 1)


def _of_the_face(flat: Points, triangles: Triangles) -> NDArray[np.bool_]:
    """Not those that the convex hull added outside the face's outline, nor those without area."""
    a, b, c = flat[triangles].transpose(1, 0, 2)
    area = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    keep: NDArray[np.bool_] = _in_polygon((a + b + c) / 3, flat[list(FACE_OVAL)]) & (area > 1e-7)
    return keep


def _in_polygon(points: Points, polygon: Points) -> NDArray[np.bool_]:
    """Even-odd rule: (n, 2) points, (m, 2) polygon to (n,)."""
    (x, y), start, end = points.T, polygon, np.roll(polygon, -1, 0)
    crosses = (start[:, 1] > y[:, None]) != (end[:, 1] > y[:, None])
    with np.errstate(divide="ignore", invalid="ignore"):
        at = start[:, 0] + (y[:, None] - start[:, 1]) * (end - start)[:, 0] / (end - start)[:, 1]
    inside: NDArray[np.bool_] = (crosses & (x[:, None] < at)).sum(1) % 2 == 1
    return inside


def _clockwise(flat: Points, triangles: Triangles) -> Triangles:
    """The same triangles, wound clockwise where y points down, first the smallest index, in sorted order."""
    a, b, c = flat[triangles].transpose(1, 0, 2)
    turn = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    triangles = np.where((turn < 0)[:, None], triangles[:, ::-1], triangles)
    first = triangles.argmin(1)
    triangles = np.stack([np.take_along_axis(triangles, (first + i)[:, None] % 3, 1)[:, 0] for i in range(3)], 1)
    return triangles[np.lexsort(triangles.T[::-1])]


def _with_edge(flat: Points, triangles: Triangles, a: int, b: int) -> Triangles:
    """Flip the edges that cross a-b until a-b is an edge (Sloan 1993, without restoring Delaunay's property)."""
    for _ in range(100):
        neighbours: dict[frozenset[int], list[int]] = {}
        for n, triangle in enumerate(triangles.tolist()):
            for i in range(3):
                neighbours.setdefault(frozenset((triangle[i], triangle[i - 1])), []).append(n)
        if frozenset((a, b)) in neighbours:
            return triangles
        for edge, pair in neighbours.items():
            c, d = edge
            if len(pair) < 2 or not _cross(flat, a, b, c, d):
                continue
            e, f = (next(iter(set(triangles[n].tolist()) - edge)) for n in pair)
            if _cross(flat, c, d, e, f):  # the two triangles form a convex quadrilateral
                triangles = triangles.copy()
                triangles[pair] = [[e, f, c], [e, f, d]]
                break
    raise ValueError(f"the contour {a}-{b} cannot be made an edge; open eyes and mouth wider")


def _cross(flat: Points, a: int, b: int, c: int, d: int) -> bool:
    """Do the segments a-b and c-d cross between their ends?"""

    def side(p: int, q: int, r: int) -> float:
        (x, y), (u, v) = flat[q] - flat[p], flat[r] - flat[p]
        return float(x * v - y * u)

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
