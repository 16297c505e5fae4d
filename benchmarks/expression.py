"""How well a result follows the driving video: correlation of lip and eye openness over time, and how calm it is.

    python benchmarks/expression.py meshwarp mmfa --data DIR

Cross-identity pairs of the validation clips (as `portrayal evaluate`, absolute motion); openness is read by our tracker
from the driving and from the rendered frames: the gap of the inner lips in mouth widths, the lids' in eye widths. Per
pair the correlation over its frames; pairs whose driver hardly moves there (standard deviation under 0.01) say nothing
about it and are left out. Flicker is the change of neighbouring frames that their own optical flow does not explain
(`metrics_temporal.Flicker`), with the driving video's own beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tyro.conf import Positional

from portrayal.evaluate.dataset import read_dataset
from portrayal.evaluate.entrants import load_entrants, reenact
from portrayal.evaluate.measure import measure_faces
from portrayal.evaluate.metrics_cost import Cost
from portrayal.evaluate.metrics_temporal import Flicker
from portrayal.evaluate.options import EvaluateOptions
from portrayal.evaluate.protocols import make_cases, prepare, stretches
from portrayal.evaluate.view import View
from portrayal.face.topology import INNER_LIPS_PAIRS, MOUTH_CORNERS
from portrayal.face.tracker import load_tracker
from portrayal.media.image import UInt8, to_tensor
from portrayal.types import FaceParams

STILL = 0.01


@dataclass
class Options:
    """What is measured."""

    systems: Positional[tuple[str, ...]]
    data: Path
    pairs: int = 10
    frames: int = 45
    weights: tuple[Path, ...] = ()
    cache: Path = Path("evaluations/tracks")


def main(options: Options) -> None:
    asked = EvaluateOptions(frames=options.frames, clips=options.pairs)
    clips = read_dataset(options.data, layout=asked.layout, split=asked.split)
    cases, said = make_cases("cross", clips, asked)
    tracker, console = load_tracker("cpu"), Console()
    entrants = load_entrants(options.systems, device=torch.device("cpu"), weights=list(options.weights))
    found: dict[str, list[tuple[float, float]]] = {entrant.name: [] for entrant in entrants}
    flicker: dict[str, list[float]] = {name: [] for name in ("driving", *found)}
    for case in track(cases, "pairs"):
        prepared = prepare(case, asked, tracker=tracker, cache=options.cache)
        driving = measure_faces(tracker, prepared.driving)
        flicker["driving"].append(own_flicker(prepared.driving, prepared.frames))
        for entrant in entrants:
            frames = reenact(
                entrant, prepared.sitter, prepared.performance, prepared.frames, options=prepared.animate, cost=Cost()
            )
            made = measure_faces(tracker, frames)
            flicker[entrant.name].append(own_flicker(frames, prepared.frames))
            if driving is not None and made is not None:
                pair = (correlation(lips(made), lips(driving)), correlation(eyes(made), eyes(driving)))
                found[entrant.name].append(pair)
    table = Table("system", "lip openness", "eye openness", "flicker x 1000", "of the driving video's")
    table.add_row("driving", "", "", f"{np.mean(flicker['driving']):.3f}", "")
    for name, values in found.items():
        lip, eye = np.array(values).T
        ratio = np.mean(flicker[name]) / np.mean(flicker["driving"])
        table.add_row(name, said_mean(lip), said_mean(eye), f"{np.mean(flicker[name]):.3f}", f"{ratio:.2f}")
    console.print(said)
    console.print(table)


def own_flicker(pictures: list[UInt8], numbers: list[int]) -> float:
    """Mean over the runs of neighbouring frames."""
    metric = Flicker()
    for run in stretches(numbers):
        view = View(torch.cat([to_tensor(pictures[i]) for i in run]), clip=str(run[0]))
        metric.update(view, view)
    return float(metric.compute())


def said_mean(values: NDArray[np.float64]) -> str:
    """Mean and number of the pairs that say something."""
    there = values[np.isfinite(values)]
    return f"{there.mean():.3f} ({len(there)} pairs)" if len(there) else "-"


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Pearson's, of (t,) numbers; NaN where `b` hardly moves."""
    return float(np.corrcoef(a, b)[0, 1]) if b.std() > STILL and a.std() > 0 else float("nan")


def lips(params: FaceParams) -> NDArray[np.float32]:
    """(t,) mean gap of the inner lips in mouth widths."""
    points = params.landmarks
    upper, lower = (points[:, list(side)] for side in zip(*INNER_LIPS_PAIRS, strict=True))
    width = (points[:, MOUTH_CORNERS[0]] - points[:, MOUTH_CORNERS[1]]).norm(dim=-1)
    gap: NDArray[np.float32] = ((upper - lower).norm(dim=-1).mean(1) / width).numpy()
    return gap


def eyes(params: FaceParams) -> NDArray[np.float32]:
    """(t,) mean openness of both eyes."""
    openness: NDArray[np.float32] = params.eye_openness.mean(1).numpy()
    return openness


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
