"""The inside of the mouth: teeth, tongue and shadow behind the lips.

The upper teeth belong to the head, the lower teeth and the tongue to the jaw. Where the source shows the inside of
its mouth, those pixels are used and only continued; otherwise teeth are drawn and toned after the picture.

Convention: "mouth frame" = x right, y down along the head's own axes, head units, origin at the base of the nose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from portrayal.face.topology import LIPS_INNER, LIPS_OUTER
from portrayal.systems.meshwarp.layers import (
    LUMA,
    Array,
    Box,
    Picture,
    blend,
    box_around,
    fill_smoothly,
    fit_affine,
    opening_mask,
    polygon_mask,
    read_affine,
    smoothstep,
)
from portrayal.systems.meshwarp.mesh import Face

NOSE_BASE = (2, 97, 326)
UPPER_LIP, LOWER_LIP = (82, 13, 312), (87, 14, 317)
"""The middle of the inner rims."""
TEETH_DEPTH = 0.13
"""How far the teeth lie behind the base of the nose, head units."""
CHANGE = (0.005, 0.03)
"""Head units by which the inner lips move on the mean where their shape begins to be another, and where it is."""
JAW = (152, 148, 377, 175, 199)
"""Points of the chin."""
TEXTURE = (-0.4, -0.1, 0.4, 0.7)
"""Window of the drawn teeth in the mouth frame with the closed lips' line at y = 0.3: left, top, right, bottom."""
TEXTURE_LINE = 0.3
DENSITY = 320
"""Pixels of the drawn teeth per head unit."""

Row = tuple[tuple[float, float, float], ...]
"""Per tooth from the middle outwards: visible width, biting edge below the lips' line, height; head units (9 cm)."""
UPPER: Row = (
    (0.093, 0.044, 0.118),
    (0.072, 0.036, 0.104),
    (0.062, 0.040, 0.112),
    (0.046, 0.030, 0.092),
    (0.034, 0.022, 0.086),
)
LOWER: Row = ((0.058, 0.012, 0.1), (0.062, 0.012, 0.1), (0.06, 0.006, 0.1), (0.046, 0.014, 0.09), (0.036, 0.02, 0.08))


@dataclass(frozen=True)
class Mouth:
    """The mouth of the source."""

    upper: Picture
    """(h, w, 4) upper teeth and gum over `TEXTURE`: colour and coverage."""
    lower: Picture
    """(h, w, 4) lower teeth and tongue."""
    cavity: Picture
    """(3,) colour of the depth."""
    box: Box
    """Window of `exact` and `clean` in the source's crop."""
    exact: Picture
    """(h, w, 3) the source's own pixels between the lips up to their rim: right as long as nothing moves."""
    clean: Picture
    """(h, w, 4) the same without the rim, continued outwards, and how much they count."""
    shown: float
    """0 the source's mouth is shut, 1 it shows its inside."""
    keep: float
    """How far the source's own pixels still count when the opening changes: 1 a row of teeth or an open throat."""
    throat: float
    """0 the own pixels are teeth and stay rigid, 1 they show an open throat and stretch with the opening."""
    line: float
    """Where the closed lips meet, y in the mouth frame."""
    gap: float
    """Height of the source's opening, head units."""
    blur: float
    """Standard deviation of the picture's own blur, pixels."""


