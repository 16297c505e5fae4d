"""Random changes of uint8 pictures for training: colour, quality, occlusion, background.

All randomness comes from the generator given, so that a sample is a function of its seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

_RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
BORDERS = (cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT, cv2.BORDER_CONSTANT)


def jitter_colour(picture: Picture, rng: Generator) -> Picture:
    """Saturation, gamma, contrast, brightness, tint; sometimes grey, sometimes lit from one side."""
    saturation = 0.0 if rng.random() < 0.1 else float(np.exp(rng.normal(0, 0.4)))
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    picture = cv2.addWeighted(picture, saturation, grey, 1 - saturation, 0)
    levels = np.arange(256)[:, None] / 255
    if rng.random() < 0.5:
        levels = levels ** np.exp(rng.normal(0, 0.3))
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.08, 3))
    levels = (levels - 0.5) * gain + 0.5 + rng.normal(0, 0.08)
    picture = cv2.LUT(picture, (levels.clip(0, 1) * 255).astype(np.uint8)[None])
    if rng.random() < 0.15:
        h, w = picture.shape[:2]
        angle = rng.uniform(0, 2 * np.pi)
        ramp = np.cos(angle) * np.linspace(-1, 1, w)[None] + np.sin(angle) * np.linspace(-1, 1, h)[:, None]
        light = np.exp(0.6 * rng.random() * ramp)[..., None].astype(np.float32)
        picture = (picture * light).clip(0, 255).astype(np.uint8)
    return picture


@dataclass(frozen=True)
class ColourChange:
    """One change of colour for several pictures (the jitter of FOMM's training)."""

    brightness: float
    """Factor."""
    contrast: float
    """Factor on the distance from the picture's mean grey."""
    saturation: float
    """Factor on the distance from grey."""
    hue: float
    """Turn of the colour circle, 1 is all of it."""


def draw_colour(amount: float, rng: Generator) -> ColourChange:
    """Factors in [1 - amount, 1 + amount] and a hue in [-amount, amount]."""
    brightness, contrast, saturation = 1 + rng.uniform(-amount, amount, 3)
    return ColourChange(float(brightness), float(contrast), float(saturation), float(rng.uniform(-amount, amount)))


def change_colour(picture: Picture, change: ColourChange) -> Picture:
    """Apply a change to (h, w, 3) uint8 RGB.

    Hue is turned in the plane of the two colour differences of YIQ, so all four are one affine map of RGB.
    """
    c, s = np.cos(2 * np.pi * change.hue), np.sin(2 * np.pi * change.hue)
    turn = np.diag([1.0, change.saturation, change.saturation]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    linear = change.brightness * change.contrast * np.linalg.inv(_RGB_TO_YIQ) @ turn @ _RGB_TO_YIQ
    grey = float(picture[::4, ::4].mean((0, 1)) @ _RGB_TO_YIQ[0])
    shift = np.full((3, 1), change.brightness * (1 - change.contrast) * grey)
    return np.asarray(cv2.transform(picture, np.concatenate([linear, shift], 1)), np.uint8)


def degrade(picture: Picture, rng: Generator) -> Picture:
    """Blur, low resolution, noise and JPEG, each sometimes."""
    h, w = picture.shape[:2]
    if rng.random() < 0.2:
        k = rng.uniform(0.2, 0.8)
        small = cv2.resize(picture, (max(int(w * k), 8), max(int(h * k), 8)), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(small, (w, h), interpolation=int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC])))
    if rng.random() < 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, 1.8)))
    elif rng.random() < 0.1:
        picture = _motion_blur(picture, rng)
    if rng.random() < 0.2:
        noise = rng.standard_normal((h, w, 3), dtype=np.float32) * np.float32(rng.uniform(2, 16))
        picture = (picture + noise).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        _, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 95))])
        picture = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return picture


def occlude(picture: Picture, rng: Generator, *, texture: Picture | None = None) -> Picture:
    """Cover a part with an ellipse or a bar of one colour, of noise or of `texture` (same size)."""
    h, w = picture.shape[:2]
    mask = np.zeros((h, w), np.uint8)
    centre = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
    axes = (int(rng.uniform(0.05, 0.25) * w), int(rng.uniform(0.05, 0.3) * h))
    if rng.random() < 0.5:
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    else:
        box = cv2.boxPoints((centre, (2.0 * axes[0], 2.0 * axes[1]), float(rng.uniform(0, 180))))
        cv2.fillConvexPoly(mask, box.astype(np.int32), 255)
    cover = np.broadcast_to(rng.integers(0, 256, 3).astype(np.uint8), picture.shape) if texture is None else texture
    return np.where(mask[..., None] > 0, cover, picture)


def paste_background(picture: Picture, outline: NDArray[np.floating], background: Picture, rng: Generator) -> Picture:
    """Keep a soft region around the face's `outline` (n, 2) and show `background` (same size) elsewhere."""
    hull = cv2.convexHull(outline.astype(np.float32))[:, 0]
    centre = hull.mean(0)
    mask = np.zeros(picture.shape[:2], np.float32)
    cv2.fillConvexPoly(mask, (centre + (hull - centre) * rng.uniform(1.1, 1.7)).astype(np.int32), 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), picture.shape[0] * rng.uniform(0.01, 0.05))[..., None]
    return (picture * mask + background * (1 - mask)).astype(np.uint8)


def _motion_blur(picture: Picture, rng: Generator) -> Picture:
    size = int(rng.choice([3, 5, 7]))
    kernel = np.zeros((size, size), np.float32)
    end = np.array([np.cos(a := rng.uniform(0, np.pi)), np.sin(a)]) * size / 2
    middle = np.array([size / 2, size / 2])
    cv2.line(kernel, (middle - end).astype(int).tolist(), (middle + end).astype(int).tolist(), 1.0)
    return cv2.filter2D(picture, -1, kernel / max(kernel.sum(), 1e-6))
