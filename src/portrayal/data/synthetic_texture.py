"""What is painted on synthetic heads: skin, lips, brows, lashes and beard, hair strands, clothes, teeth.

All of a head's surface lies in one square picture (`paint_atlas`): the face, unwrapped as in `synthetic_shape.unwrap`,
in its upper left three quarters, hair at the right, neck and clothes below. Painting is done in sRGB; the result is
linear light (`to_linear`), as the renderer wants it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.data.synthetic_person import Colour, Person, generator
from portrayal.data.synthetic_raster import Floats
from portrayal.data.synthetic_shape import mean_points, smoothstep, unwrap
from portrayal.face.topology import FACE_OVAL, LEFT_EYE, LIPS_INNER, LIPS_OUTER, MIRROR, RIGHT_EYE

FACE_SHARE = 0.75
"""Side of the face's square in the atlas."""
SHIFT = 4
"""cv2 draws to 1/16 of a pixel."""
BROW = ((46, 53, 52, 65, 55), (70, 63, 105, 66, 107))
"""Lower and upper edge of the right brow, from the temple to the nose."""
CREASE = (247, 30, 29, 27, 28, 56)
"""Fold of the right upper lid."""
NOSTRIL = (79, 166, 60)
"""Around the right nostril."""
BEARD = (132, 58, 172, 136, 150, 149, 176, 148, 152, 18, 91, 146, 57, 216, 207, 187, 147, 177)
"""Outline of the right half of a beard; the left half mirrors it."""
MOUSTACHE = (164, 97, 203, 206, 57, 61, 185, 40, 39, 37, 0)


def to_linear(srgb: Floats) -> Floats:
    """sRGB to linear light, with the exponent 2 for the curve."""
    return np.square(srgb, dtype=np.float32)


def paint_atlas(person: Person, side: int) -> Floats:
    """(side, side, 3) linear albedo of everything but eyes and teeth."""
    atlas = np.empty((side, side, 3), np.float32)
    face = round(side * FACE_SHARE)
    random = generator(person.seed, "texture")
    atlas[:face, :face] = _paint_face(person, face, random)
    atlas[:face, face:] = _paint_hair(person, side - face, face, random)
    atlas[face:] = _paint_body(person, side, side - face, random)
    return to_linear(atlas.clip(0, 1))


def atlas_places(texture: Floats, region: str) -> Floats:
    """Places in the unit square of `face`, `hair` or `body` to places in the atlas' unit square."""
    x, y, w, h = {
        "face": (0, 0, FACE_SHARE, FACE_SHARE),
        "hair": (FACE_SHARE, 0, 1 - FACE_SHARE, FACE_SHARE),
        "body": (0, FACE_SHARE, 1, 1 - FACE_SHARE),
    }[region]
    inset = 0.015
    place = texture.clip(0, 1) * (1 - 2 * inset) + inset
    return (place * [w, h] + [x, y]).astype(np.float32)


def _paint_face(person: Person, size: int, random: np.random.Generator) -> Floats:
    place = unwrap(mean_points()) * ((1 - 0.03) * size) + 0.015 * size
    unit = size / 2.3  # texture pixels per head unit, about
    skin = np.array(person.skin, np.float32)
    inner = _fill(size, (place[list(FACE_OVAL)] - size / 2) * 0.9 + size / 2, 0.06 * unit)  # plain towards the skull
    blotches = 1 + inner * (0.025 * noise(random, size, 7) + 0.015 * noise(random, size, 60))
    image = (skin * blotches[..., None]).astype(np.float32)
    red = np.array([0.75, 0.25, 0.22], np.float32)
    for landmarks, radius in (((50, 280), 0.2), ((1,), 0.16), ((234, 454), 0.15)):
        for landmark in landmarks:
            _tint(image, person.blush * _spot(place[landmark], radius * unit, size), red * skin.mean() * 1.4)
    _freckles(image, person, unit, random)
    for eye, fold in ((RIGHT_EYE, CREASE), (LEFT_EYE, _mirror(CREASE))):
        _paint_eye(image, place, eye, fold, person, unit)
    for landmark in (129, 358):
        _tint(image, 0.12 * _spot(place[landmark] + [0, 0.03 * unit], 0.07 * unit, size), skin * 0.4)
    for nostril in (NOSTRIL, _mirror(NOSTRIL)):
        _tint(image, 0.85 * _spot(place[list(nostril)].mean(0), 0.035 * unit, size), skin * 0.18)
    if person.beard or person.moustache:
        _paint_beard(image, place, person, unit, random)
    _paint_lips(image, place, person, unit)
    for side in (BROW, (_mirror(BROW[0]), _mirror(BROW[1]))):
        _paint_brow(image, place, side, person, unit, random)
    if person.style.volume and person.style.fringe > -0.1:
        _paint_hairline(image, place, person, unit)
    return image


