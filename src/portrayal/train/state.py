"""What a training learns and how its gradients come about: the state that a stage's `train_step` works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from portrayal.errors import InputError


class NotFiniteError(Exception):
    """A loss or a gradient is not a finite number; nothing was learned from it."""


@dataclass
class Gradients:
    """How one optimizer step comes about: in which precision, in how many parts, on how many processes."""

    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler("cpu", enabled=False))
    """Keeps small gradients above the smallest half-precision number (16-mixed)."""
    processes: int = 1
    parts: int = 1
    """Parts of a batch whose gradients are added up before an optimizer steps."""
    part: int = 0
    """Which of them is being worked on."""
    dry: bool = False
    """Nothing is learned: the step is repeated to see what went wrong."""
    stepping: bool = False
    """`TrainState.step_optimizer` is at work."""

    @property
    def complete(self) -> bool:
        """With this part the gradient of the whole batch is there."""
        return self.part == self.parts - 1


@dataclass
class TrainState:
    """Networks, their averages, optimizers and the step: everything a resume needs.

    A `train_step` calls `backward` and `step_optimizer`, and wraps what concerns one of several optimizers (a GAN) in
    `only`:

        with state.only("discriminator"):
            state.backward(discriminator_loss)
            state.step_optimizer("discriminator", clip=1.0)
    """

    networks: nn.ModuleDict
    averaged: nn.ModuleDict
    """The networks' weights averaged over the steps (EMA); these ship."""
    optimizers: dict[str, Optimizer]
    frozen: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    """Networks that are only used (a perceptual loss, a pose estimator): never trained, not in the checkpoints."""
    gradients: Gradients = field(default_factory=Gradients)
    step: int = 0

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss` (a mean over the samples of this process's part) to that of the batch.

        Raises:
            NotFiniteError: the loss is not finite on some process.
        """
        how = self.gradients
        if how.dry:
            return
        if not _everywhere(bool(torch.isfinite(loss.detach()).all()), how.processes, loss.device):
            raise NotFiniteError
        how.scaler.scale(loss / how.parts).backward()
        if how.processes > 1 and how.complete:
            average_gradients([p for p in self.networks.parameters() if p.requires_grad], how.processes)

    def step_optimizer(self, name: str, *, clip: float | None = None) -> Tensor | None:
        """Step one optimizer with the gradient of the whole batch and forget that gradient.

        Args:
            clip: greatest norm of the gradient over all of the optimizer's parameters (None: as it is).

        Returns:
            () that norm before clipping; None while parts of the batch are still to come.

        Raises:
            NotFiniteError: the gradient is not finite (with 16-mixed the step is left out and the scale lowered).
        """
        how, optimizer = self.gradients, self.optimizers[name]
        if how.dry or not how.complete:
            return None
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        how.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(parameters, float("inf") if clip is None else clip)
        if not how.scaler.is_enabled() and not torch.isfinite(norm):
            raise NotFiniteError(self._bad_gradient())
        how.stepping = True
        how.scaler.step(optimizer)
        how.stepping = False
        optimizer.zero_grad(set_to_none=True)
        return norm

    @contextmanager
    def only(self, *names: str) -> Iterator[None]:
        """Inside, losses have gradients for the parameters of these optimizers alone."""
        wanted = {p for name in names for group in self.optimizers[name].param_groups for p in group["params"]}
        parameters = list(self.networks.parameters())
        before = [p.requires_grad for p in parameters]
        for parameter, trains in zip(parameters, before, strict=True):
            parameter.requires_grad_(trains and parameter in wanted)
        try:
            yield
        finally:
            for parameter, trains in zip(parameters, before, strict=True):
                parameter.requires_grad_(trains)

    @torch.no_grad()
    def average(self, decay: float) -> None:
        """One step of the EMA, faster in the beginning; buffers are copied."""
        decay = min(decay, (1 + self.step) / (10 + self.step))
        for average, value in zip(self.averaged.parameters(), self.networks.parameters(), strict=True):
            average.lerp_(value, 1 - decay)
        for kept, buffer in zip(self.averaged.buffers(), self.networks.buffers(), strict=True):
            kept.copy_(buffer)

    def state_dict(self) -> dict[str, Any]:
        return {
            "networks": self.networks.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "scaler": self.gradients.scaler.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.networks.load_state_dict(state["networks"])
        self.averaged.load_state_dict(state["averaged"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        if state.get("scaler"):  # empty unless the precision was 16-mixed
            self.gradients.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]

    def _bad_gradient(self) -> str:
        bad = (n for n, p in self.networks.named_parameters() if p.grad is not None and not p.grad.isfinite().all())
        return f"the gradient of {next(bad, 'a parameter')}"


@torch.no_grad()
def average_gradients(parameters: list[nn.Parameter], processes: int) -> None:
    """Replace the gradients by their mean over all processes, in one exchange.

    A process where a parameter had no gradient counts as zero; a parameter that has none anywhere keeps none. Done here
    and not by DistributedDataParallel, because a step may call a network several times, or methods other than its
    forward, before it asks for gradients (as GANs do).
    """
    given = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    has = torch.tensor([float(p.grad is not None) for p in parameters], device=given[0].device)
    flat = torch.cat([g.reshape(-1).float() for g in given] + [has])
    dist.all_reduce(flat)
    *means, counts = flat.split([p.numel() for p in parameters] + [len(parameters)])
    for parameter, mean, count in zip(parameters, means, counts.tolist(), strict=True):
        if count:
            mean = (mean / processes).view_as(parameter).to(parameter.dtype)
            parameter.grad = torch.empty_like(parameter).copy_(mean)


def _everywhere(true_here: bool, processes: int, device: torch.device) -> bool:
    """Whether it is true on every process."""
    if processes == 1:
        return true_here
    flag = torch.tensor(float(true_here), device=device)
    dist.all_reduce(flag, dist.ReduceOp.MIN)
    return bool(flag)


def demand_step_optimizer(optimizer: Optimizer, gradients: Gradients) -> None:
    """From now on a direct `optimizer.step()` raises InputError: it would use scaled or unfinished gradients."""

    def check(*_: Any) -> None:
        if not gradients.stepping:
            raise InputError(
                "this stage steps its optimizer itself; --accumulate and --precision 16-mixed need a stage that calls "
                "TrainState.step_optimizer"
            )

    optimizer.register_step_pre_hook(check)
