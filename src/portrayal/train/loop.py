"""The training loop. It knows stages and steps, and no system."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from portrayal.errors import InputError, MissingFileError
from portrayal.media.image import write_image
from portrayal.train.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from portrayal.train.options import RunOptions
from portrayal.weights.registry import git_commit

Batch = dict[str, Tensor]


@dataclass
class TrainState:
    """Everything a resume needs."""

    networks: nn.ModuleDict
    averaged: nn.ModuleDict
    """The networks' weights averaged over the steps (EMA); these ship."""
    optimizers: dict[str, torch.optim.Optimizer]
    backward: Callable[[Tensor], None]
    step: int = 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "networks": self.networks.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.networks.load_state_dict(state["networks"])
        self.averaged.load_state_dict(state["averaged"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.step = state["step"]


@dataclass(frozen=True)
class Stage:
    """One stage of a system's training; the loop does everything else."""

    networks: Callable[[Any], dict[str, nn.Module]]
    """config -> the networks by name."""
    optimizers: Callable[[nn.ModuleDict, Any], dict[str, torch.optim.Optimizer]]
    dataset: Callable[[Path, Any, int, int], Dataset[Batch]]
    """(data folder, config, seed, samples) -> map-style dataset; a sample depends on (seed, index) alone."""
    collate: Callable[[list[Batch]], Batch]
    train_step: Callable[[TrainState, Batch, Any], dict[str, Tensor]]
    """One step of every optimizer; returns the named loss terms."""
    preview: Callable[[TrainState, Batch, Any], NDArray[np.uint8]]
    """A picture (h, w, 3) uint8 RGB that shows how it goes."""
    save_weights: Callable[[Path, TrainState, Any, dict[str, str]], None]
    """Write the weights file with the metadata given."""
    load_weights: Callable[[Path, TrainState], None]
    """Start from a weights file."""


@dataclass
class _Meter:
    """Mean of the loss terms since the last line of the log."""

    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        self.count += 1
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())

    def pop(self) -> dict[str, float]:
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


def train(stage: Stage, config: Any, options: RunOptions) -> Path:
    """Train `stage` until `config.steps`, going on where an earlier run in `options.out` stopped.

    Args:
        config: frozen dataclass with `batch`, `steps`, `learning_rate` and `ema` beside what the stage reads.

    Returns:
        The weights file.

    Raises:
        InputError: the run folder holds another configuration, or a loss is not finite.
    """
    if not options.data.is_dir():
        raise MissingFileError(f"{options.data} does not exist; give the folder of labelled faces with --data")
    options.out.mkdir(parents=True, exist_ok=True)
    _check_config(options.out / "config.json", config)
    torch.manual_seed(options.seed)
    fabric = Fabric(accelerator=options.device, devices=1, precision=options.precision)  # type: ignore[arg-type]
    state = _start(stage, config, fabric)
    if options.init is not None:
        stage.load_weights(options.init, state)
    checkpoint = latest_checkpoint(options.out)
    if checkpoint is not None:
        state.load_state_dict(load_checkpoint(checkpoint, fabric.device))
    batches = _batches(stage, config, options, state.step, fabric.device)
    meter, batch = _Meter(), {}
    with (options.out / "metrics.jsonl").open("a") as log, _progress() as progress:
        task = progress.add_task("train", total=config.steps, completed=state.step, loss="")
        while state.step < config.steps:
            batch = next(batches)
            _set_learning_rate(state, config)
            with fabric.autocast():
                terms = stage.train_step(state, batch, config)
            _average(state, config.ema)
            state.step += 1
            meter.add(terms)
            if state.step % options.log_every_steps == 0:
                means = meter.pop()
                if not all(math.isfinite(v) for v in means.values()):
                    bad = ", ".join(name for name, v in means.items() if not math.isfinite(v))
                    raise InputError(f"loss {bad} is not finite at step {state.step}; lower learning_rate and resume")
                log.write(json.dumps({"step": state.step} | means) + "\n")
                log.flush()
                progress.update(task, loss=" ".join(f"{k} {v:.4f}" for k, v in means.items()))
            if state.step % options.preview_every_steps == 0:
                with fabric.autocast():
                    write_image(options.out / f"preview-{state.step:06d}.png", stage.preview(state, batch, config))
            if state.step % options.save_every_steps == 0 or state.step == config.steps:
                save_checkpoint(options.out, state.step, state.state_dict())
            progress.update(task, completed=state.step)
    weights = options.weights or options.out / "weights.safetensors"
    about = {"config": config_json(config), "step": str(state.step), "git_commit": git_commit()}
    stage.save_weights(weights, state, config, about)
    return weights


def config_json(config: Any) -> str:
    """The resolved configuration as JSON."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def _start(stage: Stage, config: Any, fabric: Fabric) -> TrainState:
    """Fresh networks, their averages and optimizers on the device."""
    networks = _to(nn.ModuleDict(stage.networks(config)), fabric.device)
    averaged = _to(nn.ModuleDict(stage.networks(config)), fabric.device)
    averaged.load_state_dict(networks.state_dict())
    averaged.eval().requires_grad_(False)
    networks.train()
    return TrainState(networks, averaged, stage.optimizers(networks, config), fabric.backward)


def _to(modules: nn.ModuleDict, device: torch.device) -> nn.ModuleDict:
    modules.to(device)
    modules.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return modules


def _batches(
    stage: Stage, config: Any, options: RunOptions, step: int, device: torch.device
) -> Iterator[dict[str, Tensor]]:
    """Batches from step `step` on."""
    dataset = stage.dataset(options.data, config, options.seed, config.steps * config.batch)
    cv2.setNumThreads(1)  # threads of OpenCV that the data used would hang in the forked workers
    loader: DataLoader[Batch] = DataLoader(
        dataset,
        batch_size=config.batch,
        sampler=range(step * config.batch, config.steps * config.batch),
        num_workers=options.workers,
        collate_fn=stage.collate,
        prefetch_factor=4 if options.workers else None,
        worker_init_fn=_single_thread,
    )
    for batch in loader:
        yield {name: value.to(device, non_blocking=True) for name, value in batch.items()}


def _single_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _set_learning_rate(state: TrainState, config: Any, warmup_steps: int = 100) -> None:
    """Linear warm-up, then a cosine to zero."""
    rise = min(1.0, (state.step + 1) / warmup_steps)
    fall = 0.5 * (1 + math.cos(math.pi * state.step / config.steps))
    for optimizer in state.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rise * fall


@torch.no_grad()
def _average(state: TrainState, decay: float) -> None:
    """EMA of the weights, faster in the beginning; buffers are copied."""
    decay = min(decay, (1 + state.step) / (10 + state.step))
    for average, value in zip(state.averaged.parameters(), state.networks.parameters(), strict=True):
        average.lerp_(value, 1 - decay)
    for kept, buffer in zip(state.averaged.buffers(), state.networks.buffers(), strict=True):
        kept.copy_(buffer)


def _check_config(path: Path, config: Any) -> None:
    """Save the configuration, or make sure that the folder's is the same."""
    mine = json.loads(config_json(config))
    if path.is_file():
        theirs = json.loads(path.read_text())
        changed = sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
        if changed:
            raise InputError(f"{path} has another {', '.join(changed)}; resume unchanged or use another --out")
    path.write_text(json.dumps(mine, indent=1))


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )
