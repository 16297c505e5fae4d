"""What a system says about one stage of its training; the loop does everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from portrayal.train.schedule import Schedule
from portrayal.train.state import TrainState

Batch = dict[str, Tensor]


@runtime_checkable
class KeepsFrames(Protocol):
    """A dataset that is faster with a folder for what it decodes."""

    def cache_in(self, folder: Path | None) -> None:
        """Use this folder from now on; it is made when needed."""


@runtime_checkable
class Streamed(Protocol):
    """An `IterableDataset` that is read from front to back and has no end."""

    skipped: list[str]
    """Why samples were left out; whoever reads it empties it."""

    def take_part(self, *, process: int, processes: int, workers: int, batch: int, start: int) -> None:
        """Stream the share of one process: batches of `batch` samples, `start` of which were seen before a resume."""

    def __iter__(self) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class Stage:
    """One stage of a system's training. Its configuration has `batch`, `steps` and `ema` beside its own fields."""

    networks: Callable[[Any], dict[str, nn.Module]]
    """config -> the networks by name."""
    optimizers: Callable[[nn.ModuleDict, Any], dict[str, torch.optim.Optimizer]]
    """Each with its greatest learning rate."""
    dataset: Callable[[Path, Any, int, int], Dataset[Batch]]
    """(data folder, config, seed, samples) -> map-style dataset; a sample depends on (seed, index) alone. Or
    one that is `Streamed`.

    A PortrayalError (`data.bad.BadSample`) means that this sample cannot be made: another takes its place and it is
    counted."""
    collate: Callable[[list[Batch]], Batch]
    train_step: Callable[[TrainState, Batch, Any], dict[str, Tensor]]
    """One step of every optimizer; returns the named loss terms, each () and a mean over the batch's samples."""
    preview: Callable[[TrainState, Batch, Any], NDArray[np.uint8]]
    """A picture (h, w, 3) uint8 RGB that shows how it goes."""
    save_weights: Callable[[Path, TrainState, Any, dict[str, str]], None]
    """Write the weights file with the metadata given."""
    load_weights: Callable[[Path, TrainState], None]
    """Start from a weights file."""
    configure: Callable[[Any], Any] = lambda config: config
    """A preset as this stage trains it."""
    frozen: Callable[[Any], dict[str, nn.Module]] | None = None
    """config -> networks that are only used; they become `state.frozen` and are in no checkpoint."""
    schedule: Callable[[Any], Schedule] = lambda _: Schedule()
    """config -> how the learning rates change over the steps."""
    preview_batch: Callable[[Path, Any], Batch] | None = None
    """(data folder, config) -> the validation samples that every preview shows; without it the batch at hand."""
    validate: Callable[[TrainState, Any, Path], dict[str, float]] | None = None
    """(state, config, data folder) -> numbers measured with the averaged networks on fixed validation samples."""
    criterion: str = "loss"
    """The number of `validate` by which the best checkpoint is chosen; smaller is better."""
