"""Speed of a training stage, and what the whole training would cost on 1, 4 and 32 such devices.

    python benchmarks/training_throughput.py face tracker --data DIR --preset compact
    python benchmarks/training_throughput.py mmfa main --data DIR --preset paper --steps 20 --config.batch 8

Runs some steps of the stage in a temporary folder, drops the first ones (caches, the loader's start) and prints samples
per second, the share of the time spent waiting for the loader, and the projection: steps x batch of the preset, at this
speed, on N devices that together reach `--efficiency` of N times the speed. It also counts the operations of a step
(matrix products and convolutions, both passes), and from these what the training takes on a GPU of `--peak-tflops`, of
which `--utilisation` is reached: an assumption, where no GPU is at hand.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tyro.conf import Positional, Suppress, arg

from portrayal.cli import split_overrides
from portrayal.train.loop import Batch, RunOptions, TrainState, train
from portrayal.train.run import override, stage_and_preset

DEVICES = (1, 4, 32)


@dataclass
class Throughput:
    """Measure a stage's speed and project its cost."""

    system: Positional[str]
    stage: Positional[str]
    data: Path
    preset: Literal["tiny", "compact", "paper", "refine"] = "compact"
    steps: int = 20
    """Steps to measure."""
    warmup_steps: int = 5
    """Steps before them."""
    efficiency: Annotated[float, arg(help="Speed of N devices / N times the speed of one.")] = 0.9
    peak_tflops: float = 312.0
    """Of the GPU that is projected; an A100's in bfloat16."""
    utilisation: float = 0.3
    """Share of it that a training reaches."""
    device: str = "auto"
    precision: str = "bf16-mixed"
    accumulate: int = 1
    compile: bool = False
    workers: int = 1
    overrides: Suppress[tuple[str, ...]] = ()


class Counting:
    """A train step that counts the operations of its last call."""

    def __init__(self, step: Callable[..., dict[str, Tensor]], last: int) -> None:
        self.step, self.last, self.operations = step, last, 0

    def __call__(self, state: TrainState, batch: Batch, config: Any) -> dict[str, Tensor]:
        if state.step + 1 < self.last:
            return self.step(state, batch, config)
        with FlopCounterMode(display=False) as counter:
            terms = self.step(state, batch, config)
        self.operations = counter.get_total_flops()
        return terms


def main(asked: Throughput) -> None:
    stage, preset = stage_and_preset(asked.system, asked.stage, asked.preset)
    preset = override(preset, asked.overrides)
    steps = asked.warmup_steps + asked.steps + 1  # the last one is counted, not timed
    counting = Counting(stage.train_step, steps)
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(
            data=asked.data,
            out=Path(folder) / "run",
            device=asked.device,
            precision=asked.precision,
            accumulate=asked.accumulate,
            compile=asked.compile,
            workers=asked.workers,
            log_every_steps=1,
            save_every_steps=steps,
            preview_every_steps=steps + 1,
        )
        # Validation belongs to saving, not to a step.
        measured_stage = dataclasses.replace(stage, validate=None, train_step=counting)
        train(measured_stage, dataclasses.replace(preset, steps=steps), options)
        lines = [json.loads(line) for line in (options.out / "metrics.jsonl").read_text().splitlines()]
    measured = lines[asked.warmup_steps : steps - 1]
    seconds = [preset.batch / line["samples_per_second"] for line in measured]
    waiting = sum(line["loader_wait"] * s for line, s in zip(measured, seconds, strict=True)) / sum(seconds)
    speed = preset.batch * len(measured) / sum(seconds)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"{asked.system} {asked.stage}, preset {asked.preset}, {where}, {asked.precision}")
    print(f"{speed:.2f} samples/s, {sum(seconds) / len(seconds):.3f} s a step of {preset.batch}")
    print(f"{waiting:.1%} of the time waiting for the loader ({asked.workers} workers)")
    total = preset.steps * preset.batch
    print(f"whole training: {preset.steps:,} steps x {preset.batch} = {total:,} samples")
    for count in DEVICES:
        days = total / (speed * count * (asked.efficiency if count > 1 else 1.0)) / 86400
        print(f"  {count:2d} such devices: {days:8.2f} days, {days * count:8.2f} device-days")
    sample = counting.operations / preset.batch
    hours = total * sample / (asked.peak_tflops * 1e12 * asked.utilisation) / 3600
    print(f"{sample / 1e12:.2f} TFLOP a sample, {total * sample:.2g} FLOP in all")
    print(f"  a GPU of {asked.peak_tflops:g} TFLOP/s at {asked.utilisation:.0%}: {hours:,.1f} hours")


if __name__ == "__main__":
    plain, overrides = split_overrides(sys.argv[1:])
    main(dataclasses.replace(tyro.cli(Throughput, args=plain), overrides=tuple(overrides)))
