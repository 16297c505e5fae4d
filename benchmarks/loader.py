"""How many training pairs a second the loader gives, beside what a training step of a given length needs.

    python benchmarks/loader.py faces --workers 2 --step-ms 400 --batch 16

A second pass is measured too, in which the decoded frames come from the cache.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import cv2
import torch
import tyro
from torch.utils.data import DataLoader
from tyro.conf import Positional

from portrayal.data.pair_options import PairOptions
from portrayal.data.pairs import ClipPairs
from portrayal.data.shard_pairs import open_pairs
from portrayal.data.shards import INDEX


@dataclass
class Options:
    data: Annotated[Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Clip folder, or folder of shards."""
    size: int = 256
    """Side of the pictures in pixels."""
    batch: int = 16
    batches: int = 100
    """Measured in each pass."""
    workers: int = 2
    photos: float = 0.0
    """Share of pairs made from photos."""
    step_ms: float = 400.0
    """What a training step of one batch takes."""
    cache: Path | None = None
    """Folder for decoded frames; without it a new one that is removed at the end."""


def main(options: Options) -> None:
    with TemporaryDirectory() as temporary:
        passes = ("first pass",) if (options.data / INDEX).is_file() else ("first pass", "from the cache")
        for name in passes:
            rate = measure(options, options.cache or Path(temporary))
            needed = options.batch / (options.step_ms / 1000)
            verdict = "keeps up" if rate >= needed else "is too slow"
            print(
                f"{name}: {rate:.0f} pairs/s with {options.workers} workers at {options.size} px; a step of "
                f"{options.step_ms:.0f} ms needs {needed:.0f}: the loader {verdict} ({rate / needed:.1f} times)",
                flush=True,
            )


def measure(options: Options, cache: Path) -> float:
    """Pairs per second, the start of the workers left out."""
    samples, pairs = (options.batches + 1) * options.batch, PairOptions(photos=options.photos)
    data = open_pairs(options.data, "train", size=options.size, seed=0, samples=samples, options=pairs)
    if isinstance(data, ClipPairs):
        data.cache_in(cache)
    else:
        data.take_part(workers=options.workers, batch=options.batch)
    cv2.setNumThreads(1)  # as in a training
    loader = DataLoader(
        data,
        batch_size=options.batch,
        num_workers=options.workers,
        drop_last=True,
        worker_init_fn=_single_thread,
        prefetch_factor=4 if options.workers else None,
    )
    batches = iter(loader)
    next(batches)
    start, count = time.perf_counter(), 0
    for batch in islice(batches, options.batches):
        count += len(batch["source"])
    return count / (time.perf_counter() - start)


def _single_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


if __name__ == "__main__":
    main(tyro.cli(Options, config=(tyro.conf.FlagCreatePairsOff,)))
