"""The two kinds of streaming metric: means over frames, and scores of whole clips.

Both are `torchmetrics.Metric`: `update` takes a chunk, `compute` divides, `reset` empties, `to` moves to a device, and
the sums are reduced over processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from portrayal.errors import InputError
from portrayal.evaluate.view import View


class ViewMetric(Metric, ABC):
    """A metric of generated frames against reference frames."""

    full_state_update = False

    @abstractmethod
    def update(self, generated: View, reference: View) -> None:
        """Take in consecutive frames of one clip."""

    @abstractmethod
    def compute(self) -> Tensor:
        """
        Raises:
            InputError: nothing was taken in.
        """


class FrameMetric(ViewMetric):
    """The mean over frames of a number per frame."""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @abstractmethod
    def per_frame(self, generated: View, reference: View) -> Tensor:
        """(t,): the number of each frame. The reference has as many frames, or one that stands for all."""

    @torch.no_grad()
    def update(self, generated: View, reference: View) -> None:
        values = self.per_frame(generated, reference)
        self.total += values.to(self.total.device).double().sum()
        self.count += len(values)

    def compute(self) -> Tensor:
        _require_any(self.count)
        return self.total / self.count


class ClipMetric(ViewMetric):
    """The mean over clips of a number per clip; a clip is over when a view of another name comes, or at `compute`.

    Keeps what it needs of one clip at a time. With several processes each must see whole clips.
    """

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self._clip: str | None = None
        self._parts: list[tuple[Tensor, ...]] = []

    @abstractmethod
    def collect(self, generated: View, reference: View) -> tuple[Tensor, ...]:
        """What the score needs of a chunk: tensors with time first."""

    @abstractmethod
    def score(self, *parts: Tensor) -> Tensor | float | None:
        """The number of a whole clip from what was collected; None where the clip is too short to tell."""

    @torch.no_grad()
    def update(self, generated: View, reference: View) -> None:
        if generated.clip != self._clip:
            self._finish()
            self._clip = generated.clip
        self._parts.append(self.collect(generated, reference))

    def compute(self) -> Tensor:
        self._finish()
        _require_any(self.count)
        return self.total / self.count

    def reset(self) -> None:
        super().reset()
        self._clip, self._parts = None, []

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Sums over processes, after the clip at hand."""
        self._finish()
        super().sync(*args, **kwargs)

    @torch.no_grad()
    def _finish(self) -> None:
        parts, self._parts, self._clip = self._parts, [], None
        if parts:
            value = self.score(*[torch.cat(column) for column in zip(*parts, strict=True)])
            if value is not None:
                self.total += float(value)
                self.count += 1


def _require_any(count: Tensor) -> None:
    if count == 0:
        raise InputError("there is nothing to measure: no frames were given, or every clip was too short")