def build_mouth(image: Picture, face: Face) -> Mouth:
    """Prepare the inside of the mouth.

    Args:
        image: (h, w, 3) [0, 1]. face: in it.
    """
    height, width = image.shape[:2]
    landmarks, plane = face.landmarks, face.pose.plane
    unit = float(np.sqrt(abs(np.linalg.det(plane))))
    gap = lip_gap(face)
    shown = float(smoothstep(np.array(gap), 0.035, 0.075))
    upper_lip = _to_mouth(face, UPPER_LIP)[:, 1].mean()
    line = float(upper_lip + 0.25 * gap if shown < 1 else upper_lip + 0.02)

    opening = landmarks[list(LIPS_INNER), :2]
    box = box_around(opening, 0.12 * unit + 3, width, height)
    mask = polygon_mask(opening, box)
    exact = image[box.slices].copy()
    rim = 2 * round(0.014 * unit) + 1
    core = cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (rim + 2, rim + 2))) > 0.9
    tooth, gum, cavity = _tones(image, landmarks)
    if shown > 0 and core.sum() > 20:
        colour = fill_smoothly(exact, core, 0.8)
        away = cv2.distanceTransform((mask < 0.5).astype(np.uint8), cv2.DIST_L2, 5) / unit
        bright = float((exact[core] @ LUMA > 0.7 * (tooth @ LUMA)).mean())
        teeth = float(smoothstep(np.array(bright), 0.12, 0.3))
        throat = float(smoothstep(np.array(gap), 0.13, 0.2)) * (1 - teeth)
        keep = max(teeth, throat)
        x, y = box.centres()
        middle, down = opening.mean(0), plane[:, 1]
        lower = (x - middle[0]) * down[0] + (y - middle[1]) * down[1] > 0
        # Teeth go on under the upper lip; below them there is nothing but the dark.
        counts = np.maximum(1 - smoothstep(away / np.where(lower, 0.015, 0.05), 0.1, 1.0), throat)
    else:
        shown, keep, throat, colour, counts = 0.0, 0.0, 0.0, exact, np.zeros(box.shape)
    clean = np.dstack([colour, counts]).astype(np.float32)
    upper = _draw_teeth(UPPER, tooth, gum, downwards=True)
    lower = _draw_lower(tooth, gum)
    blur = _picture_blur(image, landmarks, unit)
    return Mouth(upper, lower, cavity, box, exact, clean, shown, keep, throat, line, gap, blur)


def render_mouth(frame: Picture, mouth: Mouth, source: Face, driving: Face, *, unchanged: bool = True) -> None:
    """Draw the inside of the mouth between the driving lips, in place.

    Args:
        frame: (h, w, 3). source: the face in the picture that the mouth is from.
        unchanged: also where the lips have the same shape as there; else less of it, the nearer they are to that.
    """
    height, width = frame.shape[:2]
    plane = driving.pose.plane
    unit = float(np.sqrt(abs(np.linalg.det(plane))))
    gap = lip_gap(driving)
    changed = change_of_lips(source, driving)
    strength = 1.0 if unchanged else changed
    if mouth.shown == 0:
        strength *= float(smoothstep(np.array(gap - mouth.gap), 0.004, 0.035))
    opening = driving.landmarks[list(LIPS_INNER), :2]
    box = box_around(opening, 2, width, height)
    if strength <= 0 or gap < 0.004 or box.empty:
        return
    mask = opening_mask(opening, box)
    inner = _interior(mouth, box, _teeth_origin(driving), plane, jaw_drop(mouth, source, driving))
    inner[..., :3] *= _shade(mask, unit)[..., None]
    if mouth.blur > 0.3:
        inner = cv2.GaussianBlur(inner, (0, 0), mouth.blur)
    if mouth.shown > 0:
        _add_own_inside(inner, mouth, box, source, driving, changed)
    blend(frame, box, inner, mask * strength)


def lip_gap(face: Face) -> float:
    """Height of the opening in its middle, head units, never negative."""
    rise = _to_mouth(face, LOWER_LIP) - _to_mouth(face, UPPER_LIP)
    return max(0.0, float(rise[:, 1].mean()))


def change_of_lips(source: Face, driving: Face) -> float:
    """0 where the inner lips have the same shape in the head, 1 where they have another; turning is no change."""
    before, now = (face.pose.picture_to_head(face.landmarks[list(LIPS_INNER)])[:, :2] for face in (source, driving))
    apart = (now - now.mean(0)) - (before - before.mean(0))
    return float(smoothstep(np.linalg.norm(apart, axis=1).mean(), *CHANGE))


def jaw_drop(mouth: Mouth, source: Face, driving: Face) -> float:
    """How far the lower teeth are below their place in a shut mouth, head units, never negative.

    The chin leads, as lips may part over teeth that stay together, but the lower lip hides most of the lower teeth.
    """
    before, now = (float(_to_mouth(face, JAW)[:, 1].mean()) for face in (source, driving))
    lip_drop = float(_to_mouth(driving, LOWER_LIP)[:, 1].mean()) - mouth.line
    return max(0.0, now - before + (0.8 * mouth.gap if mouth.shown > 0 else 0.0), lip_drop - 0.03)


def _to_mouth(face: Face, points: Sequence[int]) -> Array:
    """Landmarks in the mouth frame, (n, 2)."""
    origin = face.landmarks[list(NOSE_BASE), :2].mean(0)
    return np.linalg.solve(face.pose.plane, (face.landmarks[list(points), :2] - origin).T).T


