"""Picture grids: a row per case, with its source, its driving frame and what each system made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from portrayal.evaluate.protocols import prepare
from portrayal.evaluate.run import Evaluator, Outcome
from portrayal.media.image import write_image
from portrayal.media.sheet import labelled_grid

ROWS = 6
"""Cases shown, spread over all of them."""


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
