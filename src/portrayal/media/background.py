"""What is behind heads: a picture that covers a frame, or the photo without its heads."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.media.crop import Crop, apply_crop, warp_map
from portrayal.media.fill import fill_in
from portrayal.media.image import UInt8, to_tensor
from portrayal.media.matte import Matte
from portrayal.types import FaceParams, Portrait


def cover(picture: UInt8, size: tuple[int, int]) -> UInt8:
    """A picture (h, w, 3) scaled evenly to cover a frame of (width, height) `size`; what sticks out is cut off evenly.

    Returns:
        (height, width, 3).
    """
    (h, w), (width, height) = picture.shape[:2], size
    factor = max(width / w, height / h)
    part = picture[_middle(h, round(height / factor)), _middle(w, round(width / factor))]
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, size, interpolation=method), np.uint8)


def _middle(length: int, wanted: int) -> slice:
    start = (length - max(1, wanted)) // 2
    return slice(start, start + max(1, wanted))


def without_heads(picture: UInt8, faces: Sequence[tuple[FaceParams, Crop]], *, moving: bool = False) -> UInt8:
    """The picture without the heads of these faces, filled in from around them; all other pixels as they are.

    Args:
        picture: (h, w, 3). faces: each t = 1, in pixels of its crop. moving: whether it is a frame of a video.
    """
    mattes = [_matte(face, crop, picture) for face, crop in faces]
    hidden, in_front = (np.logical_or.reduce(masks) for masks in zip(*mattes, strict=True))
    return fill_in(picture, hidden, in_front, smooth=moving)


def _matte(face: FaceParams, crop: Crop, picture: UInt8) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(h, w) where a head is in the picture, and where the person is."""
    seen = Portrait(to_tensor(apply_crop(picture, crop)), face)
    matte, size = Matte.of(seen), seen.image.shape[2:]
    hidden, in_front = (
        warp_map(mask.astype(np.float32), crop.inverse, picture.shape[1::-1]) > 0
        for mask in (matte.hidden(size), matte.in_front(size))
    )
    return hidden, in_front
