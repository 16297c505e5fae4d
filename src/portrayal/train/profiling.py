"""Where the time of a training goes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

WARMUP_STEPS = 5
"""Steps before the profile: caches, compilation and the loader settle."""


class Profiler:
    """Profiles `steps` steps and writes profile.txt (a table) and profile-trace.json (for Perfetto).

    Args:
        run: the run folder.
        steps: 0 profiles nothing.
    """

    def __init__(self, run: Path, steps: int, device: torch.device) -> None:
        self.run, self.steps = run, steps
        self._done = 0
        self._sort_by = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
        self._profile = profile(activities=activities, record_shapes=True) if steps else None

    def step(self) -> None:
        """To be called after every step."""
        if self._profile is None:
            return
        self._done += 1
        if self._done == WARMUP_STEPS:
            self._profile.start()
        if self._done == WARMUP_STEPS + self.steps:
            self._profile.stop()
            table = self._profile.key_averages(group_by_input_shape=True).table(sort_by=self._sort_by, row_limit=60)
            (self.run / "profile.txt").write_text(table)
            self._profile.export_chrome_trace(str(self.run / "profile-trace.json"))
            self._profile = None