def _teeth_origin(face: Face) -> Array:
    """(2,) that of the mouth frame, as deep as the teeth, in the picture."""
    origin: Array = face.landmarks[list(NOSE_BASE), :2].mean(0) + TEETH_DEPTH * face.pose.depth
    return origin


def _interior(mouth: Mouth, box: Box, origin: Array, plane: Array, drop: float) -> Picture:
    """(h, w, 3) what lies behind the lips, unshaded; `origin` as of `_teeth_origin`."""
    to_texture = DENSITY * np.linalg.inv(plane)
    base = -to_texture @ origin
    base += (-TEXTURE[0] * DENSITY, (TEXTURE_LINE - TEXTURE[1] - mouth.line) * DENSITY)
    inner = np.empty((*box.shape, 3), np.float32)
    inner[:] = mouth.cavity
    for texture, shift in ((mouth.lower, drop), (mouth.upper, 0.0)):
        layer = read_affine(texture, box, to_texture, base - (0.0, shift * DENSITY))
        inner += layer[..., 3:] * (layer[..., :3] - inner)
    return inner


def _add_own_inside(inner: Picture, mouth: Mouth, box: Box, source: Face, driving: Face, changed: float) -> None:
    """Lay the source's own inside over the drawn one: rows of teeth stay rigid, an open throat stretches along, and
    where the lips have not changed all goes with them."""
    deep, corner = mouth.throat, (mouth.box.left, mouth.box.top)
    stretch = (max(lip_gap(driving), 0.02) / max(mouth.gap, 0.02)) ** deep
    anchors = [
        (1 - deep) * _teeth_origin(face) + deep * face.landmarks[list(UPPER_LIP), :2].mean(0)
        for face in (source, driving)
    ]
    down = source.landmarks[152, :2] - source.landmarks[10, :2]
    down = down / max(np.linalg.norm(down), 1e-6)
    turn = source.pose.plane @ np.linalg.inv(driving.pose.plane)
    matrix = (np.eye(2) + (1 / stretch - 1) * np.outer(down, down)) @ turn
    clean = read_affine(mouth.clean, box, matrix, anchors[0] - matrix @ anchors[1] - corner)
    inner += mouth.shown * mouth.keep * clean[..., 3:] * (clean[..., :3] - inner)
    if changed < 1:
        matrix, offset = fit_affine(*(face.landmarks[[*LIPS_INNER, *LIPS_OUTER], :2] for face in (driving, source)))
        inner += (1 - changed) * (read_affine(mouth.exact, box, matrix, offset - corner) - inner)


def _shade(mask: Picture, unit: float) -> Picture:
    """Darkness towards the lips, more under the upper lip and in the corners."""
    sigma = max(0.035 * unit, 0.8)
    depth = cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    shift = np.array([[1, 0, 0], [0, 1, 0.03 * unit]], np.float64)
    under = cv2.GaussianBlur(
        cv2.warpAffine(mask, shift, mask.shape[::-1]), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT
    )
    open_share = smoothstep(depth, 0.25, 0.95) * 0.45 + smoothstep(under, 0.05, 0.8) * 0.55
    return (0.42 + 0.58 * open_share).astype(np.float32)


def _tones(image: Picture, landmarks: Array) -> tuple[Picture, Picture, Picture]:
    """Colours (3,) of teeth, gum and cavity that suit the picture's light and palette."""
    height, width = image.shape[:2]
    points = landmarks[[50, 280, 205, 425, 101, 330, 151, 4], :2].astype(int)
    skin = np.median(image[points[:, 1].clip(0, height - 1), points[:, 0].clip(0, width - 1)], 0)
    lip_points = landmarks[list(LIPS_OUTER), :2] * 0.5 + landmarks[list(LIPS_INNER), :2] * 0.5
    lip_points = lip_points.astype(int)
    lip = np.median(image[lip_points[:, 1].clip(0, height - 1), lip_points[:, 0].clip(0, width - 1)], 0)
    light = float(skin @ LUMA)
    tone = np.clip(0.4 + 0.76 * light, 0.3, 0.95)
    tint = skin / max(light, 0.05)
    tooth = tone * (1 + 0.65 * (tint - 1))
    gum = 0.55 * lip + 0.25 * skin
    cavity = 0.2 * lip + 0.03 * skin
    return tooth.astype(np.float32), gum.astype(np.float32), cavity.astype(np.float32)


