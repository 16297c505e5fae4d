"""Drawing a moved mesh: for each pixel of the driving frame, where to read in the source."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.systems.meshwarp.layers import Array, Picture

FRACTION_BITS = 4
"""cv2 draws corners to 1/16 of a cell."""
MAX_SLOPE = 8.0
"""Largest change of the displacement from one pixel to the next within a triangle."""


def backward_displacement(
    source: Array,
    driving: Array,
    triangles: NDArray[np.int64],
    *,
    behind: int,
    width: int,
    height: int,
    step: int,
) -> Picture:
    """Source position minus driving position of what is visible at each cell of the driving picture.

    Triangles are drawn from far to near (painter's algorithm), each with its own affine map; outside all of them the
    displacement is 0.

    Args:
        source: (n, 2 or 3) vertices at rest, pixels.
        driving: (n, 3) the same vertices moved; z orders them, smaller is nearer.
        triangles: (k, 3); the first `behind` are drawn before all others (they lie in holes of the others).
        width, height: of the picture.
        step: pixels per cell; the value belongs to the cell's centre.

    Returns:
        (ceil(height / step), ceil(width / step), 2) float32 pixels.
    """
    corners = driving[triangles]  # (k, 3, 3)
    coefficients, area = _affine(source[triangles][..., :2], corners[..., :2])
    depth = corners[..., 2].mean(1)
    depth[:behind] = np.inf
    drawn = np.flatnonzero(np.abs(area) > 1e-3)
    order = drawn[np.argsort(-depth[drawn], kind="stable")]

    rows, columns = -(-height // step), -(-width // step)
    ids = np.zeros((rows, columns), np.int32)
    cells = (corners[order, :, :2] / step - 0.5) * (1 << FRACTION_BITS)
    points = np.clip(np.round(cells), -(2**20), 2**20).astype(np.int32)
    for i, polygon in zip((order + 1).tolist(), points, strict=True):
        cv2.fillConvexPoly(ids, polygon, i, cv2.LINE_8, FRACTION_BITS)

    x = ((np.arange(columns) + 0.5) * step).astype(np.float32)
    y = ((np.arange(rows) + 0.5) * step).astype(np.float32)[:, None]
    table = np.zeros((6, len(triangles) + 1), np.float32)
    table[:, 1:] = coefficients.reshape(-1, 6).T
    field = np.empty((rows, columns, 2), np.float32)
    for axis in range(2):
        a, b, c = (table[3 * axis + j].take(ids) for j in range(3))
        a *= x
        b *= y
        a += b
        np.add(a, c, out=field[..., axis])
    return np.asarray(cv2.blur(field, (3, 3), borderType=cv2.BORDER_REPLICATE))


def texture_density(displacement: Picture, step: int) -> Picture:
    """How much of the source a pixel shows: (rows, columns) of source area per area, 1 where nothing moves.

    Little where texture is stretched, because the source hides the skin or shows it from the side; negative where it is
    folded.

    Args:
        displacement: as from `backward_displacement` with that step.
    """
    (x_down, x_across), (y_down, y_across) = (np.gradient(displacement[..., axis], step) for axis in range(2))
    density: Picture = (1 + x_across) * (1 + y_down) - x_down * y_across
    return density


def read_cells(mask: Picture, displacement: Picture, step: int) -> Picture:
    """As `read_source`, for a mask (h, w), at the middles of the cells alone: (rows, columns)."""
    rows, columns = displacement.shape[:2]
    x, y = ((np.arange(n, dtype=np.float32) + 0.5) * step - 0.5 for n in (columns, rows))
    at = displacement + np.stack(np.meshgrid(x, y), -1)
    empty: Any = None
    return np.asarray(cv2.remap(mask, at, empty, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def read_source(texture: Picture, displacement: Picture, step: int) -> Picture:
    """Sample the source picture at each pixel plus its displacement.

    Args:
        texture: (h, w, 3) float32.
        displacement: as from `backward_displacement` with that step.

    Returns:
        (h, w, 3) float32; beyond the border the border's pixels repeat.
    """
    height, width = texture.shape[:2]
    rows, columns = displacement.shape[:2]
    size = (columns * step, rows * step)
    full: Picture = cv2.resize(displacement, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
    full[..., 0] += np.arange(width, dtype=np.float32)
    full[..., 1] += np.arange(height, dtype=np.float32)[:, None]
    empty: Any = None
    frame: Picture = cv2.remap(texture, full, empty, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return frame


def _affine(source: Array, driving: Array) -> tuple[Array, Array]:
    """Per triangle the displacement (source - driving) as an affine function of the driving position.

    Args:
        source, driving: (k, 3, 2) corners.

    Returns:
        (k, 2, 3) rows (a, b, c) with displacement = a x + b y + c; (k,) twice the signed driving area.
    """
    e, f = driving[:, 1] - driving[:, 0], driving[:, 2] - driving[:, 0]
    area = e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0]
    shift = source - driving
    g, h = shift[:, 1] - shift[:, 0], shift[:, 2] - shift[:, 0]  # (k, 2)
    safe = np.where(np.abs(area) > 1e-9, area, 1.0)[:, None]
    a = (g * f[:, 1:] - h * e[:, 1:]) / safe
    b = (h * e[:, :1] - g * f[:, :1]) / safe
    steepness = np.maximum(np.abs(a), np.abs(b)).max(1, keepdims=True)
    flatten = np.minimum(1.0, MAX_SLOPE / np.maximum(steepness, 1e-9))  # slivers must not read from afar
    a, b = a * flatten, b * flatten
    middle = driving.mean(1)
    c = shift.mean(1) - a * middle[:, :1] - b * middle[:, 1:]
    return np.stack([a, b, c], -1), area
