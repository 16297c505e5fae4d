"""Put a rendered crop back into its picture; pixels outside the mask stay as they are, bit for bit."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.media.crop import Crop, warp, warp_map
from portrayal.media.image import UInt8, check_rgb

Mask = NDArray[np.float32]


Sides = tuple[bool, bool, bool, bool]
"""Left, top, right, bottom."""


def feathered_mask(size: int, *, border: float = 0.12, soft: Sides = (True, True, True, True)) -> Mask:
    """A square with soft edges and round corners.

    Args:
        size: side in pixels.
        border: width of the soft edge as a share of the side, in (0, 0.5].
        soft: which of its edges are; the others are 1 up to the end.

    Returns:
        (size, size) float32: 0 in the outermost pixels, rising smoothly to 1 over the soft edge.
    """
    if not 0 < border <= 0.5:
        raise ValueError(f"border must be in (0, 0.5], got {border}")
    left, top, right, bottom = soft
    outside = np.hypot(_beyond(size, border, top, bottom)[:, None], _beyond(size, border, left, right)[None])
    rise = np.clip(1 - outside / (border * size), 0, 1)
    return np.asarray(rise * rise * (3 - 2 * rise), np.float32)


def _beyond(size: int, border: float, low: bool, high: bool) -> NDArray[np.float64]:
    """(size,) pixels beyond the inner square along one axis, towards those of its ends that are soft."""
    middle = (size - 1) / 2
    place = np.arange(size) - middle
    place[: size // 2] *= low
    place[size // 2 :] *= high
    return (np.abs(place) - (middle - border * size)).clip(0)


def soft_sides(crop: Crop, width: int, height: int) -> Sides:
    """On which sides of a crop a picture of (width, height) pixels goes on."""
    (x0, y0), (x1, y1) = _extent(crop)
    return bool(x0 > 0), bool(y0 > 0), bool(x1 < width), bool(y1 < height)


def _extent(crop: Crop) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(2,) each: the least and the largest x and y of a crop in pixels of its picture."""
    corners = crop.inverse @ np.array([[0, crop.size, crop.size, 0], [0, 0, crop.size, crop.size], [1, 1, 1, 1]])
    return corners.min(1), corners.max(1)


class Paster:
    """Pastes renderings of one crop; all that does not change from frame to frame is computed once.

    Args:
        picture: (h, w, 3) uint8 RGB; kept, not copied.
        crop: where the renderings belong.
        mask: (size, size) float32 in [0, 1], the rendering's share; None is `feathered_mask(crop.size)`.

    Raises:
        ValueError: a picture or mask of another kind.
    """

    def __init__(self, picture: UInt8, crop: Crop, mask: Mask | None = None) -> None:
        check_rgb(picture)
        mask = feathered_mask(crop.size) if mask is None else np.asarray(mask, np.float32)
        if mask.shape != (crop.size, crop.size):
            raise ValueError(f"the mask must be ({crop.size}, {crop.size}), got {mask.shape}")
        self._picture, self._crop, self._mask = picture, crop, mask
        h, w = picture.shape[:2]
        low, high = _extent(crop)
        x0, y0 = (int(v) for v in np.clip(np.floor(low), 0, [w, h]))
        x1, y1 = (int(v) for v in np.clip(np.ceil(high), [x0, y0], [w, h]))
        self._region = np.s_[y0:y1, x0:x1]
        self._size = (x1 - x0, y1 - y0)
        self._reduce = max(1, int(crop.scale))
        self._matrix = crop.inverse
        self._matrix[:, 2] -= [x0, y0]
        self._matrix[:, :2] *= self._reduce
        self._weight, self._rest = self._warped_mask(mask)

    def paste(self, rendered: UInt8, onto: UInt8 | None = None, opacity: Mask | None = None) -> UInt8:
        """The picture with one rendering in it.

        Args:
            rendered: (size, size, 3) uint8 RGB.
            onto: another picture of the same size, for source videos and further faces; None is the one given.
            opacity: (size, size) in [0, 1], what of the rendering counts; None is all of it.

        Returns:
            (h, w, 3) uint8, new; equal to the picture wherever the mask is 0.
        """
        if rendered.shape != (self._crop.size, self._crop.size, 3) or rendered.dtype != np.uint8:
            size = self._crop.size
            raise ValueError(f"a rendering must be ({size}, {size}, 3) uint8, got {rendered.shape} {rendered.dtype}")
        picture = self._picture if onto is None else onto
        if picture.shape != self._picture.shape:
            raise ValueError(f"the picture must stay {self._picture.shape}, got {picture.shape}")
        result = picture.copy()
        if not min(self._size):
            return result
        warped = warp(_reduced(rendered, self._reduce), self._matrix, self._size)
        region = np.ascontiguousarray(picture[self._region])
        shares = (self._weight, self._rest) if opacity is None else self._warped_mask(self._mask * opacity)
        result[self._region] = cv2.blendLinear(warped, region, *shares)
        return result

    def _warped_mask(self, mask: Mask) -> tuple[Mask, Mask]:
        """The mask in the picture's region and 1 - it."""
        if not min(self._size):
            empty = np.zeros(self._size[::-1], np.float32)
            return empty, empty
        small = _reduced(mask, self._reduce)
        weight = warp_map(small, self._matrix, self._size)
        weight[weight < 1 / 512] = 0  # less than half a grey level at full contrast
        return weight, np.asarray(1 - weight, np.float32)


def _reduced(image: NDArray[Any], factor: int) -> NDArray[Any]:
    """Averages of factor x factor pixels of a square; a remainder at the right and bottom is cut off."""
    if factor == 1:
        return image
    side = image.shape[0] // factor
    return cv2.resize(image[: side * factor, : side * factor], (side, side), interpolation=cv2.INTER_AREA)