def _paint_hairline(image: Floats, place: Floats, person: Person, unit: float) -> None:
    """Roots of the hair along the upper outline: what shows between hair and skin."""
    size = len(image)
    inside = _fill(size, place[list(FACE_OVAL)] * [0.98, 1] + [0.01 * size, 0], 0.025 * unit)
    upper = 1 - smoothstep(np.arange(size, dtype=np.float32), 0.30 * size, 0.42 * size)
    _tint(image, 0.8 * (1 - inside) * upper[:, None], np.array(person.hair, np.float32))


def _paint_eye(
    image: Floats, place: Floats, eye: Sequence[int], fold: Sequence[int], person: Person, unit: float
) -> None:
    """Shadow of the socket, fold of the lid, lash lines."""
    size, skin = len(image), np.array(person.skin, np.float32)
    dark = skin * 0.35
    middle = place[list(eye)].mean(0)
    _tint(image, 0.18 * _spot(middle, 0.2 * unit, size), skin * [0.6, 0.5, 0.5])
    _tint(image, 0.4 * _line(size, place[list(fold)], 0.018 * unit, 0.012 * unit), dark)
    upper = [eye[0], *reversed(eye[9:]), eye[8]]
    lower = list(eye[:9])
    lash = np.array([0.08, 0.06, 0.05], np.float32)
    _tint(image, person.lashes * _line(size, place[upper] - [0, 0.003 * unit], 0.016 * unit, 0.005 * unit), lash)
    _tint(image, 0.5 * person.lashes * _line(size, place[lower], 0.012 * unit, 0.008 * unit), dark)


def _paint_lips(image: Floats, place: Floats, person: Person, unit: float) -> None:
    size, lips = len(image), np.array(person.lips, np.float32)
    _tint(image, 0.9 * _fill(size, place[list(LIPS_OUTER)], 0.012 * unit), lips)
    inner = place[[*LIPS_INNER, LIPS_INNER[0]]]
    _tint(image, 0.45 * _line(size, inner, 0.02 * unit, 0.012 * unit), lips * 0.45)
    _tint(image, 0.2 * _spot(place[17] + [0, 0.06 * unit], 0.07 * unit, size), np.array(person.skin) * 0.5)


def _paint_brow(
    image: Floats,
    place: Floats,
    edges: tuple[tuple[int, ...], tuple[int, ...]],
    person: Person,
    unit: float,
    random: np.random.Generator,
) -> None:
    """Strokes over a soft shape."""
    size = len(image)
    lower, upper = place[list(edges[0])], place[list(edges[1])]
    middle, half = (lower + upper) / 2, (upper - lower) / 2 * 1.1 * person.brow_thickness
    taper = np.array([0.35, 0.75, 0.95, 1.0, 0.85])[:, None]
    shape = np.concatenate([middle + half * taper, (middle - half * taper)[::-1]])
    mask = _fill(size, shape, 0.022 * unit)
    strokes = 0.85 + 0.2 * noise(random, size, 64)
    _tint(image, (person.brow_strength * mask * strokes).clip(0, 1), np.array(person.brows, np.float32))


def _paint_beard(image: Floats, place: Floats, person: Person, unit: float, random: np.random.Generator) -> None:
    size, colour = len(image), np.array(person.hair, np.float32) * 0.85
    strands = (0.86 + 0.16 * noise(random, size, 90)).clip(0, 1)
    lips = _fill(size, place[list(LIPS_OUTER)], 0.01 * unit)
    half = list(BEARD)
    outline = half + [MIRROR[i] for i in half[::-1]]
    spread = place[outline] + (place[outline] - place[17]) * [0.06, 0.1]
    mask = _fill(size, spread, 0.07 * unit)
    _tint(image, person.beard * mask * strands * (1 - lips), colour)
    both = list(MOUSTACHE) + [MIRROR[i] for i in MOUSTACHE[::-1]]
    mask = _fill(size, place[both], 0.03 * unit)
    _tint(image, person.moustache * mask * strands * (1 - lips), colour)


