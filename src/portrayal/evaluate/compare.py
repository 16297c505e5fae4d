"""`portrayal compare`: all systems side by side in one video, with what each cost and how well it followed.

Every system animates the whole picture with the whole driving video; the panels are source-sized, left to right the
driving video and each system, with its name. The numbers follow the motion: there is no truth when the source is
another person.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from portrayal.driving import Performance, open_driving
from portrayal.errors import InputError
from portrayal.evaluate.entrants import COPY_SOURCE, Entrant, load_entrants
from portrayal.evaluate.measure import Instruments, Views, measure_case
from portrayal.evaluate.metrics import METRICS
from portrayal.evaluate.metrics_cost import Cost
from portrayal.evaluate.options import CompareOptions
from portrayal.evaluate.protocols import choose_frames
from portrayal.evaluate.tables import markdown, number
from portrayal.evaluate.view import View
from portrayal.face.tracker import load_tracker, pick_device
from portrayal.media.atomic import complete_or_absent, make_parent
from portrayal.media.image import UInt8
from portrayal.media.video import VideoWriter
from portrayal.options import AnimateOptions
from portrayal.rendering import Renderer, plan_animation, row_size, side_by_side
from portrayal.source import Sitter, open_source
from portrayal.systems import ready
from portrayal.tracking import Progress, silent

SAMPLES = 30
"""Frames that are measured, spread over the video in neighbouring threes."""
SHOWN = ("csim@source", "pose_degrees@driving", "aed_expression@driving", "gaze_error@driving",
         "eye_openness_error@driving", "landmark_jitter@itself", "flicker@itself")  # fmt: skip
HEADER = 28
"""Pixels above the panels for the names."""


@dataclass(frozen=True)
class Comparison:
    """What came out of `compare`."""

    output: Path
    table: Path
    text: str

    def summary(self) -> str:
        """What the command line prints."""
        return f"{self.text}\n\nSide by side: {self.output}\nTable: {self.table}"


@torch.no_grad()
def compare(
    source: Path | str | None = None,
    driving: Path | str | None = None,
    output: Path | str | None = None,
    options: CompareOptions | None = None,
    *,
    progress: Progress = silent,
) -> Comparison:
    """Animate one portrait with every system and write them side by side, with a table of numbers beside the video.

    Args:
        source, driving: as in `animate`.
        output: the video; None is comparisons/<source>--<driving>.mp4. The table is named alike, with .md.

    Raises:
        InputError: something given cannot be used.
    """
    options = options or CompareOptions()
    device, tracker = pick_device(options.device), load_tracker(options.device, options.tracker)
    entrants = load_entrants(
        options.systems or (COPY_SOURCE, *ready(options.weights)), device=device, weights=options.weights
    )
    sitter = open_source(source, tracker=tracker, face="largest", size=None, crop=False, progress=progress)
    if sitter.picture is None:
        raise InputError(f"{sitter.path} is a video; compare animates a picture, give one with -s.")
    performance = open_driving(driving, tracker=tracker, progress=progress)
    target = Path(output or Path("comparisons") / f"{sitter.name}--{performance.name}.mp4")
    make_parent(target)
    run = _Run(entrants, sitter, performance, options, Instruments.load(tracker, device))
    run.write(target, progress)
    text = run.table()
    beside = target.with_suffix(".md")
    with complete_or_absent(beside) as temporary:
        temporary.write_text(f"# {sitter.name} driven by {performance.name}\n\n{text}\n", encoding="utf-8")
    return Comparison(target, beside, text)


class _Run:
    """One comparison while it is made."""

    def __init__(
        self,
        entrants: Sequence[Entrant],
        sitter: Sitter,
        performance: Performance,
        options: CompareOptions,
        tools: Instruments,
    ) -> None:
        self.entrants, self.sitter, self.performance, self.tools = entrants, sitter, performance, tools
        self.costs = {e.name: Cost() for e in entrants}
        animate = AnimateOptions(motion=options.motion, device=options.device)
        count = len(performance) if options.frames == 0 else min(options.frames, len(performance))
        self.plans = {
            e.name: plan_animation(e.system, e.model, sitter, performance, animate).pick(range(count))
            for e in entrants
            if e.system is not None and e.model is not None
        }
        self.frames = list(range(count))
        self.samples = choose_frames([i for i in self.frames if bool(performance.found[i])], SAMPLES)
        self.kept: dict[str, list[UInt8]] = {e.name: [] for e in entrants}
        self.driving: list[UInt8] = []

    def write(self, target: Path, progress: Progress) -> None:
        """Render all systems frame by frame into one video."""
        size = self.sitter.size
        widths = [
            w for w, _ in row_size([(self.performance.width, self.performance.height), *[size] * len(self.entrants)])
        ]
        height = row_size([size])[0][1]
        strip = _header(["driving", *[e.name for e in self.entrants]], widths)
        streams = [self._timed(entrant) for entrant in self.entrants]
        pictures = self.performance.pictures(self.frames)
        wanted = set(self.samples)
        with VideoWriter(
            target, width=sum(widths), height=height + HEADER, sound_from=self.performance.sound
        ) as writer:
            for number, (driven, *made) in enumerate(zip(pictures, *streams, strict=True)):
                if number in wanted:
                    self.driving.append(driven)
                    for entrant, picture in zip(self.entrants, made, strict=True):
                        self.kept[entrant.name].append(picture)
                row = np.concatenate([strip, side_by_side([driven, *made])])
                writer.write(row, self.performance.times[number])
                progress("comparing", number + 1, len(self.frames))

    def _timed(self, entrant: Entrant) -> Iterator[UInt8]:
        """The entrant's pictures, with the time for each in its `Cost`."""
        cost = self.costs[entrant.name]
        if entrant.system is None or entrant.model is None:
            stream = self.sitter.pictures([0] * len(self.frames))
        else:
            plan = self.plans[entrant.name]
            stream = Renderer(entrant.system, entrant.model, plan.sitter, None).pictures(plan)
        for _ in self.frames:
            with cost.measure(1, entrant.device):
                picture = next(stream)
            yield picture

    def table(self) -> str:
        """A row per system: how well it followed, and what it cost."""
        names = [w for w in self.tools.wanted("cross") if f"{w[0]}@{w[1]}" in SHOWN]
        driving, source = (self._view(n, f) for n, f in (("driving", self.driving), ("source", [self.sitter.picture])))
        rows, notes = [], []
        for entrant in self.entrants:
            views = Views(self._view(entrant.name, self.kept[entrant.name]), driving, source)
            done = measure_case(views, self.samples, names, self.tools)
            notes += [f"- {entrant.name}: {note}" for note in done.notes]
            cost = self.costs[entrant.name]
            speed = "–" if entrant.system is None else number(1000 * cost.seconds / cost.frames)
            rows.append([entrant.name, *[number(done.values.get(f"{m}@{a}")) for m, a in names], speed])
        header = ["", *[f"{METRICS[m].title} {METRICS[m].arrow} ({_to(a)})" for m, a in names], "ms per frame ↓"]
        peak = max(c.peak_megabytes for c in self.costs.values())
        said = (
            f"{len(self.frames)} frames of {self.sitter.size[0]}x{self.sitter.size[1]}, {len(self.samples)} of them "
            f"measured. {' '.join(self.tools.notes)} Time: rendering and pasting. "
            f"Peak memory: {peak:.0f} MB, all systems."
        )
        return "\n\n".join([markdown(header, rows), said, *(["\n".join(notes)] if notes else [])])

    def _view(self, name: str, frames: Sequence[UInt8 | None]) -> View:
        pictures = [f for f in frames if f is not None]
        times = (0.0,) if name == "source" else tuple(float(self.performance.times[i]) for i in self.samples)
        return self.tools.tracked_view(name, pictures, times, white=False)


def _header(names: Sequence[str], widths: Sequence[int]) -> UInt8:
    """(HEADER, sum of widths, 3): names over the panels."""
    strip = Image.new("RGB", (sum(widths), HEADER), "white")
    draw, font, x = ImageDraw.Draw(strip), ImageFont.load_default(16), 0
    for name, width in zip(names, widths, strict=True):
        draw.text((x + width / 2, HEADER / 2), name, fill="black", font=font, anchor="mm")
        x += width
    return np.asarray(strip)


def _to(against: str) -> str:
    return "of itself" if against == "itself" else f"to the {against}"
