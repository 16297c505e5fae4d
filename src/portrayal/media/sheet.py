"""Pictures in rows on one sheet, under titles."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from portrayal.media.image import UInt8

SIDE = 256
"""Height in pixels of a picture on a sheet; widths follow, up to twice that."""
MARGIN, HEADER = 6, 30


def labelled_grid(header: Sequence[str], rows: Sequence[Sequence[UInt8]], labels: Sequence[str] = ()) -> UInt8:
    """Pictures in rows under column titles, white between them.

    Args:
        rows: each as many pictures (h, w, 3) as the header has titles.
        labels: written small into the first picture of each row.
    """
    cells = [[_fit(picture) for picture in row] for row in rows]
    widths = [max(row[i].shape[1] for row in cells) for i in range(len(header))]
    width = sum(widths) + MARGIN * (len(widths) + 1)
    sheet = Image.new("RGB", (width, HEADER + (SIDE + MARGIN) * len(cells)), "white")
    draw, font, small = ImageDraw.Draw(sheet), ImageFont.load_default(18), ImageFont.load_default(12)
    x = MARGIN
    for column, (title, w) in enumerate(zip(header, widths, strict=True)):
        draw.text((x + w / 2, HEADER / 2), title, fill="black", font=font, anchor="mm")
        for row, pictures in enumerate(cells):
            sheet.paste(Image.fromarray(pictures[column]), (x, HEADER + row * (SIDE + MARGIN)))
        x += w + MARGIN
    for row, label in enumerate(labels):
        at = (MARGIN + 4, HEADER + row * (SIDE + MARGIN) + SIDE - 6)
        draw.text(at, label, fill="white", font=small, anchor="ls", stroke_width=2, stroke_fill="black")
    return np.asarray(sheet)


def _fit(picture: UInt8) -> UInt8:
    h, w = picture.shape[:2]
    size = (min(round(w * SIDE / h), 2 * SIDE), SIDE)
    way = cv2.INTER_AREA if h > SIDE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)
