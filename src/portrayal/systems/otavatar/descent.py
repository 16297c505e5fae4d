"""Optimisations for one picture, watched: they stop early, start again where they diverge, and go on after a break."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from portrayal.nn.kept import KeptFile, learned_tensors, restore_learned

LEAST_GAIN = 1e-3
"""Share of the loss that must be gained for a step to count as progress."""
SLOWER = 10
"""How many times smaller the steps of the second attempt are."""

Progress = Callable[[int, int, float], None]
"""Called with (steps done, steps in all, loss)."""


@dataclass(frozen=True)
class Watch:
    """How an optimisation is watched."""

    progress: Progress | None = None
    patience: int | None = None
    """Stop after as many steps without progress; None never stops."""
    must_gain: bool = False
    """A loss that has grown in the end counts as divergence, too."""
    comparable: int | None = None
    """The first steps, whose losses have the same terms and so can be compared; None: all."""
    part: KeptFile = field(default_factory=lambda: KeptFile(None, ""))
    """Where an interrupted one goes on from."""
    save_every_steps: int = 10


class Descent:
    """What is learned, its optimizer, and the losses before each step.

    Args:
        learned: leaves by name. optimizer: Adam of them.
        clip: greatest norm of the gradient of `limited` together; the others' is as it comes.
    """

    def __init__(
        self, learned: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, *, limited: list[Tensor], clip: float
    ) -> None:
        self.learned, self.optimizer, self.limited, self.clip = learned, optimizer, limited, clip
        self.losses: list[float] = []

    def step(self, loss: Tensor) -> bool:
        """One step; false, and nothing is learned, where the loss or a gradient is not finite."""
        gradients = torch.autograd.grad(loss, list(self.learned.values()))
        self.losses.append(float(loss.detach()))
        if not math.isfinite(self.losses[-1]) or not all(bool(g.isfinite().all()) for g in gradients):
            return False
        for value, gradient in zip(self.learned.values(), gradients, strict=True):
            value.grad = gradient.clone()
        nn.utils.clip_grad_norm_(self.limited, self.clip)
        self.optimizer.step()
        return True

    def stalled(self, patience: int) -> bool:
        """Whether so many steps have brought next to nothing."""
        best, best_step = math.inf, 0
        for step, loss in enumerate(self.losses):
            if loss < best * (1 - LEAST_GAIN):
                best, best_step = loss, step
        return len(self.losses) - 1 - best_step >= patience

    def keep(self, file: KeptFile, attempt: int) -> None:
        losses = torch.tensor(self.losses, dtype=torch.float64)
        file.write(learned_tensors(self.learned, self.optimizer) | {"losses": losses}, {"attempt": str(attempt)})

    def go_on(self, tensors: Mapping[str, Tensor]) -> None:
        """From what `keep` wrote.

        Raises:
            ValueError: that was of something else.
        """
        if "losses" not in tensors or tensors["losses"].ndim != 1:
            raise ValueError("there are no losses among what was kept")
        restore_learned(self.learned, self.optimizer, tensors, len(tensors["losses"]))
        self.losses = tensors["losses"].tolist()


def descend(
    start: Callable[[float], Descent],
    objective: Callable[[Mapping[str, Tensor], int], Tensor],
    *,
    rate: float,
    steps: int,
    watch: Watch,
) -> Descent | None:
    """Optimise; where that diverges, once more with a smaller rate.

    Args:
        start: the beginning, for a learning rate. objective: what is learned and the number of the step to a scalar.

    Returns:
        None where both attempts diverge.
    """
    known = watch.part.read()
    for attempt, tried in enumerate((rate, rate / SLOWER)):
        if known is not None and known[1].get("attempt") == "1" and attempt == 0:
            continue
        descent = start(tried)
        if known is not None:
            try:
                descent.go_on(known[0])
            except ValueError:
                watch.part.remove()
            known = None
        if _run(descent, objective, steps, watch, attempt):
            return descent
    return None


def _run(
    descent: Descent,
    objective: Callable[[Mapping[str, Tensor], int], Tensor],
    steps: int,
    watch: Watch,
    attempt: int,
) -> bool:
    """False where it diverges."""
    for step in range(len(descent.losses), steps):
        with torch.enable_grad():
            if not descent.step(objective(descent.learned, step)):
                return False
        if watch.progress is not None:
            watch.progress(step + 1, steps, descent.losses[-1])
        if watch.patience is not None and descent.stalled(watch.patience):
            break
        if (step + 1) % watch.save_every_steps == 0:
            descent.keep(watch.part, attempt)
    alike = descent.losses[: watch.comparable]
    return not watch.must_gain or not alike or alike[-1] <= alike[0]
