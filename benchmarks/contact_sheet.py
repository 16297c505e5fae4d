"""Frames of videos as one picture, a row or more per video.

python benchmarks/contact_sheet.py animations/astronaut--talk.mp4 -o docs/images/astronaut.jpg
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro
from tyro.conf import Positional, arg

from portrayal.media.image import UInt8, write_image
from portrayal.media.video import read_frames


@dataclass
class Sheet:
    """Write a contact sheet."""

    videos: Positional[tuple[Path, ...]]
    """In this order from top to bottom."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """PNG, JPEG or WebP."""
    frames: int = 12
    """Evenly spaced frames of each video."""
    columns: int = 6
    """Frames in a row."""
    height: int = 240
    """Of a frame in pixels."""
    window: tuple[int, int, int, int] | None = None
    """Part of each frame to show: left, top, right, bottom in pixels."""


def main(sheet: Sheet) -> None:
    rows = [row for video in sheet.videos for row in rows_of(video, sheet)]
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    write_image(sheet.output, np.concatenate(padded))


def rows_of(video: Path, sheet: Sheet) -> list[UInt8]:
    """(height, w, 3) rows of one video."""
    count = sum(1 for _ in read_frames(video))
    wanted = set(np.linspace(0, count - 1, min(sheet.frames, count)).round().astype(int).tolist())
    left, top, right, bottom = sheet.window or (0, 0, None, None)
    shown = []
    for i, frame in enumerate(read_frames(video)):
        if i in wanted:
            image = frame.image[top:bottom, left:right]
            size = (round(image.shape[1] * sheet.height / image.shape[0]), sheet.height)
            shown.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    return [np.concatenate(shown[i : i + sheet.columns], 1) for i in range(0, len(shown), sheet.columns)]


if __name__ == "__main__":
    main(tyro.cli(Sheet))
