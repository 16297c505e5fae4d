"""The eyeballs behind the lids: white and iris as two layers, so that the iris moves and lids uncover or hide it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.face.topology import (
    LEFT_EYE,
    LEFT_EYE_CORNERS,
    LEFT_IRIS,
    RIGHT_EYE,
    RIGHT_EYE_CORNERS,
    RIGHT_IRIS,
)
from portrayal.systems.meshwarp.layers import (
    LUMA,
    Array,
    Box,
    Picture,
    blend,
    box_around,
    fill_smoothly,
    opening_mask,
    polygon_mask,
    read_affine,
    smoothstep,
)

EYES = ((RIGHT_EYE, RIGHT_EYE_CORNERS, RIGHT_IRIS), (LEFT_EYE, LEFT_EYE_CORNERS, LEFT_IRIS))
IRIS_EDGE = (1.14, 1.32)
"""Where the iris layer fades into the white, in iris radii."""
SHUT = 0.07
"""Lid distance / eye width below which a tracked eye counts as shut."""


@dataclass(frozen=True)
class Eye:
    """One eye of the source."""

    box: Box
    """Window of the source's crop that the pictures cover."""
    exact: Picture
    """(h, w, 3) the source itself: right as long as nothing moves."""
    white: Picture
    """(h, w, 3) the eyeball without iris."""
    iris: Picture
    """(h, w, 3) the iris completed where lids hide it."""
    alpha: Picture
    """(h, w) 1 on the iris, 0 on the white."""
    corners: Array
    """(2, 2) outer and inner corner in the source."""
    centre: Array
    """(2,) of the iris in the source."""
    drawn: bool
    """The source shows this eye shut, so that white and iris are drawn."""


def build_eyes(image: Picture, landmarks: Array, *, open_eyes: bool = True) -> tuple[Eye | None, Eye | None]:
    """Take both eyes out of the source.

    Args:
        image: (h, w, 3) [0, 1]. landmarks: (478, 3) pixels.
        open_eyes: also those that the source shows; else None for them.
    """
    right, left = (_build_eye(image, landmarks, *names, open_eyes=open_eyes) for names in EYES)
    return right, left


def _build_eye(
    image: Picture,
    landmarks: Array,
    contour: tuple[int, ...],
    corners: tuple[int, ...],
    rim: tuple[int, ...],
    *,
    open_eyes: bool,
) -> Eye | None:
    height, width = image.shape[:2]
    lids, ends, iris = landmarks[list(contour), :2], landmarks[list(corners), :2], landmarks[list(rim), :2]
    size = float(np.linalg.norm(ends[1] - ends[0]))
    box = box_around(np.concatenate([lids, iris]), 0.4 * size + 3, width, height)
    pixels = image[box.slices]
    visible = polygon_mask(lids, box)
    centre, radius = _iris_circle(iris, ends, size)
    x, y = box.centres()
    dx, dy = (x - centre[0]) / radius[0], (y - centre[1]) / radius[1]
    distance = np.sqrt(dx * dx + dy * dy)
    alpha = 1 - smoothstep(distance, *IRIS_EDGE).astype(np.float32)

    core = cv2.erode(visible, np.ones((3, 3), np.uint8)) > 0.99
    if (core & (distance > IRIS_EDGE[0])).sum() < 12:
        core = visible > 0.9
    iris_seen = core & (distance < IRIS_EDGE[1])
    drawn = bool((iris_seen & (distance < 1)).sum() < 0.2 * np.pi * radius[0] * radius[1])
    if not (drawn or open_eyes):
        return None
    white_seen = core & (distance > IRIS_EDGE[0])
    if drawn or white_seen.sum() < 3:
        white = np.broadcast_to(_plain_white(image, landmarks), pixels.shape).copy()
    else:
        white = fill_smoothly(pixels, white_seen)
    iris_colour = _drawn_iris(white, dx, dy, distance) if drawn else _complete_iris(pixels, iris_seen, box, centre)
    white, iris_colour = white.astype(np.float32), iris_colour.astype(np.float32)
    return Eye(box, pixels.copy(), white, iris_colour, alpha, ends, centre, drawn)


def render_eyes(
    frame: Picture, eyes: tuple[Eye | None, Eye | None], source: Array, driving: Array, turn: Array
) -> None:
    """Draw the eyeballs that there are into the openings between the driving lids, in place.

    Args:
        frame: (h, w, 3). source, driving: (478, 3) landmarks.
        turn: (2, 2) takes shifts in the driving picture to shifts in the source (head motion undone).
    """
    height, width = frame.shape[:2]
    for eye, (contour, corners, rim) in zip(eyes, EYES, strict=True):
        lids, ends = driving[list(contour), :2], driving[list(corners), :2]
        size = float(np.linalg.norm(ends[1] - ends[0]))
        if eye is None or lid_distance(driving, contour) < 0.02 * size:
            continue
        box = box_around(lids, 1, width, height)
        if box.empty:
            continue
        origin = np.array([eye.box.left, eye.box.top], np.float64)
        white_offset = eye.corners.mean(0) - turn @ ends.mean(0) - origin
        iris_offset = eye.centre - turn @ driving[rim[0], :2] - origin
        ball = read_affine(eye.white, box, turn, white_offset)
        alpha = read_affine(eye.alpha, box, turn, iris_offset)
        iris = read_affine(eye.iris, box, turn, iris_offset)
        ball += alpha[..., None] * (iris - ball)
        opening = opening_mask(lids, box)
        if eye.drawn:
            ball *= _lid_shadow(opening, size)[..., None]
        moving = _motion(source, driving, contour, corners, rim, turn)
        if moving < 1:
            ball += (1 - moving) * (read_affine(eye.exact, box, turn, white_offset) - ball)
        blend(frame, box, ball, opening)


