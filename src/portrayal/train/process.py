"""One process of a training: what it holds, and the parts of a step that the loop puts together."""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from portrayal.errors import InputError, PortrayalError
from portrayal.train.batches import Loader, Share, open_loader
from portrayal.train.checkpoint import load_newest, mark_best, save_checkpoint, warn
from portrayal.train.guard import explain
from portrayal.train.initial import load_initial
from portrayal.train.launch import compile_networks, prepare
from portrayal.train.log import Clock, Meter, RunLog
from portrayal.train.options import RunOptions
from portrayal.train.profiling import Profiler
from portrayal.train.randomness import fixed_randomness, random_state, seed_everything, set_random_state
from portrayal.train.run_folder import about_run
from portrayal.train.schedule import learning_rate_factor
from portrayal.train.stage import Batch, KeepsFrames, Stage
from portrayal.train.state import Gradients, NotFiniteError, TrainState, demand_step_optimizer

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def start(stage: Stage, config: Any, options: RunOptions, device: torch.device) -> TrainState:
    """Fresh networks, their averages and optimizers on the device."""

    def ready(networks: dict[str, nn.Module]) -> nn.ModuleDict:
        return prepare(nn.ModuleDict(networks), device, channels_last=options.channels_last)

    networks, averaged = ready(stage.networks(config)), ready(stage.networks(config))
    averaged.load_state_dict(networks.state_dict())
    averaged.eval().requires_grad_(False)
    frozen = ready(stage.frozen(config) if stage.frozen else {}).eval().requires_grad_(False)
    networks.train()
    scaler = torch.amp.GradScaler(device.type, enabled=options.precision == "16-mixed")
    gradients = Gradients(scaler, parts=options.accumulate)
    optimizers = stage.optimizers(networks, config)
    if options.accumulate > 1 or scaler.is_enabled():
        for optimizer in optimizers.values():
            demand_step_optimizer(optimizer, gradients)
    return TrainState(networks, averaged, optimizers, frozen, gradients)