def _draw_teeth(row: Row, tooth: Picture, gum: Picture, *, downwards: bool) -> Picture:
    """One row of teeth with gum over `TEXTURE`, of these colours (3,): (h, w, 4) colour and coverage."""
    of_tooth, of_gum, cover = _shade_teeth(row, downwards)
    return np.dstack([of_tooth[..., None] * tooth + of_gum[..., None] * gum, cover])


@lru_cache(maxsize=2)
def _shade_teeth(row: Row, downwards: bool) -> tuple[Picture, Picture, Picture]:
    """How much light of teeth and of gum is where, and the coverage, (h, w) each.

    Args:
        downwards: True for the upper row (biting edge below), False for the lower.
    """
    left, top, right, bottom = TEXTURE
    columns, rows = round((right - left) * DENSITY), round((bottom - top) * DENSITY)
    x = np.abs(left + (np.arange(columns) + 0.5) / DENSITY)[None]
    y = (top + (np.arange(rows) + 0.5) / DENSITY)[:, None] - TEXTURE_LINE
    sign = 1.0 if downwards else -1.0
    of_tooth, of_gum = np.zeros((rows, columns)), np.ones((rows, columns))
    reach = sum(t[0] for t in row)
    cover = np.zeros((rows, columns))
    start = 0.0
    for width, edge, length in row:
        u = (x - start - width / 2) / (width / 2)  # -1..1 across the tooth
        inside = np.abs(u) <= 1
        biting = sign * edge - sign * 0.012 * np.abs(u) ** 4  # rounded corners
        past_bite = sign * (y - biting)
        shape = 1 - smoothstep(past_bite, -0.006, 0.003)
        root = sign * (y - sign * edge) + length - 0.018 * (1 - u * u)  # arched gum line
        on_tooth = smoothstep(root, -0.006, 0.006)
        between = 1 - 0.2 * smoothstep(np.abs(u), 0.84, 1.0)
        rounding = (1 - 0.10 * u * u) * between
        fall = 1 - 0.42 * smoothstep(np.broadcast_to(x, inside.shape), 0.08, 0.34)
        glow = 0.94 + 0.06 * np.cos(np.clip(root / length, 0, 1) * np.pi)
        of_tooth = np.where(inside, rounding * fall * glow * on_tooth, of_tooth)
        of_gum = np.where(inside, fall * (1 - on_tooth), of_gum)
        cover = np.where(inside, shape, cover)
        start += width
    cover = cover * (1 - smoothstep(np.broadcast_to(x, cover.shape), reach - 0.05, reach))
    return of_tooth.astype(np.float32), of_gum.astype(np.float32), cover.astype(np.float32)


def _draw_lower(tooth: Picture, gum: Picture) -> Picture:
    """The lower row with the tongue behind it: (h, w, 4)."""
    teeth = _draw_teeth(LOWER, 0.8 * tooth, 0.8 * gum, downwards=False)
    rows, columns = teeth.shape[:2]
    x = TEXTURE[0] + (np.arange(columns) + 0.5) / DENSITY
    y = TEXTURE[1] + (np.arange(rows) + 0.5) / DENSITY - TEXTURE_LINE
    bulge = (x[None] / 0.2) ** 2 + ((y[:, None] - 0.05) / 0.2) ** 2
    tongue = (1 - smoothstep(bulge, 0.3, 1.0))[..., None] * 0.8
    groove = 1 - 0.3 * np.exp(-((x / 0.02) ** 2))[None, :, None]
    cover = teeth[..., 3:]
    total = cover + (1 - cover) * tongue
    colour = (cover * teeth[..., :3] + (1 - cover) * tongue * (0.85 * gum * groove)) / np.maximum(total, 1e-6)
    return np.dstack([colour, total]).astype(np.float32)


def _picture_blur(image: Picture, landmarks: Array, unit: float) -> float:
    """How soft the picture is around the mouth, as the standard deviation of a blur in pixels (0.3 to 2)."""
    height, width = image.shape[:2]
    box = box_around(landmarks[list(LIPS_OUTER), :2], 0.1 * unit, width, height)
    if box.empty or min(box.shape) < 8:
        return 0.5
    grey = image[box.slices] @ LUMA
    gradient = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=0.125))
    strong = np.percentile(gradient, 98)
    contrast = float(np.percentile(grey, 98) - np.percentile(grey, 2))
    # A step of that contrast, blurred by sigma, has slope contrast / (sigma sqrt(2 pi)).
    sigma = contrast / max(float(strong), 1e-4) / np.sqrt(2 * np.pi)
    return float(np.clip(0.35 * sigma, 0.3, 2.0))
