"""The training loop. It knows stages and steps, and no system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portrayal.train.batches import Share
from portrayal.train.launch import launch
from portrayal.train.memory import keep_freed_memory
from portrayal.train.options import RunOptions
from portrayal.train.process import Process
from portrayal.train.run_folder import open_run
from portrayal.train.stage import Batch, Stage
from portrayal.train.state import TrainState

__all__ = ["Batch", "RunOptions", "Stage", "TrainState", "train"]


def train(stage: Stage, config: Any, options: RunOptions, *, name: str = "") -> Path:
    """Train `stage` until `config.steps`, going on where an earlier run in `options.out` stopped.

    Args:
        config: frozen dataclass with `batch`, `steps` and `ema` beside what the stage reads.
        name: of system and stage; a run folder belongs to one.

    Returns:
        The weights file.

    Raises:
        InputError: the run folder holds another run, the data cannot be used, or a number is not finite.
    """
    Share(config.batch, processes=options.devices * options.num_nodes, parts=options.accumulate)
    open_run(options, config, name)
    keep_freed_memory()
    with Process(stage, config, options, launch(options)) as process:
        state = process.state
        while state.step < config.steps:
            process.set_learning_rates()
            batch = process.learn()
            state.average(config.ema)
            state.step += 1
            process.profiler.step()
            last = state.step == config.steps
            if state.step % options.log_every_steps == 0 or last:
                process.write_metrics()
            if state.step % options.preview_every_steps == 0:
                process.write_preview(batch)
            if state.step % options.save_every_steps == 0 or last:
                process.save()
            process.show_progress()
        return process.write_weights()
