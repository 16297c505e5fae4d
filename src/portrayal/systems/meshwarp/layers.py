"""Small pictures that lie behind openings of the face: where to draw them, how to read and how to complete them.

Convention: points are continuous pixels (centres at half integers); a `Box` is a whole-pixel window of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
"""float64."""
Picture = NDArray[Any]
"""float32, (h, w) or (h, w, c)."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def to_array(tensor: Tensor) -> Array:
    """float64, on the CPU."""
    return tensor.detach().double().cpu().numpy()


def to_picture(image: Tensor) -> Picture:
    """(1, c, h, w) to (h, w, c)."""
    return np.ascontiguousarray(image[0].movedim(0, -1).float().cpu().numpy())


def to_pictures(frames: Tensor) -> Picture:
    """(t, c, h, w) to (t, h, w, c), a copy that can be drawn into."""
    return frames.movedim(1, -1).float().cpu().numpy().copy(order="C")


def from_pictures(frames: Picture, device: torch.device) -> Tensor:
    """The inverse of `to_pictures`, float32."""
    return torch.from_numpy(frames).movedim(-1, 1).to(device)


class Box(NamedTuple):
    """Columns left..right and rows top..bottom (ends excluded)."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def empty(self) -> bool:
        return self.right <= self.left or self.bottom <= self.top

    @property
    def shape(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def centres(self) -> tuple[Picture, Picture]:
        """Pixel centres: x (1, w) and y (h, 1)."""
        x = np.arange(self.left, self.right, dtype=np.float32) + 0.5
        y = np.arange(self.top, self.bottom, dtype=np.float32) + 0.5
        return x[None], y[:, None]


def box_around(points: Array, margin: float, width: int, height: int) -> Box:
    """The window that holds the points (n, 2) and a margin in pixels, cut to the picture; may be empty."""
    low, high = np.floor(points.min(0) - margin).astype(int), np.ceil(points.max(0) + margin).astype(int)
    return Box(max(int(low[0]), 0), max(int(low[1]), 0), min(int(high[0]), width), min(int(high[1]), height))


COVERED = 0.62
"""Share of a pixel inside an opening from which on what lies behind counts alone."""


def opening_mask(polygon: Array, box: Box) -> Picture:
    """(h, w) of the box: how much of what lies behind the opening (n, 2) each pixel shows; 1 where it shows no skin."""
    mask: Picture = np.minimum(polygon_mask(polygon, box) * np.float32(1 / COVERED), np.float32(1))
    return mask


def polygon_mask(polygon: Array, box: Box) -> Picture:
    """(h, w) of the box: share of each pixel inside the polygon (n, 2)."""
    mask = np.zeros(box.shape, np.uint8)
    points = np.round((polygon - (box.left + 0.5, box.top + 0.5)) * 16).astype(np.int32)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def read_affine(texture: Picture, box: Box, matrix: Array, offset: Array) -> Picture:
    """Sample a texture over a box: box pixel x reads the texture at matrix @ x + offset (both in continuous pixels)."""
    shift = matrix @ (box.left + 0.5, box.top + 0.5) + offset - 0.5
    affine = np.concatenate([matrix, shift[:, None]], 1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(texture, affine, box.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def fit_affine(places: Array, others: Array) -> tuple[Array, Array]:
    """The matrix (2, 2) and offset (2,) that bring places (n, 2) nearest to others (n, 2)."""
    middle, other = places.mean(0), others.mean(0)
    solved = np.linalg.lstsq(places - middle, others - other, rcond=None)[0]
    matrix: Array = solved.T
    return matrix, other - matrix @ middle


def fill_smoothly(image: Picture, known: NDArray[np.bool_], sigma: float = 1.0) -> Picture:
    """The same picture where `known`, elsewhere the weighted mean of known pixels, of nearer ones first.

    Args:
        image: (h, w, c). known: (h, w), at least one pixel.
        sigma: reach of the first pass in pixels; it doubles until all are filled.
    """
    filled, have = image.copy(), known.copy()
    weight = known.astype(np.float32)
    weighted = image * weight[..., None]
    while not have.all():
        total, mean = _blur(weight, sigma), _blur(weighted, sigma)
        new = ~have & (total > 0.02)
        filled[new] = mean.reshape(image.shape)[new] / total[new, None]
        have |= new
        sigma *= 1.6
        if sigma > 2 * max(image.shape):
            filled[~have] = image[known].mean(0)
            break
    smooth = cv2.GaussianBlur(filled, (0, 0), 1.0)
    return np.where(known[..., None], image, smooth)


def _blur(picture: Picture, sigma: float) -> Picture:
    """Gaussian blur with nothing around the picture; wide ones of a smaller picture."""
    step = max(1, int(sigma / 3))
    size = picture.shape[1::-1]
    small = (
        picture
        if step == 1
        else cv2.resize(picture, (-(-size[0] // step), -(-size[1] // step)), interpolation=cv2.INTER_AREA)
    )
    blurred = cv2.GaussianBlur(small, (0, 0), sigma / step, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(blurred if step == 1 else cv2.resize(blurred, size, interpolation=cv2.INTER_LINEAR), np.float32)


def close_openings(image: Picture, landmarks: Array, contours: Sequence[tuple[int, ...]]) -> Picture:
    """The picture with eyes or mouth painted over from their rims: what the skin shows where an opening closes.

    Args:
        image: (h, w, 3). landmarks: (478, 3). contours: landmarks around each opening.
    """
    out = image.copy()
    for contour in contours:
        points = landmarks[list(contour), :2]
        box = box_around(points, 4, image.shape[1], image.shape[0])
        if box.empty:
            continue
        inside = opening_mask(points, box) >= 1
        if inside.any():
            out[box.slices] = fill_smoothly(image[box.slices], ~inside)
    return out


def blend(frame: Picture, box: Box, layer: Picture, alpha: Picture) -> None:
    """Lay a picture over a window of the frame, in place; alpha (h, w)."""
    window = frame[box.slices]
    window += alpha[..., None] * (layer - window)


def smoothstep(x: Array, low: float = 0.0, high: float = 1.0) -> Array:
    """0 below low, 1 above high, smooth in between."""
    x = np.clip((x - low) / (high - low), 0, 1)
    y: Array = x * x * (3 - 2 * x)
    return y
