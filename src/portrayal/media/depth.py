"""How near heads are as grey pictures: nearest bright, and the same grey means the same place of any head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from portrayal.face.camera import METRES_PER_WORLD_UNIT
from portrayal.media.atomic import complete_or_absent, make_parent
from portrayal.media.crop import Crop, warp_map
from portrayal.media.image import UInt8
from portrayal.types import Depth

UInt16 = NDArray[np.uint16]
RANGE = (-0.1, 0.15)
"""Metres from the head's origin, about 6 cm behind the face, towards the camera: from value 1 to value 65535."""
WHITE = 65535
MEANING = f"0: no depth; 1 to {WHITE}: {RANGE[0]} to {RANGE[1]} m from the middle of the head towards the camera"
"""Written into the files."""


@dataclass(frozen=True)
class PlacedDepth:
    """The depth of one face and where it belongs."""

    seen: Depth
    """(1, 1, size, size)."""
    crop: Crop
    mask: NDArray[np.float32]
    """(size, size) share of the rendered crop in the picture."""


def depth_picture(faces: Sequence[PlacedDepth], size: tuple[int, int]) -> UInt16:
    """Depths in the pixels of the picture that faces are pasted into.

    Args:
        size: (width, height) of the picture.

    Returns:
        (h, w): 0 where what has a depth counts for less than half of the pixel, else 1 to 65535 over `RANGE`; of
        several faces the greatest value.
    """
    return np.asarray(np.max([_placed(face, size) for face in faces], 0), np.uint16)


def _placed(face: PlacedDepth, size: tuple[int, int]) -> UInt16:
    near, opacity = (x[0, 0].float().cpu().numpy() for x in (face.seen.nearness, face.seen.opacity))
    share = opacity * face.mask
    weighted, share = (warp_map(x, face.crop.inverse, size) for x in (near * share, share))
    low, high = RANGE
    level = (weighted / np.maximum(share, 0.5) * METRES_PER_WORLD_UNIT - low) / (high - low)
    grey = 1 + (WHITE - 1) * level.clip(0, 1)
    return np.where(share >= 0.5, grey.round(), 0).astype(np.uint16)


def as_rgb(grey: UInt16) -> UInt8:
    """(h, w) 16-bit to (h, w, 3) 8-bit."""
    return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, 2)


def write_depth(path: Path, grey: UInt16) -> None:
    """Write (h, w) as a 16-bit PNG whose field Description says what the values mean; appears only when complete.

    Raises:
        InputError: a place that cannot be written. PortrayalError: the disk is full.
    """
    about = PngInfo()
    about.add_text("Description", MEANING)
    make_parent(path)
    with complete_or_absent(path) as temporary:
        Image.fromarray(grey).save(temporary, format="PNG", pnginfo=about)
