"""Where a synthetic head is: light, background, and which way the shoulders face."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.data.synthetic_person import generator
from portrayal.data.synthetic_raster import Floats, ambient_light, directional_light, sh_basis

Background = Literal["gradient", "noise", "shapes", "plain"]
LARGEST_LIGHT = 1.15
"""Most light that a frontal white surface gets; brighter scenes are dimmed to it."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One place, for a picture or a whole clip."""

    seed: int
    light: Floats
    """(9, 3) linear RGB coefficients of `synthetic_raster.sh_basis` in the picture's frame: sum is irradiance / pi."""
    key: Floats
    """(3,) unit direction from the head to the main light, picture frame; highlights come from there."""
    key_colour: Floats
    """(3,) linear."""
    background: Background
    turn: tuple[float, float, float]
    """Yaw, pitch and roll of the shoulders when the head looks straight ahead, radians."""

    @classmethod
    def draw(cls, seed: int) -> Scene:
        """The scene with this number: the same on every call."""
        random = generator(seed, "scene")
        azimuth, height = random.uniform(-1.2, 1.2), random.uniform(-0.2, 1.0)
        key = _direction(azimuth, height)
        warmth = random.normal(0, 0.07)
        colour = np.array([1 + warmth, 1.0, 1 - warmth])
        strength = random.uniform(0.35, 0.95)
        sky = np.array([1 - 0.7 * warmth, 1.0, 1 + 0.7 * warmth]) * random.uniform(0.28, 0.6)
        fill = _direction(-azimuth + random.normal(0, 0.3), random.uniform(-0.3, 0.5))
        light = ambient_light(_floats(sky)) + directional_light(_floats(key), _floats(colour * strength))
        light += directional_light(_floats(fill), _floats(sky[::-1] * random.uniform(0, 0.5)))
        if random.random() < 0.4:  # from behind, along the outline
            rim = _direction(random.choice([-1, 1]) * random.uniform(2.0, 2.6), random.uniform(0, 0.6))
            light += directional_light(_floats(rim), _floats(colour * random.uniform(0.2, 0.7)))
        frontal = sh_basis(np.array([0, 0, -1], np.float32)) @ light
        dimmed = min(1.0, LARGEST_LIGHT / float(frontal.max()))
        kinds: tuple[Background, ...] = ("gradient", "noise", "shapes", "plain")
        turn = random.normal(0, [0.15, 0.03, 0.03])
        return cls(
            seed=seed,
            light=(light * dimmed).astype(np.float32),
            key=_floats(key),
            key_colour=_floats(colour * strength * dimmed),
            background=kinds[int(random.choice(4, p=[0.3, 0.2, 0.4, 0.1]))],
            turn=(float(turn[0]), float(turn[1]), float(turn[2])),
        )


@lru_cache(maxsize=8)
def paint_background(scene: Scene, width: int, height: int) -> Floats:
    """(height, width, 3) linear; do not write into it."""
    random = generator(scene.seed, "background")
    first, second = (_muted(random) for _ in range(2))
    x = ((np.arange(width) + 0.5) / max(width, height))[None]
    y = ((np.arange(height) + 0.5) / max(width, height))[:, None]
    angle = random.uniform(0, 2 * np.pi)
    along = np.clip(0.5 + np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5), 0, 1)[..., None]
    picture = first * (1 - along) + second * along
    if scene.background == "plain":
        picture = np.broadcast_to(first, picture.shape)
    elif scene.background == "noise":
        picture = picture + sum(_noise(random, width, height, n) * 0.5 / n**0.5 for n in (3, 6, 12, 24))
    elif scene.background == "shapes":
        picture = _shapes(random, picture, width, height)
    return np.square(picture.clip(0.01, 1)).astype(np.float32)


def _muted(random: np.random.Generator) -> NDArray[np.float64]:
    """(3,) sRGB, seldom a strong colour."""
    return np.asarray(random.uniform(0.1, 0.9) + random.uniform(0.05, 0.5) * random.uniform(-0.5, 0.5, 3))


def _noise(random: np.random.Generator, width: int, height: int, cells: int) -> NDArray[np.float32]:
    grid = random.standard_normal((cells, cells)).astype(np.float32) * 0.3
    return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC))[..., None]


def _shapes(random: np.random.Generator, picture: NDArray[np.float64], width: int, height: int) -> NDArray[np.float32]:
    """Out-of-focus windows, shelves and lamps."""
    side = max(width, height)
    out = picture.astype(np.float32)
    for _ in range(int(random.integers(4, 12))):
        colour = [float(c) for c in random.uniform(0.03, 1.0) + random.uniform(-0.2, 0.2, 3)]
        centre, half = random.uniform(0, 1, 2) * [width, height], random.uniform(0.03, 0.3, 2) * side
        if random.random() < 0.5:
            corners = [np.round(v).astype(int).tolist() for v in (centre - half, centre + half)]
            cv2.rectangle(out, corners[0], corners[1], colour, -1)
        else:
            cv2.circle(out, np.round(centre).astype(int).tolist(), max(1, round(half[0] / 2)), colour, -1)
    blur = random.uniform(0.01, 0.05) * side
    return np.asarray(cv2.GaussianBlur(out, (0, 0), max(blur, 0.5)))


def _direction(azimuth: float, height: float) -> NDArray[np.float64]:
    """Unit vector: azimuth 0 is towards the camera, positive to the picture's right; height up in radians."""
    c = np.cos(height)
    return np.array([c * np.sin(azimuth), -np.sin(height), -c * np.cos(azimuth)])


def _floats(values: NDArray[np.floating]) -> Floats:
    return np.asarray(values, np.float32)
