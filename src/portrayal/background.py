"""What `--background` asks for: what heads are put onto instead of what their system draws around them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from portrayal.errors import InputError, MissingFileError
from portrayal.media.image import UInt8, is_picture, read_image
from portrayal.options import MAX_SIDE
from portrayal.systems import able, name_of
from portrayal.types import System


@dataclass(frozen=True)
class Background:
    """What heads are put onto."""

    picture: UInt8 | None
    """(h, w, 3), which is made to cover the result; None: the source's own pictures, without its heads."""


def open_background(choice: str, system: System) -> Background | None:
    """The background that was chosen; None where it stays the system's.

    Args:
        choice: `PortraitOptions.background`.

    Raises:
        InputError: the system cannot tell the head from the rest, or there is no such picture.
    """
    if choice == "keep":
        return None
    if "layers" not in system.CAPABILITIES:
        raise InputError(
            f"{name_of(system)} has no layers, head and background apart, which --background needs; {able('layers')}."
        )
    if choice == "photo":
        return Background(None)
    if choice.startswith("#"):
        return Background(np.array([[list(bytes.fromhex(choice[1:]))]], np.uint8))
    try:
        found = is_picture(choice)
    except MissingFileError as error:
        raise MissingFileError(
            f"{choice}: no such picture for --background; it takes a file, keep, photo or a colour such as #00ff00."
        ) from error
    if not found:
        raise InputError(f"{choice} is no picture; --background takes a still one, for example PNG or JPEG.")
    return Background(read_image(Path(choice), max_side=MAX_SIDE))
