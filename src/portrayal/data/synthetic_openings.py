"""What shows through the openings of a synthetic face: eyeballs with iris, pupil and glint, teeth and tongue.

Both are worked out pixel by pixel: the line of sight through the pixel meets the eyeball or the row of teeth. So the
iris lies exactly where the landmarks say and the lids cover it, and teeth turn with the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portrayal.data.synthetic_person import Person
from portrayal.data.synthetic_raster import Floats, sh_basis
from portrayal.data.synthetic_scene import Scene
from portrayal.data.synthetic_shape import smoothstep
from portrayal.data.synthetic_texture import to_linear
from portrayal.face.gaze import EYEBALL_RADIUS

PUPIL = 0.4
"""Radius of the pupil in iris radii."""
TEETH_RADIUS = 0.3
"""Of the arc on which the teeth stand, head units."""
TEETH_BEHIND_LIPS = 0.085
UPPER_EDGE, LOWER_EDGE = 0.035, 0.02
"""Where the front teeth end: upper ones below the upper lip at rest, lower ones above the lower lip's."""
TOOTH_ENDS = np.cumsum([0.094, 0.072, 0.083, 0.078, 0.076])
"""Where teeth meet along the arc, from the middle, head units."""
TOOTH_LENGTH = 0.115


@dataclass(frozen=True)
class Eyeball:
    """One eyeball in the picture; lengths in pixels."""

    centre: NDArray[np.float64]
    """(3,)"""
    axes: NDArray[np.float64]
    """(3, 3) columns: right, down and into the head as the eye looks, picture frame."""
    width: float
    """Of the eye, corner to corner."""
    iris: tuple[float, float]
    """Half width and half height of the iris, eye widths."""


@dataclass(frozen=True)
class Teeth:
    """The rows of teeth in the head frame."""

    front: float
    """z of the front teeth."""
    upper: float
    """y of the upper teeth's edge."""
    lower: float
    """y of the lower teeth's edge; moves with the jaw."""


def shade_eye(
    ball: Eyeball, places: NDArray[np.float64], shade: Floats, person: Person, scene: Scene, pixel: float
) -> Floats:
    """Linear colours of an eyeball.

    Args:
        places: (n, 2) where in the picture, pixels.
        shade: (n,) share of the light that the lids let through.
        pixel: size of a sample in pixels, for soft edges.

    Returns:
        (n, 3).
    """
    offset = (places - ball.centre[:2]) / ball.width  # eye widths
    gaze = -ball.axes[:, 2]
    lift = EYEBALL_RADIUS - offset @ gaze[:2]
    on_plane = np.concatenate([offset, (lift / min(gaze[2], -0.2))[:, None]], 1) @ ball.axes[:, :2]
    radius = np.hypot(on_plane[:, 0] / ball.iris[0], on_plane[:, 1] / ball.iris[1])
    soft = max(1.2 * pixel / (ball.width * ball.iris[0]), 0.04)

    size = float(np.hypot(EYEBALL_RADIUS, ball.iris[0]))
    inside = np.minimum(np.square(offset).sum(1) / size**2, 0.98)
    normal = np.concatenate([offset / size, -np.sqrt(1 - inside)[:, None]], 1)
    light = np.maximum(sh_basis(normal) @ scene.light, 0.02) * shade[:, None]

    angle = np.arctan2(on_plane[:, 1], on_plane[:, 0])
    fibres = 1 + 0.18 * np.sin(23 * angle + 3 * np.sin(5 * angle)) * smoothstep(radius, 0.3, 0.6)
    ring = 1 - person.iris_rings * smoothstep(radius, 0.72, 0.98)
    iris = to_linear(np.asarray(person.iris, np.float32)) * (1.1 * fibres * ring)[:, None]
    iris *= smoothstep(radius, PUPIL - soft / 2, PUPIL + soft / 2)[:, None]
    white = to_linear(np.asarray(person.sclera, np.float32)).astype(np.float64)
    corner = smoothstep(np.abs(on_plane[:, 0]), 0.3, 0.55)[:, None]
    white = white * (1 - corner * [0.15, 0.35, 0.35])
    share = smoothstep(radius, 1 + soft, 1 - soft)[:, None]
    half = scene.key + np.array([0, 0, -1])
    glint = np.exp((normal @ (half / np.linalg.norm(half)) - 1) / 0.005) * (0.4 + 0.6 * share[:, 0]) * shade
    colour = (white * (1 - share) + iris * share) * light + 0.8 * glint[:, None] * scene.key_colour
    return np.asarray(colour, np.float32)


def shade_mouth(
    teeth: Teeth,
    origin: NDArray[np.float64],
    direction: NDArray[np.float64],
    shade: Floats,
    person: Person,
    scene: Scene,
) -> Floats:
    """Linear colours behind the lips.

    Args:
        origin: (n, 3) a point of each line of sight, head frame. direction: (3,) unit, into the scene.
        shade: (n,) share of the light that the lips let through.

    Returns:
        (n, 3).
    """
    axis = np.array([0, teeth.front + TEETH_RADIUS])
    start, along = origin[:, [0, 2]] - axis, direction[[0, 2]]
    a, b, c = along @ along, start @ along, np.square(start).sum(1) - TEETH_RADIUS**2
    root = b * b - a * c
    way = (-b - np.sqrt(np.maximum(root, 0))) / max(a, 1e-6)
    x, y, z = (origin + way[:, None] * direction).T
    arc = TEETH_RADIUS * np.abs(np.arctan2(x, axis[1] - z))
    hit = (root > 0) & (arc < TOOTH_ENDS[-1])

    tooth = np.searchsorted(TOOTH_ENDS, arc)
    starts = np.concatenate([[0], TOOTH_ENDS])
    middle = (starts[tooth] + np.append(TOOTH_ENDS, 1)[tooth]) / 2
    across = 2 * np.abs(arc - middle) / np.append(np.diff(starts), 1)[tooth]  # 0 in the middle, 1 at the gap
    curve = 0.012 * np.square(across) ** 2 + 0.05 * np.square(arc)
    gap = 1 - 0.35 * smoothstep(across, 0.8, 1.0)
    dim = (1 - 0.75 * smoothstep(arc, 0.12, 0.4)) * gap
    white, gum = to_linear(np.asarray(person.teeth, np.float32)), to_linear(np.array([0.62, 0.33, 0.33], np.float32))

    tongue = smoothstep(np.hypot(origin[:, 0] / 0.24, (y - teeth.lower - 0.03) / 0.16), 1.0, 0.6)[:, None]
    colour = np.array([0.022, 0.008, 0.008]) * (1 - tongue) + tongue * [0.20, 0.055, 0.055]
    below, above = y - (teeth.lower + curve), (teeth.upper - curve) - y
    for inside, strength in ((below, 0.6), (above, 1.0)):
        root_side = smoothstep(inside, TOOTH_LENGTH - 0.02, TOOTH_LENGTH)[:, None]
        surface = (white * (1 - root_side) + gum * root_side) * (strength * dim)[:, None]
        share = (smoothstep(inside, -0.004, 0.008) * hit)[:, None]
        colour = colour * (1 - share) + surface * share
    light = np.maximum(sh_basis(np.array([[0, 0, -1.0]])) @ scene.light, 0.02)
    return np.asarray(colour * light * shade[:, None], np.float32)
