"""Speed of MMFA in use, part by part, and contact sheets of what it makes.

    python benchmarks/mmfa.py
    python benchmarks/mmfa.py --data DIR --images docs/images

Times are per frame, the source encoded once as in use: dense motion, generator, and the whole of `render` with the
portrait's own resolution; the best of `repeats` runs. The sheet shows ten validation clips as source, driving, result.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch
import tyro
from portraits import best, built_in, sheet
from rich.console import Console
from rich.table import Table

from portrayal.evaluate.entrants import Entrant
from portrayal.media.image import write_image
from portrayal.systems import load
from portrayal.systems.mmfa import light_animate
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.guided import GuidedMmfa
from portrayal.systems.mmfa.keypoints import tracked_pose
from portrayal.systems.mmfa.light import Appearance
from portrayal.systems.mmfa.model import Mmfa
from portrayal.types import FaceClip, FaceParams, Portrait


@dataclass
class Options:
    """What is measured."""

    weights: Path | None = None
    """Of the light renderer (None: the package's)."""
    data: Path | None = None
    """Clip folder; with it the contact sheets are made."""
    images: Path = Path("docs/images")
    threads: int = 2
    repeats: int = 10
    paper: bool = False
    """Also one frame of the paper preset, with random weights."""


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    console, table = Console(), Table("part", "batch", "ms per frame", "frames/s")
    system, model = load("mmfa", weights=options.weights)
    assert isinstance(model, GuidedMmfa)
    if options.data is not None:
        for protocol in ("same", "cross"):
            path = options.images / f"mmfa_{protocol}.jpg"
            write_image(path, sheet(options.data, Entrant("mmfa", system, model), protocol))
            console.print(f"{path}: {path.stat().st_size // 1000} kB")
    size = model.config.image_size
    portrait = built_in(size)
    with torch.no_grad():
        rows = parts(model, portrait, options.repeats)
    for name, batch, seconds in rows:
        table.add_row(name, str(batch), f"{seconds / batch * 1e3:.1f}", f"{batch / seconds:.1f}")
    if options.paper:
        seconds = paper_frame(options.repeats)
        table.add_row("paper preset, one frame, bfloat16", "1", f"{seconds * 1e3:.0f}", f"{1 / seconds:.2f}")
    console.print(f"{size} x {size}, {options.threads} threads, torch {torch.__version__}")
    console.print(table)


def parts(model: GuidedMmfa, portrait: Portrait, repeats: int) -> list[tuple[str, int, float]]:
    """(part, batch, seconds)."""
    side = portrait.image.shape[-1]
    rows = [("encode the source", 1, best(lambda: light_animate.encode_source(model, portrait), repeats))]
    source = light_animate.encode_source(model, portrait)
    for batch in (1, 4):
        params = FaceParams.cat([portrait.params] * batch)
        times = tuple(Fraction(i, 25) for i in range(batch))
        driving = light_animate.encode_driving(model, FaceClip(torch.empty(batch, 3, 0, 0), params, times))
        appearance = Appearance(*(x.expand(batch, *x.shape[1:]) for x in vars(source.appearance).values()))
        points, pose = source.keypoints.expand(batch, -1, -1), tracked_pose(params, side)
        with torch.autocast("cpu", torch.bfloat16):
            motion = model.renderer.motion(appearance, points, points, pose, pose)

            def move() -> object:
                return model.renderer.motion(appearance, points, points, pose, pose)  # noqa: B023

            def paint() -> object:
                return model.renderer.generator(appearance, motion)  # noqa: B023

            rows += [("dense motion", batch, best(move, repeats)), ("generator", batch, best(paint, repeats))]
        rows.append(("render, whole", batch, best(lambda: light_animate.frames(model, source, driving), repeats)))  # noqa: B023
    return rows


def paper_frame(repeats: int) -> float:
    """Seconds of one frame of the paper's networks, the source encoded."""
    config = Config.paper()
    model = Mmfa(config).eval()
    image = torch.rand(1, 3, config.image_size, config.image_size)
    pose = tracked_pose(built_in(config.image_size).params, config.image_size)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        canonical, volume, still = model.canonical(image), model.appearance(image), model.motion(image, pose)

        def frame() -> object:
            moved = model.motion(image, pose)
            ends = model.keypoints(canonical, still), model.keypoints(canonical, moved)
            return model.generate(volume, *ends, still.pose, moved.pose)

        return best(frame, max(1, repeats // 5))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