class Process:
    """Everything of one process; the main one also has the log.

    Raises:
        InputError: `options.init` does not fit, or the data cannot be used.
    """

    def __init__(self, stage: Stage, config: Any, options: RunOptions, fabric: Fabric) -> None:
        self.stage, self.config, self.options, self.fabric = stage, config, options, fabric
        self._count = fabric.world_size
        seed_everything(options.seed)
        self.state = start(stage, config, options, fabric.device)
        self.state.gradients.processes = self._count
        if self._count > 1 and fabric.device.type == "cuda":  # elsewhere every process has statistics of its own
            for name, network in list(self.state.networks.items()):
                self.state.networks[name] = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        self._greatest_rates = {k: [g["lr"] for g in o.param_groups] for k, o in self.state.optimizers.items()}
        self._skipped = 0
        random = self._resume()
        if options.compile:
            compile_networks(self.state.networks)
        self.batches = self._open_loader()
        # After the networks and the data, which may have used random numbers.
        if random is not None:
            set_random_state(random)
        else:
            seed_everything(_seed(options.seed, fabric.global_rank, self.state.step))
        self._preview_batch: Batch | None = None
        self._meter, self._clock = Meter(), Clock(config.batch, step=self.state.step)
        self.profiler = Profiler(options.out, options.profile if self._is_main else 0, fabric.device)
        self._log = RunLog(options.out, step=self.state.step, steps=config.steps) if self._is_main else None

    def __enter__(self) -> Process:
        if self._log:
            self._log.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._log:
            self._log.stop()

    def set_learning_rates(self) -> None:
        factor = learning_rate_factor(self.stage.schedule(self.config), self.state.step, self.config.steps)
        for name, optimizer in self.state.optimizers.items():
            for group, greatest in zip(optimizer.param_groups, self._greatest_rates[name], strict=True):
                group["lr"] = greatest * factor

    def learn(self) -> Batch:
        """One step of the optimizers, part by part of the batch; returns the last part.

        Raises:
            InputError: a loss or gradient is not finite; says where that began.
        """
        how = self.state.gradients
        for part in range(how.parts):
            how.part = part
            batch = next(self.batches)
            before = random_state()
            try:
                terms = self._train_step(batch)
            except NotFiniteError as error:
                raise self._explain(batch, before, str(error)) from error
            self._meter.add(terms)
        if how.scaler.is_enabled():
            how.scaler.update()
        return batch

    def write_metrics(self) -> None:
        """Means since the last time.

        Raises:
            InputError: a term is not finite.
        """
        terms = self._meter.pop(self._count)
        bad = ", ".join(name for name, value in terms.items() if not math.isfinite(value))
        if bad:
            raise InputError(f"loss {bad} is not finite at step {self.state.step}; lower learning_rate and resume")
        reasons = [reason for some in self._gather(self.batches.skipped) for reason in some]
        self.batches.skipped = []
        self._skipped += len(reasons)
        if self._log:
            if reasons:
                self._log.skipped(reasons)
            rates = {f"learning_rate/{k}": o.param_groups[0]["lr"] for k, o in self.state.optimizers.items()}
            about = self._clock.pop(self.state.step, self.batches.waited_seconds) | rates | {"skipped": self._skipped}
            self._log.metrics(self.state.step, terms, about)

    def write_preview(self, batch: Batch) -> None:
        """The stage's picture, of its fixed validation samples where it has them."""
        if not self._log:
            return
        with fixed_randomness(self.options.seed), self.fabric.autocast():
            if self.stage.preview_batch and self._preview_batch is None:
                fixed = self.stage.preview_batch(self.options.data, self.config)
                self._preview_batch = {name: value.to(self.fabric.device) for name, value in fixed.items()}
            picture = self.stage.preview(self.state, self._preview_batch or batch, self.config)
        self._log.preview(self.state.step, picture)

    def save(self) -> None:
        """Write a checkpoint, measure it where the stage can, and note the best."""
        random = self._gather(random_state())
        if self._log:
            content = self.state.state_dict() | {"random": random, "skipped": self._skipped}
            saved = save_checkpoint(self.options.out, self.state.step, content, keep=self.options.keep)
            if self.stage.validate is not None:
                self._validate(mark=saved is not None)
        self.fabric.barrier()

    def show_progress(self) -> None:
        if self._log:
            self._log.progress(self.state.step)

    def write_weights(self) -> Path:
        """The averaged networks as the stage ships them."""
        path = self.options.weights or self.options.out / "weights.safetensors"
        if self._is_main:
            self._save_weights(path)
        self.fabric.barrier()
        return path

    @property
    def _is_main(self) -> bool:
        return bool(self.fabric.is_global_zero)

    def _train_step(self, batch: Batch) -> dict[str, Tensor]:
        with self.fabric.autocast():
            return self.stage.train_step(self.state, batch, self.config)

    def _explain(self, batch: Batch, before: dict[str, Any], what: str) -> InputError:
        """What was not finite, as one sentence; `before` is the random state that the step began with."""

        def repeat_step() -> dict[str, Tensor]:
            set_random_state(before)
            return self._train_step(batch)

        why = "; ".join(part for part in (what, explain(self.state, repeat_step)) if part)
        why = why or "the loss of another process is not finite"
        return InputError(f"{why} at step {self.state.step + 1}; lower the learning rate, then give the command again")

    def _validate(self, *, mark: bool) -> None:
        assert self.stage.validate is not None
        assert self._log is not None
        step, name = self.state.step, self.stage.criterion
        with fixed_randomness(self.options.seed), self.fabric.autocast():
            numbers = self.stage.validate(self.state, self.config, self.options.data)
        self._log.validation(step, numbers)
        try:
            if mark and mark_best(self.options.out, step, name, numbers[name]):
                self._save_weights(self.options.out / "best.safetensors")
        except (OSError, PortrayalError) as error:
            warn(f"the best checkpoint is not noted, training goes on: {error}")

    def _save_weights(self, path: Path) -> None:
        self.stage.save_weights(path, self.state, self.config, about_run(self.config, self.state.step))

    def _resume(self) -> dict[str, Any] | None:
        """Load the newest checkpoint, else `options.init`; the random state to go on from, if there is one."""
        checkpoint = load_newest(self.options.out, self.fabric.device)
        if checkpoint is None:
            if self.options.init is not None:
                load_initial(self.stage, self.options.init, self.state, self.config)
            if self._count > 1:
                for tensor in (*self.state.networks.state_dict().values(), *self.state.averaged.state_dict().values()):
                    dist.broadcast(tensor, 0)
            return None
        try:
            self.state.load_state_dict(checkpoint)
        except (RuntimeError, KeyError, ValueError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise InputError(
                f"{self.options.out}: its checkpoint is of another stage or version ({reason}); use another --out"
            ) from error
        self._skipped = checkpoint.get("skipped", 0)
        random = checkpoint.get("random", [])
        return random[self.fabric.global_rank] if len(random) == self._count else None

    def _open_loader(self) -> Loader:
        config, options = self.config, self.options
        dataset = self.stage.dataset(options.data, config, options.seed, config.steps * config.batch)
        if isinstance(dataset, KeepsFrames):
            dataset.cache_in(options.cache or options.out / "frames")
        return open_loader(
            dataset,
            self.stage.collate,
            Share(config.batch, self.fabric.global_rank, self._count, options.accumulate),
            step=self.state.step,
            steps=config.steps,
            workers=options.workers,
            device=self.fabric.device,
        )

    def _gather(self, value: Any) -> list[Any]:
        """The values of all processes."""
        if self._count == 1:
            return [value]
        gathered: list[Any] = [None] * self._count
        dist.all_gather_object(gathered, value)
        return gathered


def _seed(seed: int, rank: int, step: int) -> int:
    """A seed of its own for each process and each step that a run goes on from without random states."""
    return int(np.random.SeedSequence([seed, rank, step]).generate_state(1, np.uint64)[0] >> 1)
