"""Hair of synthetic heads: shells over the skull, cut along a hairline, some with locks that hang down.

A shell is a grid: columns go around the head, rows from the crown down to the hairline or the ends. Convention: azimuth
in degrees, 0 in front, positive towards the person's left, 180 behind; head frame and unit as in `synthetic_shape`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from portrayal.data.synthetic_raster import Floats, Ints
from portrayal.data.synthetic_shape import CENTRE, UP, head_radius, mean_points, smoothstep, stitch, to_direction
from portrayal.face.topology import FACE_OVAL

COLUMNS, ROWS = 64, 24
AZIMUTHS = np.array([0, 25, 40, 52, 62, 70, 76, 84, 104, 112, 122, 140, 180.0])
SHORT_ENDS = np.array([-0.86, -0.86, -0.76, -0.58, -0.36, -0.14, -0.06, -0.36, -0.34, 0.05, 0.25, 0.38, 0.42])
"""y of the hairline at these azimuths: forehead, temple, sideburn, over the ear, nape."""
EQUATOR = -0.3
"""y below which long hair hangs straight down."""
REACH = 0.35
"""How far (head units) the hair follows the face's outline."""


@dataclass(frozen=True)
class Style:
    """How hair is cut. Lengths in head units."""

    volume: float
    """Thickness on the crown."""
    sides: float
    """Thickness above the ears."""
    length: float | None
    """y of the ends at the sides and behind; None is cut along the hairline."""
    fringe: float
    """How far the hair comes down over the forehead; negative is receding."""
    waves: float
    """Depth of the locks."""
    curls: float
    """Depth of small irregular bumps."""
    bun: bool = False


STYLES: dict[str, Style] = {
    "bald": Style(0, 0, None, 0, 0, 0),
    "buzz": Style(0.06, 0.055, None, 0, 0, 0.003),
    "short": Style(0.14, 0.07, None, 0.03, 0.012, 0.01),
    "quiff": Style(0.26, 0.06, None, -0.02, 0.02, 0.015),
    "receding": Style(0.07, 0.07, None, -0.3, 0.008, 0.006),
    "fringe": Style(0.17, 0.12, None, 0.3, 0.02, 0.008),
    "afro": Style(0.42, 0.42, None, 0.02, 0, 0.05),
    "bob": Style(0.16, 0.16, 0.75, 0.05, 0.02, 0.006),
    "bob-fringe": Style(0.16, 0.17, 0.65, 0.32, 0.02, 0.006),
    "long": Style(0.15, 0.16, 1.9, 0.02, 0.035, 0.006),
    "curly": Style(0.26, 0.3, 1.1, 0.06, 0.03, 0.06),
    "bun": Style(0.07, 0.06, None, 0.0, 0.01, 0.004, bun=True),
}


@dataclass(frozen=True)
class Hair:
    """One person's hair: a mesh in the head frame of the mean face, seen from both sides."""

    points: Floats
    """(v, 3)"""
    follow: Floats
    """(v, 36) how much each vertex moves with each point of `FACE_OVAL`."""
    triangles: Ints
    """(k, 3)"""
    texture: Floats
    """(v, 2) around the head, along the strands; both in [0, 1]."""
    shade: Floats
    """(v,) share of the light that reaches it."""
    body: Floats
    """(v,) 0 moves with the head, 1 lies on the shoulders."""


@lru_cache(maxsize=1)
def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64], Ints]:
    """Azimuths in radians of the columns, rows in [0, 1] from crown to ends, triangles of the grid."""
    azimuth = (np.arange(COLUMNS) + 0.5) * 2 * np.pi / COLUMNS - np.pi
    rows = np.linspace(0, 1, ROWS) ** 0.9
    return azimuth, rows, stitch(np.arange(COLUMNS * ROWS).reshape(ROWS, COLUMNS), closed=True)


