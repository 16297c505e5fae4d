"""What is behind heads: a picture that covers a frame, or the photo without its heads."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from portrayal.face.pose import rotation_to_angles
from portrayal.face.topology import FACE_OVAL
from portrayal.media.crop import Crop, warp_map
from portrayal.media.image import UInt8
from portrayal.media.overlay import head_mask, pixel_centres
from portrayal.types import FaceParams

GROWN = 0.04
"""How far beyond `head_mask` and the chin a head is removed, in sides of the crop: a rim would tint what is filled."""
UNKNOWN = 1e-4
"""What a removed pixel counts beside a known one: nothing, but a picture that is all head has a colour, too."""
SWEEPS = 4
"""Of smoothing at each resolution."""


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


def without_heads(picture: UInt8, faces: Sequence[tuple[FaceParams, Crop]]) -> UInt8:
    """The picture without the heads of these faces, filled in from around them; all other pixels as they are.

    Args:
        picture: (h, w, 3). faces: each t = 1, in pixels of its crop.
    """
    return fill_in(picture, np.logical_or.reduce([_hidden(face, crop, picture) for face, crop in faces]))


def _hidden(face: FaceParams, crop: Crop, picture: UInt8) -> NDArray[np.bool_]:
    """(h, w) where a head is in the picture; what is below the chin is neck and stays."""
    places = pixel_centres(torch.Size((crop.size, crop.size)), face.landmarks.device)
    roll = rotation_to_angles(face.rotation)[0, 2]
    down = torch.stack([-roll.sin(), roll.cos()])
    chin = (face.landmarks[0, list(FACE_OVAL), :2] @ down).max()
    head = (head_mask(face, places)[0] > 0) & (places @ down < chin)
    side = 2 * round(GROWN * crop.size) + 1
    grown = cv2.dilate(
        head.cpu().numpy().astype(np.float32), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    )
    return warp_map(np.asarray(grown, np.float32), crop.inverse, picture.shape[1::-1]) > 0


def fill_in(picture: UInt8, hidden: NDArray[np.bool_]) -> UInt8:
    """The picture with hidden pixels filled in as smoothly as the others allow; these stay as they are, bit for bit.

    From coarse to fine: at each resolution what is not known is the mean around it (a membrane that is stretched over
    the hole). `cv2.inpaint` grows inwards from the border, which leaves a seam in the middle of holes so large.

    Args:
        picture: (h, w, 3). hidden: (h, w).
    """
    known = np.where(hidden, np.float32(UNKNOWN), np.float32(1))
    levels = [(picture * known[..., None], known)]
    while min(known.shape) > 1 and known.min() < 0.5:
        size = (known.shape[1] // 2, known.shape[0] // 2)
        colours, known = (np.asarray(cv2.resize(x, size, interpolation=cv2.INTER_AREA)) for x in levels[-1])
        levels.append((colours, known))
    filled = levels[-1][0] / levels[-1][1][..., None]
    for colours, known in reversed(levels):
        filled = np.asarray(cv2.resize(filled, known.shape[::-1], interpolation=cv2.INTER_LINEAR))
        for _ in range(SWEEPS):
            filled = colours + (1 - known)[..., None] * np.asarray(cv2.blur(filled, (3, 3)))
    return np.where(hidden[..., None], filled.round().clip(0, 255).astype(np.uint8), picture)
