"""Speed of directions in use, part by part, and contact sheets of what it makes.

    python benchmarks/directions.py
    python benchmarks/directions.py --data DIR --images docs/images
    python benchmarks/directions.py --preset paper

Times are per frame, the best of `repeats` runs. `paper` has random weights, which cost the same, and is tuned with the
embedded tracker's features where LPIPS is not installed.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import portraits
import torch
import tyro
from portraits import Row, best, built_in, print_times, write_pictures
from rich.console import Console

from portrayal.evaluate.entrants import Entrant
from portrayal.nn.precision import quick_precision
from portrayal.nn.stylegan2_inference import FoldedSynthesis
from portrayal.systems import load
from portrayal.systems.directions import animate, tuning
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.features import load_perceptual
from portrayal.systems.directions.model import Directions
from portrayal.types import FaceClip, FaceParams, Portrait


@dataclass
class Options(portraits.Options):
    """What is measured."""

    tuning_steps: int = 20
    """Steps of tuning that are timed; the time of all is reckoned from them."""


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    console = Console()
    if options.preset == "paper":
        model = animate.build(Config.paper()).eval()
        model.config = replace(model.config, tuning=replace(model.config.tuning, perceptual_network="tracker"))
    else:
        system, loaded = load("directions", weights=options.weights)
        assert isinstance(loaded, Directions)
        model = loaded
        if options.data is not None:
            write_pictures(console, options, Entrant("directions", system, model))
    portrait = built_in(options.size)
    with torch.no_grad():
        rows = parts(model, portrait, options.repeats)
    rows.append(tuned(model, portrait, options.tuning_steps))
    print_times(console, options, model.config.image_size, rows)


def parts(model: Directions, portrait: Portrait, repeats: int) -> list[Row]:
    rows: list[Row] = [("invert (encoder)", 1, best(lambda: animate.encode_source(model, portrait), repeats))]
    source = animate.encode_source(model, portrait)
    for batch in (1, animate.FRAMES_AT_ONCE):
        params = FaceParams.cat([portrait.params] * batch)
        times = tuple(Fraction(i, 25) for i in range(batch))
        driving = animate.encode_driving(model, FaceClip(torch.empty(batch, 3, 0, 0), params, times))
        w_plus = model.reenacted(source.w_plus.expand(batch, -1, -1), driving.change)
        for dtype in (torch.float32, torch.bfloat16):
            draw = FoldedSynthesis(model.generator.synthesis, dtype=dtype)
            name = f"generator, {str(dtype).removeprefix('torch.')}"
            rows.append((name, batch, best(lambda: draw(w_plus), repeats)))  # noqa: B023
        seconds = best(lambda: list(animate.render(model, source, driving)), repeats)  # noqa: B023
        rows.append(("render, whole", batch, seconds))
    return rows


def tuned(model: Directions, portrait: Portrait, steps: int) -> Row:
    """Seconds of all steps of the tuning of one picture, from those of some."""
    config = model.config
    perceptual = load_perceptual(config.tuning.perceptual_network)
    source = animate.encode_source(model, portrait)
    picture = animate.framed(model, portrait).as_input()
    asked = replace(config.tuning, steps=steps, enough=0.0)
    with tempfile.TemporaryDirectory() as folder, quick_precision(picture):
        start = time.perf_counter()
        tuning.tune(model.generator, picture, source.w_plus.detach(), asked, perceptual, cache=Path(folder))
        seconds = time.perf_counter() - start
    return f"tune the generator, {config.tuning.steps} steps", 1, seconds / steps * config.tuning.steps


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
