"""Synthetic heads: how fast they are drawn, and how far tracker and face model are from their ground truth.

    python benchmarks/synthetic.py
    python benchmarks/synthetic.py --sheet docs/images/synthetic.jpg

Speed is given as processor time per picture (what it takes on an idle core) and as pictures per second of several
processes by the clock, with everything else that runs on the machine.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from portrayal.data.synthetic import draw_clip, nth_person, synthetic_clips, synthetic_pictures
from portrayal.data.synthetic_check import (
    TrackingErrors,
    clip_errors_on_synthetic,
    fit_errors_on_synthetic,
    tracker_errors_on_synthetic,
)


@dataclass(frozen=True)
class Options:
    count: int = 100
    """Pictures for the errors."""
    clips: int = 8
    """Clips of 40 frames for the errors with one identity per clip."""
    seed: int = 1000
    size: int = 128
    """Side of the pictures whose speed is measured."""
    error_size: int = 256
    """Side of the pictures that are tracked."""
    processes: int = 2
    """For the speed by the clock."""
    pictures: int = 200
    """For the speed."""
    sheet: Path | None = None
    """Draw a contact sheet into this file and stop."""


def draw_pictures(job: tuple[int, int, int]) -> float:
    """Processor seconds for drawing `count` pictures, each of another person."""
    count, seed, size = job
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    list(synthetic_pictures(2, seed=seed + 1, size=size))  # what is worked out once per process
    start = time.process_time()
    list(synthetic_pictures(count, seed=seed, size=size))
    return time.process_time() - start


def draw_frames(count: int, seed: int, size: int) -> float:
    """Processor seconds for the frames of one person's clip."""
    clip = draw_clip(nth_person(seed, 0), seed, frames=count, size=size)
    clip.frame(0)
    start = time.process_time()
    for _ in clip.frames():
        pass
    return time.process_time() - start


def speed_table(options: Options) -> Table:
    count, cores = options.pictures, options.processes
    pictures = draw_pictures((count, options.seed, options.size)) / count
    frames = draw_frames(count, options.seed, options.size) / count
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        list(pool.map(draw_pictures, [(2, 0, options.size)] * cores))
        start = time.perf_counter()
        list(pool.map(draw_pictures, [(count // cores, options.seed + i, options.size) for i in range(cores)]))
        clock = time.perf_counter() - start
    table = Table("drawn at", "processor ms each", f"per second on {cores} idle cores (from that)", title="Speed")
    side = f"{options.size} x {options.size}"
    table.add_row(f"{side}, each another person", f"{1000 * pictures:.1f}", f"{cores / pictures:.0f}")
    table.add_row(f"{side}, frames of one person", f"{1000 * frames:.1f}", f"{cores / frames:.0f}")
    row = f"{count / clock:.0f} by the clock, this machine as busy as it is"
    table.add_row(f"{side}, each another person, {cores} processes", "", row)
    return table


def error_table(options: Options) -> Table:
    count, seed, size = options.count, options.seed, options.error_size
    columns: dict[str, TrackingErrors] = {
        "tracker, pictures": tracker_errors_on_synthetic(count, seed, size=size),
        "tracker, clips": clip_errors_on_synthetic(options.clips, seed, size=size),
        "fit of true landmarks, pictures": fit_errors_on_synthetic(count, seed, size=size),
        "fit of true landmarks, clips": clip_errors_on_synthetic(options.clips, seed, size=size, true_landmarks=True),
        "fit, 1 px noise, pictures": fit_errors_on_synthetic(count, seed, size=size, noise_px=1.0),
    }
    table = Table("error", *columns, title=f"Tracker and face model against the truth, {size} x {size}")
    for field in fields(TrackingErrors):
        table.add_row(field.name, *[f"{getattr(e, field.name):.3g}" for e in columns.values()])
    return table


def contact_sheet(path: Path, seed: int) -> None:
    """People; then one person under other motion and light; then A, B, and A doing what B does."""
    side = 160
    people = [p.image for p in synthetic_pictures(24, seed=seed, size=side)]
    same = [p.image for p in synthetic_pictures(8, seed=seed + 2, size=side, views=8)]
    first, _, second, _ = synthetic_clips(4, seed=seed + 1, frames=113, size=side)
    rows = [people[i : i + 8] for i in range(0, 24, 8)] + [same]
    rows += [[clip.frame(i) for i in range(0, 113, 16)] for clip in (first, second, first.driven_by(second))]
    picture = np.vstack([np.hstack(row) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def main(options: Options) -> None:
    torch.set_num_threads(1)
    console = Console(width=160)
    if options.sheet is not None:
        contact_sheet(options.sheet, options.seed)
        console.print(f"{options.sheet}: {options.sheet.stat().st_size // 1024} KB")
        return
    console.print(speed_table(options))
    console.print(error_table(options))


if __name__ == "__main__":
    main(tyro.cli(Options))
