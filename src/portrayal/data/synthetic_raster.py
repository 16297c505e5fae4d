"""A small software renderer: triangles to visible surface points, vertex normals, second-order light.

Everything is vectorised over triangles, scan lines and pixels; there is no Python loop. Convention: picture axes of
`face.pose` (x right, y down, z into the scene), pixels with centres at half integers, triangles clockwise in the
picture face the camera, normals point towards it (z < 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

DEPTH_BITS = 24
"""Steps into which the z-buffer divides the range of depths."""
SH_SIZE = 9


@dataclass(frozen=True)
class Visible:
    """What each covered pixel sees, in the order of `pixels`."""

    pixels: Ints
    """(n,) row * width + column."""
    triangles: Ints
    """(n,) index of the nearest triangle."""
    second: Floats
    """(n,) barycentric weight of its second corner."""
    third: Floats
    """(n,) of its third corner."""

    def interpolate(self, corners: Ints, values: Floats) -> Floats:
        """Vertex values at the visible points.

        Args:
            corners: (k, 3) vertices of each triangle. values: (v, c).

        Returns:
            (n, c).
        """
        at = values[corners]  # (k, 3, c)
        slopes = at[:, 1:] - at[:, :1]
        out = at[:, 0].take(self.triangles, 0)
        out += self.second[:, None] * slopes[:, 0].take(self.triangles, 0)
        out += self.third[:, None] * slopes[:, 1].take(self.triangles, 0)
        return out


def rasterise(points: Floats, triangles: Ints, *, width: int, height: int, both_sides: NDArray[np.bool_]) -> Visible:
    """The nearest triangle at every pixel's centre.

    A triangle covers a centre on its left or upper edge, not on the others, so that neighbours share no pixel and
    leave none out.

    Args:
        points: (v, 3) pixels, z smaller is nearer.
        triangles: (k, 3).
        width, height: of the picture in pixels.
        both_sides: (k,) bool: also seen from behind.
    """
    corners = points[triangles].astype(np.float64)  # (k, 3, 3)
    edges = corners[:, 1:] - corners[:, :1]
    area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    low, high = corners[..., :2].min(1), corners[..., :2].max(1)
    inside = (high > 0).all(1) & (low[:, 0] < width) & (low[:, 1] < height)
    drawn = np.flatnonzero(inside & ((area > 1e-9) | (both_sides & (area < -1e-9))))
    corners, edges, area = corners[drawn], edges[drawn], area[drawn]

    span, row, first, last = _spans(corners, np.sign(area), width, height)
    length = last - first
    begin = np.cumsum(length) - length
    # Barycentric weights are affine: w = w(corner 0) + slope . (x - corner 0).
    slope = np.stack([edges[:, 1, 1], -edges[:, 1, 0], -edges[:, 0, 1], edges[:, 0, 0]], 1) / area[:, None]
    z_slope = slope[:, :2] * edges[:, 0, 2:] + slope[:, 2:] * edges[:, 1, 2:]
    z0, z1 = float(corners[..., 2].min(initial=0)), float(corners[..., 2].max(initial=1))
    z = corners[span, 0, 2] + z_slope[span, 0] * (first + 0.5 - corners[span, 0, 0])
    z += z_slope[span, 1] * (row + 0.5 - corners[span, 0, 1])
    z = (z - z0) * ((1 << DEPTH_BITS) / max(z1 - z0, 1e-6))
    step = z_slope[span, 0] * ((1 << DEPTH_BITS) / max(z1 - z0, 1e-6))

    along = np.arange(int(length.sum())) - np.repeat(begin, length)
    pixel = np.repeat(row * width + first, length) + along
    depth = np.repeat(z, length) + np.repeat(step, length) * along
    key = (depth.clip(0, 1 << (DEPTH_BITS + 1)).astype(np.int64) << 32) | np.repeat(span, length)
    nothing = np.iinfo(np.int64).max
    nearest = np.full(width * height, nothing)
    np.minimum.at(nearest, pixel, key)

    pixels = np.flatnonzero(nearest != nothing)
    local = nearest[pixels] & 0xFFFFFFFF
    x = pixels % width + 0.5 - corners[:, 0, 0].take(local)
    y = pixels // width + 0.5 - corners[:, 0, 1].take(local)
    second = slope[:, 0].take(local) * x + slope[:, 1].take(local) * y
    third = slope[:, 2].take(local) * x + slope[:, 3].take(local) * y
    return Visible(pixels, drawn[local], second.astype(np.float32), third.astype(np.float32))


def _spans(
    corners: NDArray[np.float64], side: NDArray[np.float64], width: int, height: int
) -> tuple[Ints, Ints, Ints, Ints]:
    """Rows of pixels inside the triangles.

    Args:
        corners: (k, 3, 3). side: (k,) sign of the signed area.

    Returns:
        Per span: its triangle, its row, its first column and the one after its last.
    """
    top = np.ceil(corners[..., 1].min(1) - 0.5).clip(0, height).astype(np.int64)
    bottom = np.ceil(corners[..., 1].max(1) - 0.5).clip(0, height).astype(np.int64)
    rows = bottom - top
    triangle = np.repeat(np.arange(len(corners)), rows)
    row = np.arange(len(triangle)) - np.repeat(np.cumsum(rows) - rows, rows) + np.repeat(top, rows)
    y = row + 0.5
    left, right = np.full(len(row), -np.inf), np.full(len(row), np.inf)
    for i in range(3):
        a, b = corners[:, i], corners[:, (i + 1) % 3]
        # Inside is side * (A x + B y + C) >= 0; an edge seen from its other triangle has exactly the opposite numbers.
        slope_x, slope_y = a[:, 1] - b[:, 1], b[:, 0] - a[:, 0]
        constant = a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = -(slope_y[triangle] * y + constant[triangle]) / slope_x[triangle]
        facing = (side * slope_x)[triangle]
        left = np.where(facing > 0, np.maximum(left, crossing), left)
        right = np.where(facing < 0, np.minimum(right, crossing), right)
    first = np.ceil(left - 0.5).clip(0, width).astype(np.int64)
    last = np.maximum(np.ceil(right - 0.5).clip(0, width).astype(np.int64), first)
    return triangle, row, first, last


def incidence(triangles: Ints, count: int) -> sparse.csr_array:
    """(count, k) 0/1: which triangles meet at each vertex."""
    columns = np.repeat(np.arange(len(triangles)), 3)
    ones = np.ones(len(columns), np.float32)
    return sparse.csr_array((ones, (triangles.ravel(), columns)), shape=(count, len(triangles)))


def vertex_normals(points: Floats, triangles: Ints, meets: sparse.csr_array) -> Floats:
    """(v, 3) unit normals, the mean of the adjoining triangles by their area.

    Args:
        points: (v, 3). triangles: (k, 3). meets: `incidence(triangles, v)`.
    """
    a, b, c = (points[triangles[:, i]] for i in range(3))
    e, f = b - a, c - a
    cross = np.stack(
        [
            f[:, 1] * e[:, 2] - f[:, 2] * e[:, 1],
            f[:, 2] * e[:, 0] - f[:, 0] * e[:, 2],
            f[:, 0] * e[:, 1] - f[:, 1] * e[:, 0],
        ],
        1,
    )
    total: Floats = np.asarray(meets @ cross, np.float32)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)


def sh_basis(directions: Floats) -> Floats:
    """(..., 3) unit directions to (..., 9) real spherical harmonics up to order 2 (Ramamoorthi and Hanrahan 2001)."""
    x, y, z = directions[..., 0], directions[..., 1], directions[..., 2]
    return np.stack(
        [
            np.full_like(x, 0.282095),
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z * z - 1),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        -1,
    )


def directional_light(direction: Floats, colour: Floats) -> Floats:
    """(9, 3) coefficients whose sum with `sh_basis(normal)` is about colour * max(0, normal . direction).

    The clamped cosine is 1/4 P0 + 1/2 P1 + 5/16 P2 up to order 2.

    Args:
        direction: (3,) unit, from the surface to the light. colour: (3,).
    """
    zonal = np.repeat(np.array([1 / 4, 1 / 2, 5 / 16]) * 4 * np.pi / np.array([1, 3, 5]), [1, 3, 5])
    light: Floats = (zonal * sh_basis(direction)).astype(np.float32)[:, None] * colour[None].astype(np.float32)
    return light


def ambient_light(colour: Floats) -> Floats:
    """(9, 3) coefficients of light that is the same from everywhere: sum with `sh_basis` is `colour`."""
    light = np.zeros((SH_SIZE, 3), np.float32)
    light[0] = colour / 0.282095
    return light
