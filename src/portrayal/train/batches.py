"""Batches of a training: every process takes its share, and one bad sample stops nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from portrayal.errors import InputError, PortrayalError
from portrayal.train.stage import Batch, Streamed

ATTEMPTS = 20
"""Bad samples in a row before the data is given up."""


@dataclass(frozen=True)
class Share:
    """Which samples of each batch one process prepares, in which parts.

    Sample i of the training is in step i // batch; a batch is cut into `parts` of `processes` pieces, in this order.
    """

    batch: int
    process: int = 0
    processes: int = 1
    parts: int = 1

    def __post_init__(self) -> None:
        if self.batch % (self.processes * self.parts):
            raise InputError(
                f"a batch of {self.batch} cannot be cut into {self.processes} devices x --accumulate {self.parts} "
                "equal pieces; choose other numbers or another --config.batch"
            )

    @property
    def size(self) -> int:
        """Samples of one part on this process."""
        return self.batch // (self.processes * self.parts)

    def indices(self, step: int, steps: int) -> Iterator[list[int]]:
        """The samples of every part from step `step` up to `steps`."""
        for first in range(step * self.batch, steps * self.batch, self.batch // self.parts):
            start = first + self.process * self.size
            yield list(range(start, start + self.size))


@dataclass
class Loader:
    """Iterates over the parts of batches on the device; counts the time spent waiting and the samples left out."""

    parts: Iterator[tuple[Batch, list[str]]]
    device: torch.device
    waited_seconds: float = 0.0
    skipped: list[str] = field(default_factory=list)
    """Why samples were left out, one sentence each, since the list was last emptied."""

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> Batch:
        start = time.perf_counter()
        batch, skipped = next(self.parts)
        self.waited_seconds += time.perf_counter() - start
        self.skipped += skipped
        return {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}


def open_loader(
    dataset: Dataset[Batch],
    collate: Callable[[list[Batch]], Batch],
    share: Share,
    *,
    step: int,
    steps: int,
    workers: int,
    device: torch.device,
) -> Loader:
    """The parts of every batch from step `step` up to `steps`; a streamed dataset does not end there."""
    cv2.setNumThreads(1)  # threads of OpenCV that the data used would hang in the forked workers
    settings: dict[str, Any]
    if isinstance(dataset, Streamed):
        place = {"process": share.process, "processes": share.processes, "start": step * share.parts}
        dataset.take_part(workers=workers, batch=share.size, **place)
        settings = {"dataset": _Stream(dataset), "batch_size": share.size}
    else:
        samples = _Tolerant(dataset, stride=share.batch, samples=steps * share.batch)
        settings = {"dataset": samples, "batch_sampler": share.indices(step, steps)}
    loader: DataLoader[Any] = DataLoader(
        **settings,
        num_workers=workers,
        collate_fn=_Collate(collate),
        prefetch_factor=4 if workers else None,
        worker_init_fn=_single_thread,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # its own, so that opening a loader changes no other random number
    )
    return Loader(iter(loader), device)


class _Stream(IterableDataset[tuple[Batch, list[str]]]):
    """Every sample with what was left out before it."""

    def __init__(self, dataset: Streamed) -> None:
        self.dataset = dataset

    def __iter__(self) -> Iterator[tuple[Batch, list[str]]]:
        for sample in self.dataset:
            skipped, self.dataset.skipped = self.dataset.skipped, []
            yield sample, skipped


class _Tolerant(Dataset[tuple[Batch, list[str]]]):
    """Replaces a sample that cannot be made by one some batches on, always the same one."""

    def __init__(self, dataset: Dataset[Batch], *, stride: int, samples: int) -> None:
        self.dataset, self.samples = dataset, samples
        # Whole batches away, so that what depends on the place in the batch stays as it is.
        self.stride = stride * 7919

    def __getitem__(self, index: int) -> tuple[Batch, list[str]]:
        skipped: list[str] = []
        for attempt in range(ATTEMPTS):
            try:
                return self.dataset[(index + attempt * self.stride) % self.samples], skipped
            except PortrayalError as error:
                skipped.append(str(error))
        raise InputError(f"{ATTEMPTS} samples in a row cannot be used; the last: {skipped[-1]}")


@dataclass(frozen=True)
class _Collate:
    collate: Callable[[list[Batch]], Batch]

    def __call__(self, samples: list[tuple[Batch, list[str]]]) -> tuple[dict[str, Tensor], list[str]]:
        return self.collate([sample for sample, _ in samples]), [reason for _, reasons in samples for reason in reasons]


def _single_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
