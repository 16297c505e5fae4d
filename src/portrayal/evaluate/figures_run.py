"""The figures of one evaluation, in `figures/` of its output folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from portrayal.capabilities import ExpressionCoder
from portrayal.errors import PortrayalError
from portrayal.evaluate.dataset import EvalClip, identities
from portrayal.evaluate.figures import along_basis, plot_error_maps, plot_over_time, plot_strips, plot_tsne, separation
from portrayal.evaluate.protocols import first_picture, follow, prepare, times_of
from portrayal.evaluate.run import Evaluator, Outcome
from portrayal.media.image import UInt8
from portrayal.types import FaceParams, move

CODES = 40
"""Expression codes per person in the t-SNE."""
MAPS = 4
"""Cases with error maps."""
VECTORS = (0, 1, 2)
SCALES = (-3, -2, -1, 0, 1, 2, 3)


def write_figures(evaluator: Evaluator, outcomes: Sequence[Outcome], clips: Sequence[EvalClip]) -> list[str]:
    """Draw what there is data for.

    Returns:
        names of the PNG files, relative to the output folder; each has an SVG beside it.
    """
    folder = evaluator.output / "figures"
    files = _expression_codes(evaluator, clips, folder)
    for outcome in outcomes:
        if outcome.protocol == "same":
            files += _errors(evaluator, outcome, folder)
    files += _basis(evaluator, clips, folder)
    return [file.relative_to(evaluator.output).as_posix() for file in files]


def _expression_codes(evaluator: Evaluator, clips: Sequence[EvalClip], folder: Path) -> list[Path]:
    """Of the face model, and of each system that makes something else of them (Export3D, Fig. 7)."""
    people: dict[str, FaceParams] = {}
    for name, group in identities(clips).items():
        try:
            performance = follow(group[0], evaluator.instruments.tracker, evaluator.output / "tracks")
        except PortrayalError:
            continue  # listed by the protocols already
        seen = performance.params[performance.found]
        people[name] = seen[:: max(1, len(seen) // CODES)][:CODES]
    if sum(len(params) for params in people.values()) < 5:
        return []
    spaces = {"": {name: params.expression for name, params in people.items()}}
    for entrant in evaluator.entrants:
        if "expression_codes" in entrant.capabilities:
            system, model, device = cast(ExpressionCoder, entrant.system), entrant.model, entrant.device
            assert model is not None
            spaces[f"-{entrant.name}"] = {
                name: system.expression_codes(model, move(params, device)).cpu() for name, params in people.items()
            }
    files = []
    for suffix, codes in spaces.items():
        whose = f"Expression codes of {suffix[1:]}" if suffix else "Expression coefficients of the face model"
        title = f"{whose}; apart by person: {separation(codes):.2f}"
        files.append(plot_tsne(codes, folder / f"expression-tsne{suffix}", title=title, seed=evaluator.options.seed)[0])
    return files


def _errors(evaluator: Evaluator, outcome: Outcome, folder: Path) -> list[Path]:
    """Heat maps of some cases, and the error over time of the first."""
    common, by_name = outcome.common(), {case.name: case for case in outcome.cases}
    systems = [name for name, results in outcome.results.items() if results]
    truth: list[UInt8] = []
    made: dict[str, list[UInt8]] = {name: [] for name in systems}
    over_time: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    for name in common[:: max(1, len(common) // MAPS)][:MAPS]:
        tools, cache = evaluator.instruments, evaluator.output / "tracks"
        case = prepare(by_name[name], evaluator.options, tracker=tools.tracker, cache=cache)
        pictures = {s: next(r for r in outcome.results[s] if r.case == name).pictures() for s in systems}
        middle = len(case.frames) // 2
        truth.append(case.driving[middle])
        for system in systems:
            made[system].append(pictures[system][middle])
        if not over_time:
            times = times_of(case)
            for system, frames in pictures.items():
                errors = [np.abs(f.astype(float) - t).mean() / 255 for f, t in zip(frames, case.driving, strict=True)]
                over_time[system] = times, errors
    if not truth:
        return []
    title = f"{common[0]}: mean absolute error of the pixels"
    return [
        plot_error_maps(truth, made, folder / "error-maps")[0],
        plot_over_time(over_time, folder / "error-over-time", title=title, unit="L1")[0],
    ]


def _basis(evaluator: Evaluator, clips: Sequence[EvalClip], folder: Path) -> list[Path]:
    """The first source that shows a face along the first expression vectors, by each system that moves."""
    files = []
    cache = evaluator.output / "tracks"
    for clip in clips:
        try:
            sitter = first_picture(clip, tracker=evaluator.instruments.tracker, cache=cache)
        except PortrayalError:
            continue
        for entrant in evaluator.entrants:
            if entrant.system is not None:
                rows = {f"v{k}": along_basis(entrant, sitter, vector=k, scales=SCALES) for k in VECTORS}
                titles = [f"{s:+d}" for s in SCALES]
                said = f"{entrant.name}: standard deviations along expression vectors"
                files.append(plot_strips(rows, titles, folder / f"basis-{entrant.name}", title=said)[0])
        break
    return files
