"""What a training writes down: metrics.jsonl, TensorBoard events, a progress bar."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from portrayal.media.atomic import complete_or_absent
from portrayal.media.image import write_image
from portrayal.train.checkpoint import warn


@dataclass
class Meter:
    """Means of the loss terms, on the device until they are asked for; of each over the steps that had it."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, terms: dict[str, Tensor]) -> None:
        self.counts.update(terms.keys())
        for name, value in terms.items():
            value = value.detach().double() if value.device.type != "mps" else value.detach().float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def pop(self, processes: int) -> dict[str, float]:
        """The means over all steps since the last call and over all processes."""
        names = sorted(self.sums)
        means = torch.stack([self.sums[name] / self.counts[name] for name in names])
        if processes > 1:
            dist.all_reduce(means)
            means /= processes
        found = dict(zip(names, means.tolist(), strict=True))
        self.sums, self.counts = {}, Counter()
        return found


@dataclass
class Clock:
    """Samples per second, and which share of the time the loader was waited for."""

    batch: int
    started: float = field(default_factory=time.perf_counter)
    step: int = 0
    waited: float = 0.0

    def pop(self, step: int, waited: float) -> dict[str, float]:
        """Since the last call.

        Args:
            step: steps done.
            waited: seconds spent waiting for the loader, since the start.
        """
        now = time.perf_counter()
        seconds = max(now - self.started, 1e-9)
        found = {
            "samples_per_second": (step - self.step) * self.batch / seconds,
            "loader_wait": min(1.0, (waited - self.waited) / seconds),
        }
        self.started, self.step, self.waited = now, step, waited
        return found


class RunLog:
    """The files of a run folder beside checkpoints and weights; a full disk is reported once and stops nothing.

    Args:
        run: the run folder.
        step: where the training goes on; later lines of an interrupted run are dropped.
        steps: of the whole training.
    """

    def __init__(self, run: Path, *, step: int, steps: int) -> None:
        self.run = run
        self._failed: set[str] = set()
        keep_lines(run / "metrics.jsonl", step)
        self._events = _tensorboard(run, step)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]:.1f} samples/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
        )
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task("train", total=steps, completed=step, loss="", speed=0.0)

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()
        if self._events is not None:
            self._events.close()

    def progress(self, step: int) -> None:
        self._progress.update(self._task, completed=step)

    def metrics(self, step: int, terms: dict[str, float], about: dict[str, float]) -> None:
        """One line: the loss terms, then what else was measured."""
        if terms:  # a line of validation has none, and no speed
            shown = " ".join(f"{k} {v:.4f}" for k, v in terms.items())
            self._progress.update(self._task, loss=shown, speed=about["samples_per_second"])
        try:
            with (self.run / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"step": step} | terms | about) + "\n")
            if self._events is not None:
                for name, value in (terms | about).items():
                    self._events.add_scalar(name, value, step)
        except OSError as error:
            self._report("metrics", error)

    def validation(self, step: int, numbers: dict[str, float]) -> None:
        """One line with the numbers under `validation/`."""
        self.metrics(step, {}, {f"validation/{name}": value for name, value in numbers.items()})

    def preview(self, step: int, picture: NDArray[np.uint8]) -> None:
        try:
            write_image(self.run / f"preview-{step:06d}.png", picture)
            if self._events is not None:
                self._events.add_image("preview", picture, step, dataformats="HWC")
        except Exception as error:  # a full disk has many shapes here; a preview is no reason to stop
            self._report("previews", error)

    def skipped(self, reasons: list[str]) -> None:
        """Sentences on samples that were left out: all in skipped.txt, each new one on stderr too."""
        for reason in reasons:
            if reason not in self._failed:
                self._failed.add(reason)
                warn(f"left out: {reason}")
        try:
            with (self.run / "skipped.txt").open("a") as file:
                file.writelines(f"{reason}\n" for reason in reasons)
        except OSError as error:
            self._report("skipped.txt", error)

    def _report(self, what: str, error: Exception) -> None:
        if what not in self._failed:
            self._failed.add(what)
            warn(f"{self.run}: {what} cannot be written ({error}); training goes on")


def keep_lines(path: Path, step: int) -> None:
    """Drop lines of metrics.jsonl from after `step`, and one that a kill cut off."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (json.JSONDecodeError, KeyError, TypeError):
            continue
    with complete_or_absent(path) as temporary:
        temporary.write_text("".join(kept))


def _tensorboard(run: Path, step: int) -> Any:
    """A writer of TensorBoard events; None, said on stderr, where the package is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        warn(
            "tensorboard is not installed (pip install portrayal[train]): there are no event files, only metrics.jsonl"
        )
        return None
    return SummaryWriter(str(run), purge_step=step + 1)
