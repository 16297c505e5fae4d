"""What a system costs: frames per second and peak memory, measured around the code that renders."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from portrayal.errors import InputError


@dataclass
class Cost:
    """Sums over everything that was measured."""

    frames: int = 0
    seconds: float = 0.0
    """Wall clock, with the device's queue emptied before and after."""
    peak_megabytes: float = 0.0
    """CUDA: most memory that tensors took. CPU: largest resident size of the process since it began."""

    @property
    def frames_per_second(self) -> float:
        """
        Raises:
            InputError: nothing was measured.
        """
        if not self.frames or self.seconds <= 0:
            raise InputError("there is nothing to measure: no frames were rendered")
        return self.frames / self.seconds

    @contextmanager
    def measure(self, frames: int, device: torch.device | str = "cpu") -> Iterator[None]:
        """Add the time and memory of the block, which renders that many frames."""
        device = torch.device(device)
        _wait(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        begin = time.perf_counter()
        yield
        _wait(device)
        self.seconds += time.perf_counter() - begin
        self.frames += frames
        self.peak_megabytes = max(self.peak_megabytes, peak_megabytes(device))


def peak_megabytes(device: torch.device) -> float:
    """Most memory taken so far, in 10^6 bytes; not a number where the system does not tell (Windows)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if sys.platform == "win32":
        return math.nan
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