def _freckles(image: Floats, person: Person, unit: float, random: np.random.Generator) -> None:
    size, skin = len(image), np.array(person.skin, np.float32)
    for _ in range(person.freckles):
        x, y = random.uniform(0.25, 0.75) * size, random.uniform(0.3, 0.85) * size
        radius = random.uniform(0.006, 0.014) * unit * (1.5 if person.freckles < 10 else 1)
        _tint(image, 0.4 * _spot(np.array([x, y]), radius, size), skin * [0.55, 0.42, 0.36])


def _paint_hair(person: Person, width: int, height: int, random: np.random.Generator) -> Floats:
    """Strands run from top to bottom; columns go around the head."""
    strands = cv2.resize(
        random.standard_normal((6, 64)).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    coarse = cv2.resize(
        random.standard_normal((4, 12)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    light = 1 + 0.16 * strands + 0.1 * coarse + 0.12 * down
    return np.asarray(np.array(person.hair, np.float32) * light.clip(0.5, 1.7)[..., None], np.float32)


def _paint_body(person: Person, width: int, height: int, random: np.random.Generator) -> Floats:
    """Columns from the front to the back of the neck, rows from inside the head to the chest (see `_neck`)."""
    skin = np.broadcast_to(np.array(person.skin, np.float32) * 0.97, (height, width, 3))
    cloth = np.array(person.clothes, np.float32) * (1 + 0.08 * noise(random, width, 40)[:height, :, None])
    period = random.choice([0.0, 0.0, 0.04, 0.09])
    row = (np.arange(height, dtype=np.float32) + 0.5)[:, None] / height
    around = (np.arange(width, dtype=np.float32) + 0.5)[None] / width
    if period:
        band = smoothstep(np.abs(np.remainder(row / period, 1) - 0.5), 0.24, 0.27)[..., None]
        cloth = cloth * band + np.array(person.stripes) * (1 - band)
    below = below_collar(person, around, row)[..., None]
    dressed = smoothstep(below, -0.006, 0.006)
    collar = 1 - 0.25 * np.exp(-np.square((below - 0.02) / 0.012))
    return np.asarray(skin * (1 - dressed) + cloth * collar * dressed, np.float32)


def below_collar(person: Person, around: NDArray[np.floating], row: NDArray[np.floating]) -> NDArray[np.floating]:
    """How far a place of the body's texture is below the edge of the clothes, positive where it is dressed."""
    front = np.cos(around * np.pi) * 0.5 + 0.5
    return row - (0.36 + 0.35 * person.neckline * front**3 + 0.07 * front)


def noise(random: np.random.Generator, size: int, cells: int) -> Floats:
    """(size, size) smooth noise of unit variance before smoothing, `cells` bumps across."""
    grid = random.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC))


def _mirror(landmarks: Sequence[int]) -> tuple[int, ...]:
    return tuple(MIRROR[i] for i in landmarks)


def _tint(image: Floats, share: NDArray[np.floating], colour: Floats | Colour | NDArray[np.floating]) -> None:
    """Cover `image` with a colour by `share` (h, w), in place."""
    rows, columns = (np.flatnonzero(share.max(axis) > 2e-3) for axis in (1, 0))
    if len(rows) == 0:
        return
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    image[box] += share[box][..., None].astype(np.float32) * (np.asarray(colour, np.float32) - image[box])


def _fill(size: int, polygon: NDArray[np.floating], blur: float) -> Floats:
    """(size, size) 1 inside, soft at the edge."""
    mask = np.zeros((size, size), np.float32)
    cv2.fillPoly(mask, [np.round(polygon * (1 << SHIFT)).astype(np.int32)], 1.0, cv2.LINE_8, SHIFT)
    return _soften(mask, blur)


def _line(size: int, points: NDArray[np.floating], thickness: float, blur: float) -> Floats:
    """(size, size) 1 on a line, soft around it; thinner than a pixel is fainter."""
    mask = np.zeros((size, size), np.float32)
    shown = max(1, round(thickness))
    fixed = [np.round(points * (1 << SHIFT)).astype(np.int32)]
    cv2.polylines(mask, fixed, False, min(1.0, thickness / shown), shown, cv2.LINE_8, SHIFT)
    return _soften(mask, blur)


def _soften(mask: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(sigma, 0.5)), np.float32)


def _spot(centre: NDArray[np.floating], radius: float, size: int) -> Floats:
    """(size, size) a Gaussian bump of that deviation."""
    at = np.arange(size, dtype=np.float32) + 0.5
    x = np.exp(-0.5 * np.square((at - centre[0]) / max(radius, 0.6)))
    y = np.exp(-0.5 * np.square((at - centre[1]) / max(radius, 0.6)))
    return np.asarray(y[:, None] * x[None], np.float32)