def shut_lids(source: Array, driving: Array) -> Array:
    """Driving landmarks with nearly shut eyes shut for good: a tracker seldom lets the lids touch.

    Args:
        source, driving: (478, 3).

    Returns:
        (478, 3); unchanged where an eye is open, or as open as in the source.
    """
    out = driving
    for contour, corners, _ in EYES:
        now = lid_distance(driving, contour) / max(_width(driving, corners), 1e-6)
        before = lid_distance(source, contour) / max(_width(source, corners), 1e-6)
        limit = min(0.16, 0.8 * max(before, 0.0))
        if now >= min(limit, before):
            continue
        floor = min(SHUT, 0.35 * before)
        keep = max(0.0, (now - floor) / (limit - floor)) * limit / max(now, 1e-6) if now > 0 else 0.0  # 0: they cross
        if out is driving:
            out = driving.copy()
        lower, upper = np.array(contour[1:8]), np.array(contour[:8:-1])
        out[upper] = driving[lower] + keep * (driving[upper] - driving[lower])
    return out


def lid_distance(landmarks: Array, contour: tuple[int, ...]) -> float:
    """Mean distance of the middle of the lids across the eye in pixels; negative where the lids cross."""
    lower, upper = np.array(contour[3:6]), np.array(contour[13:10:-1])
    along = landmarks[contour[8], :2] - landmarks[contour[0], :2]
    down = np.array([-along[1], along[0]]) * (1 if contour is RIGHT_EYE else -1)
    gap = (landmarks[lower, :2] - landmarks[upper, :2]).mean(0)
    return float(gap @ down / max(np.linalg.norm(down), 1e-6))


def _lid_shadow(opening: Picture, size: float) -> Picture:
    """Darkness under the upper lid and in the corners: (h, w) factor."""
    down = np.array([[1, 0, 0], [0, 1, 0.1 * size]], np.float64)
    lowered = cv2.warpAffine(opening, down, opening.shape[::-1])
    soft = cv2.GaussianBlur(lowered, (0, 0), max(0.09 * size, 0.8), borderType=cv2.BORDER_CONSTANT)
    return (0.5 + 0.5 * smoothstep(soft, 0.1, 0.8)).astype(np.float32)


def _motion(
    source: Array, driving: Array, contour: tuple[int, ...], corners: tuple[int, ...], rim: tuple[int, ...], turn: Array
) -> float:
    """0 where lids and iris are as in the source, 1 where they moved by a twentieth of the eye's width."""
    points, ends = [*contour, rim[0]], list(corners)
    before = source[points, :2] - source[ends, :2].mean(0)
    now = (driving[points, :2] - driving[ends, :2].mean(0)) @ turn.T
    moved = float(np.linalg.norm(now - before, axis=1).max()) / max(_width(source, corners), 1e-6)
    return float(smoothstep(np.array(moved), 0.005, 0.05))


def _width(landmarks: Array, corners: tuple[int, ...]) -> float:
    """Distance of an eye's corners in pixels."""
    return float(np.linalg.norm(landmarks[corners[1], :2] - landmarks[corners[0], :2]))


def _iris_circle(iris: Array, ends: Array, size: float) -> tuple[Array, Array]:
    """Centre (2,) and radii (2,) in pixels, held within what an iris can be for an eye of that width."""
    spread = np.abs(iris[1:] - iris[0]).max(0)
    return iris[0], np.clip(spread, 0.14 * size, 0.32 * size)


def _complete_iris(pixels: Picture, seen: NDArray[np.bool_], box: Box, centre: Array) -> Picture:
    """Fill what lids hide from the mirrored half, then smoothly.

    Only the upper half is filled from the lower one: the shadow and the lashes of the upper lid stay where they are.
    """
    colour, have = pixels.copy(), seen.copy()
    upper = box.centres()[1] < centre[1]
    for fx, fy in ((1, -1), (-1, 1), (-1, -1)):
        flip = np.diag([fx, fy]).astype(np.float64)
        offset = centre - flip @ centre - (box.left, box.top)
        other = read_affine(pixels, box, flip, offset)
        known = read_affine(seen.astype(np.float32), box, flip, offset) > 0.99
        new = known & ~have & (upper | (fy > 0))
        colour[new] = other[new]
        have |= new
    return fill_smoothly(colour, have)


def _drawn_iris(white: Picture, dx: Picture, dy: Picture, distance: Picture) -> Picture:
    """A dark iris with pupil and a highlight, for an eye that the source shows shut."""
    tone = (white @ LUMA)[..., None]
    shade = 0.34 - 0.16 * smoothstep(distance, 0.75, 1.0) - 0.26 * (1 - smoothstep(distance, 0.38, 0.5))
    glint = 1 - smoothstep(np.hypot(dx + 0.28, dy + 0.3), 0.05, 0.2)
    brown = np.array([1.0, 0.78, 0.62], np.float32)
    tint = white / np.maximum(tone, 1e-3)
    colour = tone * shade[..., None] * brown * tint + 0.4 * tone * glint[..., None]
    edge = smoothstep(distance, 1.0, 1.12)[..., None]
    drawn: Picture = colour * (1 - edge) + white * edge
    return drawn


def _plain_white(image: Picture, landmarks: Array) -> Picture:
    """(3,) a likely colour of the white of an eye, from the skin under the eyes."""
    height, width = image.shape[:2]
    points = landmarks[[50, 280, 101, 330], :2].astype(int)
    skin = np.median(image[points[:, 1].clip(0, height - 1), points[:, 0].clip(0, width - 1)], 0)
    tone = float(skin @ LUMA)
    white: Picture = (0.45 * skin + 0.45 * min(tone, 0.85)).astype(np.float32)
    return white
