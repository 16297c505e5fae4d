"""Picture grids: a row per case, with its source, its driving frame and what each system made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from portrayal.evaluate.protocols import prepare
from portrayal.evaluate.run import Evaluator, Outcome
from portrayal.media.image import UInt8, write_image

SIDE = 256
"""Height in pixels of a picture in a grid; widths follow, up to twice that."""
ROWS = 6
"""Cases shown, spread over all of them."""
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


def write_grid(evaluator: Evaluator, outcome: Outcome, path: Path) -> bool:
    """The grid of one protocol: of each shown case the measured frame in the middle. False where nothing was done."""
    common = outcome.common()
    shown = [common[i] for i in np.linspace(0, len(common) - 1, min(ROWS, len(common))).round().astype(int)]
    by_name = {case.name: case for case in outcome.cases}
    systems = [name for name, results in outcome.results.items() if results]
    rows = []
    for name in shown:
        case = prepare(
            by_name[name], evaluator.options, tracker=evaluator.instruments.tracker, cache=evaluator.output / "tracks"
        )
        middle = len(case.frames) // 2
        made = [next(r for r in outcome.results[s] if r.case == name).pictures()[middle] for s in systems]
        rows.append([case.source, case.driving[middle], *made])
    if not rows:
        return False
    write_image(path, labelled_grid(["source", "driving", *systems], rows, shown))
    return True