def comb(style: Style, random: np.random.Generator) -> Hair | None:
    """Hair of that style with its own locks and curls; None for a bald head."""
    if style.volume == 0:
        return None
    azimuth, rows, triangles = _grid()
    degrees, row = np.abs(np.degrees(azimuth))[None], rows[:, None]
    ends = _ends(style, azimuth, random)[None]
    polar, drop = _path(row, ends)
    direction, radius = to_direction(polar, azimuth), head_radius(polar, azimuth)
    side = smoothstep(polar, 0.5, 1.5)
    thickness = (1 - side) * style.volume + side * style.sides
    thickness = thickness + _locks(style, random, rows, azimuth)
    hangs = np.asarray((style.length is not None) & (degrees > 64))
    edge = 1 - smoothstep(row, 0.8, 1.0)
    thickness = np.where(hangs, thickness, thickness * edge - 0.07 * smoothstep(row, 0.93, 1.0))
    place = CENTRE + direction * (radius + thickness)[..., None]
    inward = 1 - 0.10 * smoothstep(drop, 0, 0.8) * (np.abs(degrees - 90) < 70)
    place[..., 0] *= inward
    place[..., 1] += drop
    place[..., 2] += 0.12 * smoothstep(drop, 0.2, 1.4)
    light = 0.55 + 0.45 * smoothstep(thickness, -0.05, 0.6 * max(style.volume, style.sides)) - 0.25 * (drop > 0) * row
    lies = 0.7 * smoothstep(drop, 0.6, 2.0)
    lit = np.broadcast_to(light, polar.shape)
    strands = np.stack(np.broadcast_arrays((azimuth / (2 * np.pi) + 0.5)[None], row), -1)
    flat = [place.reshape(-1, 3), strands.reshape(-1, 2), lit.ravel(), lies.ravel()]
    if style.bun:
        triangles, flat = _add_bun(triangles, flat)
    points, texture, shade, body = (x.astype(np.float32) for x in flat)
    outline = mean_points()[list(FACE_OVAL)]
    near = np.exp(-(np.square(points[:, None] - outline).sum(-1) / REACH**2))
    follow = (near / (near.sum(1, keepdims=True) + 0.15)).astype(np.float32)
    return Hair(points, follow, triangles, texture, shade, body)


def _ends(style: Style, azimuth: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """(columns,) y where the hair ends."""
    degrees = np.abs(np.degrees(azimuth))
    shift = style.fringe + 0.02 * np.sin(azimuth * 7 + random.uniform(0, 6)) * (style.fringe > 0.1)
    front = 1 - smoothstep(degrees, 38, 66)
    ends = np.interp(degrees, AZIMUTHS, SHORT_ENDS) + front * shift
    if style.length is not None:
        long = style.length + 0.08 * np.sin(3 * azimuth + random.uniform(0, 6)) + random.normal(0, 0.03, len(azimuth))
        ends = np.where(degrees > 64, long, ends)
    return np.asarray(ends)


def _path(row: NDArray[np.float64], ends: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Polar angle from the crown, and the way straight down after it: (rows, columns) each, ends at y = `ends`."""
    cut = np.where(ends > 0.5, EQUATOR, ends)
    cosine = np.clip((CENTRE[1] - cut) / UP, -0.85, 0.99)
    last = np.arccos(cosine)
    fall = np.where(ends > 0.5, ends - EQUATOR, 0)
    way = row * (last * 1.05 + fall)
    polar = np.minimum(way / 1.05, last)
    return polar, np.maximum(way - last * 1.05, 0)


def _locks(
    style: Style, random: np.random.Generator, rows: NDArray[np.float64], azimuth: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(rows, columns) thickness that locks and curls add."""
    phases = random.uniform(0, 2 * np.pi, 4)
    counts = random.integers(5, 15, 4)
    waves = np.sin(azimuth[None] * counts[:, None] + phases[:, None]).mean(0)[None]
    waves = waves + 0.5 * np.sin(rows[:, None] * 14 + 3 * np.sin(azimuth * 3)[None] + phases[0])
    bumps = random.standard_normal((len(rows), len(azimuth)))
    bumps = bumps + np.roll(bumps, 1, 1) + np.roll(bumps, 1, 0) + np.roll(bumps, (1, 1), (0, 1))
    return style.waves * waves * smoothstep(rows, 0, 0.3)[:, None] + style.curls / 2 * bumps


def _add_bun(triangles: Ints, flat: list[NDArray[np.float64]]) -> tuple[Ints, list[NDArray[np.float64]]]:
    """A ball behind the crown."""
    down, around = np.linspace(0, np.pi, 9)[:, None], np.arange(16)[None] * 2 * np.pi / 16
    ball = to_direction(down, around)
    place = ball.reshape(-1, 3) * [0.34, 0.3, 0.32] + [0, -1.42, 0.72]
    texture = np.stack(np.broadcast_arrays(around / (2 * np.pi), down / np.pi), -1).reshape(-1, 2)
    extra = stitch(np.arange(len(place)).reshape(9, 16), closed=True) + len(flat[0])
    more = [place, texture, np.full(len(place), 0.95), np.zeros(len(place))]
    joined = [np.concatenate([a, b]) for a, b in zip(flat, more, strict=True)]
    return np.concatenate([triangles, extra]), joined
