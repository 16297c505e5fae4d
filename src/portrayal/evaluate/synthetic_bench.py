"""True errors on synthetic heads: what a system was asked for is known exactly, and so is what it should have shown.

One synthetic person's picture is driven by another's clip, by all of the motion, by its pose alone and by its
expression alone. Source and driving parameters are the true ones, so that tracking errors do not enter; the retargeted
motion is what every system is asked to render, and the synthetic renderer draws the same motion on the same person:
that is the truth. Its own row is the floor of every column, because generated and true pictures are measured by the
tracker alike.

In the rows of `expression` a pose error is leakage from expression into pose, and identity change is entanglement; in
those of `pose` it is the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch

from portrayal.data.synthetic import LabelledClip, render, synthetic_clips
from portrayal.driving import Performance
from portrayal.errors import InputError
from portrayal.evaluate.entrants import Entrant, reenact
from portrayal.evaluate.measure import Instruments
from portrayal.evaluate.metrics_cost import Cost
from portrayal.evaluate.metrics_face import AedExpression, EyeOpennessError, GazeError
from portrayal.evaluate.metrics_image import Psnr
from portrayal.evaluate.statistics import Summary, summarise
from portrayal.evaluate.tables import markdown, number
from portrayal.evaluate.view import View, require_faces
from portrayal.face.pose import rotation_to_angles
from portrayal.media.crop import params_to_crop, params_to_picture
from portrayal.media.image import UInt8
from portrayal.motion.reference import reference_frame
from portrayal.motion.retarget import retarget
from portrayal.options import AnimateOptions
from portrayal.source import Sitter, sitter_of
from portrayal.tracking import Progress, silent
from portrayal.types import Driving, FaceParams

Region = Literal["all", "pose", "expression"]
TRUTH = "the truth"
"""The row of the synthetic renderer itself."""
PAIRS = 10
SIZE = 256
LENGTH = 50
"""Frames of a driving clip; those of `SHOWN` are measured."""
SHOWN = (6, 18, 31, 43)
COLUMNS = {
    "psnr": "PSNR to the truth ↑, dB",
    "yaw": "yaw error ↓, deg",
    "pitch": "pitch error ↓, deg",
    "roll": "roll error ↓, deg",
    "expression": "expression error ↓",
    "gaze": "gaze error ↓, deg",
    "eyes": "eye openness error ↓",
    "identity": "identity change ↓",
}


@dataclass
class Bench:
    """Numbers by region, system, column and pair."""

    values: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    """Pair, system and reason."""

    def table(self, *, seed: int = 0) -> str:
        """A row per region and system, means over pairs with 95 % intervals."""
        rows = []
        for region, systems in self.values.items():
            for system, values in systems.items():
                cells = [_cell([v[c] for v in values if c in v], seed) for c in COLUMNS]
                rows.append([f"{region}: {system}", *cells])
        return markdown(["driven by: system", *COLUMNS.values()], rows)

    def explained(self) -> str:
        """How to read the table."""
        pairs = max(len(rows) for systems in self.values.values() for rows in systems.values())
        return (
            f"{pairs} pairs of synthetic people, {len(SHOWN)} frames of each, {SIZE} x {SIZE}; true source and driving "
            "parameters go in, absolute motion. Errors are those of the tracked result against the true parameters "
            f"that were asked for; the row `{TRUTH}` is the synthetic renderer drawing exactly these, so it shows the "
            "tracker's own error. Expression: mean absolute error of 64 coefficients. Identity change: 1 - cosine of "
            "the embeddings of result and source. In `expression`, pose errors are leakage, and the other way round."
        )


def run_bench(
    entrants: Sequence[Entrant], tools: Instruments, *, seed: int = 0, pairs: int = 0, progress: Progress = silent
) -> Bench:
    """Every region of every pair by every system, and by the synthetic renderer.

    Args:
        pairs: how many; 0 is `PAIRS`.
    """
    bench, count = Bench(), pairs or PAIRS
    for region in get_args(Region):
        bench.values[region] = {name: [] for name in (*[e.name for e in entrants], TRUTH)}
    clips = list(synthetic_clips(2 * count, seed=seed, frames=LENGTH, size=SIZE, clips_per_person=1))
    for done, (source, driving) in enumerate(zip(clips[::2], clips[1::2], strict=True), 1):
        try:
            case = _Case(source, driving, tools)
        except InputError as error:
            bench.failures.append(f"{source.name}: {error}")
            continue
        for region in get_args(Region):
            _run_region(case, region, entrants, bench)
        progress("synthetic heads", done, count)
    return bench


class _Case:
    """One source with one driving clip, both with their true parameters."""

    def __init__(self, source: LabelledClip, driving: LabelledClip, tools: Instruments) -> None:
        self.source, self.tools = source, tools
        found = torch.ones(len(driving), dtype=torch.bool)
        self.performance = Performance(
            driving.name, driving.params, driving.times, found, SIZE, SIZE, picture=driving.frame
        )
        tracked = sitter_of(source.name, source.frame(0), tracker=tools.tracker)
        face = tracked.faces[0]
        true_face = replace(face, params=params_to_crop(source.params[0], face.crop))
        self.sitter: Sitter = replace(tracked, faces=(true_face,))

    def options(self, region: Region) -> AnimateOptions:
        reference = reference_frame(self.performance.params, self.sitter.faces[0].params)
        return AnimateOptions(motion="absolute", region=region, smooth=0.0, reference=reference)

    def asked(self, region: Region) -> FaceParams:
        """What systems are asked to show in the measured frames, in pixels of the picture."""
        face = self.sitter.faces[0]
        motion = Driving(self.performance.params, self.performance.times)
        moved = retarget(face.params, motion, self.options(region)).params[list(SHOWN)]
        return params_to_picture(moved, face.crop, width=SIZE, height=SIZE)

    def truth(self, asked: FaceParams) -> list[UInt8]:
        """The synthetic person showing exactly that."""
        return [render(self.source.person, asked[i], self.source.scene, width=SIZE) for i in range(len(asked))]

    def measure(
        self, name: str, pictures: Sequence[UInt8], truth: Sequence[UInt8], asked: FaceParams
    ) -> dict[str, float]:
        """One row's numbers."""
        times = [float(self.performance.times[i]) for i in SHOWN]
        generated = self.tools.tracked_view(f"{self.source.name}, {name}", pictures, times, white=False)
        true = self.tools.view("truth", truth, white=False).replace(params=asked)
        values = {} if name == TRUTH else {"psnr": float(Psnr().per_frame(generated, true).mean())}
        angles = [torch.rad2deg(rotation_to_angles(p.rotation)) for p in (require_faces(generated), asked)]
        values |= dict(zip(("yaw", "pitch", "roll"), (angles[0] - angles[1]).abs().mean(0).tolist(), strict=True))
        values["expression"] = float(AedExpression().per_frame(generated, true).mean())
        values["gaze"] = float(GazeError().per_frame(generated, true).mean())
        values["eyes"] = float(EyeOpennessError().per_frame(generated, true).mean())
        if "csim" in self.tools.metrics:
            values["identity"] = self._identity_change(generated)
        return values

    def _identity_change(self, generated: View) -> float:
        assert self.sitter.picture is not None
        source = self.tools.tracked_view("source", [self.sitter.picture], [0.0], white=False)
        embed = self.tools.networks.identity.embed
        return float(1 - (embed(generated) @ embed(source)[0]).mean())


def _run_region(case: _Case, region: Region, entrants: Sequence[Entrant], bench: Bench) -> None:
    asked = case.asked(region)
    truth = case.truth(asked)
    made = {TRUTH: truth}
    for entrant in entrants:
        made[entrant.name] = reenact(
            entrant, case.sitter, case.performance, SHOWN, options=case.options(region), cost=Cost()
        )
    for name, pictures in made.items():
        try:
            bench.values[region][name].append(case.measure(name, pictures, truth, asked))
        except InputError as error:
            bench.failures.append(f"{case.source.name}, {region}, {name}: {error}")


def _cell(values: Sequence[float], seed: int) -> str:
    if not values:
        return "–"
    found: Summary = summarise(values, seed=seed)
    return f"{number(found.mean)} [{number(found.low)}, {number(found.high)}]"
