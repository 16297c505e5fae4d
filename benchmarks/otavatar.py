"""otavatar in use: speed part by part, inversion, memory, how one head's views agree, its depth against the truth.

    python benchmarks/otavatar.py
    python benchmarks/otavatar.py --data DIR --images docs/images
    python benchmarks/otavatar.py --preset paper

Times of parts are per frame, the best of `repeats` runs. `paper` has random weights, which cost the same; nothing is
inverted or judged with them. Memory is the largest the process has taken so far, libraries and tracker included.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

import numpy as np
import portraits
import torch
import tyro
from portraits import Row, best, built_in, print_times, validation_people, write_pictures
from rich.console import Console
from rich.table import Table

from portrayal.data.synthetic import LabelledPicture, synthetic_pictures
from portrayal.evaluate.entrants import Entrant
from portrayal.evaluate.measure import Instruments
from portrayal.evaluate.metrics_cost import peak_megabytes
from portrayal.face.camera import METRES_PER_WORLD_UNIT, WORLD_UNITS_PER_HEAD_UNIT
from portrayal.face.tracker import load_tracker
from portrayal.media.image import UInt8, to_tensor, to_uint8
from portrayal.media.overlay import Overlay
from portrayal.media.sheet import labelled_grid
from portrayal.motion.edit import apply_edit
from portrayal.nn.stylegan2_inference import FoldedSynthesis
from portrayal.options import AVATAR_SUFFIX
from portrayal.source import portrait_of
from portrayal.systems import load
from portrayal.systems.drawn_shape import bend
from portrayal.systems.otavatar import animate
from portrayal.systems.otavatar.animate import OtavatarDriving
from portrayal.systems.otavatar.avatar import OtavatarSource
from portrayal.systems.otavatar.camera import bias_intrinsics
from portrayal.systems.otavatar.coefficients import square_camera
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.model import Otavatar
from portrayal.systems.portrait_detail import draw_over
from portrayal.types import Edit, FaceClip, FaceParams, Portrait
from portrayal.weights.registry import weights_folder

FRAMES = 16
"""Of the whole that is timed."""
YAWS, PITCHES = (-20, 0, 20), (-12, 0, 12)
"""Degrees; each with each are the nine views."""
HEAD_SIDE = 256
"""Pixels of a synthetic head's picture."""


@dataclass
class Options(portraits.Options):
    """What is measured."""

    people: int = 10
    """Validation people of `data` who are inverted and seen from nine sides, beside the built-in portrait."""
    heads: int = 8
    """Synthetic heads whose depth is compared with the truth."""
    seed: int = 0
    """Of the synthetic heads."""


@torch.no_grad()
def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    console, portrait = Console(), built_in(options.size)
    if options.preset == "paper":
        drawn = animate.build(Config.paper()).eval()
        report_times(console, options, drawn, animate.encode_source(drawn, portrait))
        return
    system, model = load("otavatar", weights=options.weights)
    assert isinstance(model, Otavatar)
    print_memory(console, "loaded")
    faces = {"built-in": portrait}
    if options.data is not None:
        chosen = islice(validation_people(options.data, "same"), options.people)
        faces |= {one.case.source.name: portrait_of(one.sitter) for one in chosen}
    sources = {name: invert(model, face) for name, face in faces.items()}
    report_inversion(console, [seconds for _, seconds in sources.values()])
    print_memory(console, "inverted")
    source = sources["built-in"][0]
    report_times(console, options, model, source)
    print_memory(console, "animated")
    report_views(console, model, {name: found for name, (found, _) in sources.items()})
    report_depth(console, options, model)
    if options.data is not None:
        write_pictures(console, options, Entrant("otavatar", system, model), {"otavatar_views": around(model, source)})


def print_memory(console: Console, when: str) -> None:
    console.print(f"peak memory, {when}: {peak_megabytes(torch.device('cpu')):.0f} MB")


def invert(model: Otavatar, portrait: Portrait) -> tuple[OtavatarSource, dict[str, float]]:
    """The avatar of a portrait, found anew, and the seconds of each phase."""
    key = animate.avatar_key(model, animate.framed(model, portrait))
    (weights_folder() / "avatars" / f"{key}{AVATAR_SUFFIX}").unlink(missing_ok=True)
    seconds: dict[str, float] = {}
    last = time.perf_counter()

    def watch(stage: str, done: int, total: int | None) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[stage], last = seconds.get(stage, 0.0) + now - last, now

    return animate.tune_source(model, animate.encode_source(model, portrait), progress=watch), seconds


def report_inversion(console: Console, runs: Sequence[dict[str, float]]) -> None:
    for stage in runs[0]:
        times = [run.get(stage, 0.0) for run in runs]
        console.print(f"{stage}: {np.mean(times):.1f} s a photo, at most {max(times):.1f}, of {len(times)}")


def report_times(console: Console, options: Options, model: Otavatar, source: OtavatarSource) -> None:
    rows = parts(model, source, options.repeats)
    print_times(console, options, model.config.generator.size, rows)


def parts(model: Otavatar, source: OtavatarSource, repeats: int) -> list[Row]:
    """What a frame costs once the portrait is inverted, and the whole, which prepares the generator first."""
    generator, framing = animate.generator_of(model, source), model.config.generator.framing
    synthesis, overlay = FoldedSynthesis(generator.backbone.synthesis), Overlay(source.portrait)
    moving = motion(model, source, [Edit(mouth_open=0.05 * i, yaw=0.02 * i) for i in range(FRAMES)])
    one = moving[:1]
    still = animate.still_latents(model, source)
    params, ws = one.params, animate.latents_of(model, source, one, still)
    seen = square_camera(params.rotation, params.translation, params.scale, framing=framing)
    camera = bias_intrinsics(seen, source.bias)
    planes = generator.as_planes(synthesis(ws))
    rendered = generator.rendered(planes, camera)
    face, squares = generator.finish(rendered, ws) / 2 + 0.5, animate.squares(params, framing)
    detail, placed = animate.detail_of(model, generator, source, overlay), overlay.place(face, squares)
    steps = {
        "controller": lambda: animate.latents_of(model, source, one, still),
        "planes": lambda: generator.as_planes(synthesis(ws)),
        "volume rendering": lambda: generator.rendered(planes, camera),
        "background, super-resolution": lambda: generator.finish(rendered, ws),
        "bending to the motion": lambda: bend(placed, params),
        "laying over the photo with its detail": lambda: draw_over(overlay, detail, face, params, squares),
    }
    rows: list[Row] = [(name, 1, best(step, repeats)) for name, step in steps.items()]
    return [*rows, ("render, whole", FRAMES, best(lambda: list(animate.render(model, source, moving)), repeats))]


def motion(model: Otavatar, source: OtavatarSource, edits: Sequence[Edit]) -> OtavatarDriving:
    params = FaceParams.cat([apply_edit(source.portrait.params, edit) for edit in edits])
    times = tuple(Fraction(i, 25) for i in range(len(edits)))
    return animate.encode_driving(model, FaceClip(torch.empty(len(edits), 3, 0, 0), params, times))


def nine_views(model: Otavatar, source: OtavatarSource) -> list[UInt8]:
    """Row by row, from above to below."""
    edits = [Edit(yaw=float(np.deg2rad(yaw)), pitch=float(np.deg2rad(pitch))) for pitch in PITCHES for yaw in YAWS]
    return [to_uint8(frame)[0] for frame in animate.render(model, source, motion(model, source, edits))]


def around(model: Otavatar, source: OtavatarSource) -> UInt8:
    """The nine views as a sheet."""
    views = nine_views(model, source)
    rows = [views[i : i + len(YAWS)] for i in range(0, len(views), len(YAWS))]
    return labelled_grid([f"{yaw:+d}" for yaw in YAWS], rows)


def report_views(console: Console, model: Otavatar, sources: dict[str, OtavatarSource]) -> None:
    """Cosine of identity embeddings of the nine views with the photo, and with each other."""
    tools = Instruments.load(load_tracker("cpu"), torch.device("cpu"))
    if "csim" not in tools.metrics:
        console.print(tools.notes[0])
        return
    table = Table("head", "to the photo: min", "mean", "max", "pairs of views: min", "mean", "max")
    lists: list[list[np.ndarray]] = [[], []]
    for name, source in sources.items():
        photo = tools.tracked_view(name, list(to_uint8(source.portrait.image)), [0.0], white=False).embedding
        views = nine_views(model, source)
        seen = tools.tracked_view(name, views, [0.0] * len(views), white=False).embedding
        if photo is None or seen is None:
            table.add_row(name, "no face in one of the views")
            continue
        upper = torch.ones(len(seen), len(seen)).triu(1) > 0
        found = [(seen @ photo[0]).numpy(), (seen @ seen.T)[upper].numpy()]
        table.add_row(name, *[cell for values in found for cell in spread(values)])
        for values, all_values in zip(found, lists, strict=True):
            all_values.append(values)
    if len(lists[0]) > 1:
        table.add_row("all", *[cell for values in lists for cell in spread(np.concatenate(values))])
    console.print(f"{tools.notes[0]} yaw {YAWS}, pitch {PITCHES} degrees")
    console.print(table)


def spread(values: np.ndarray) -> list[str]:
    return [f"{value:.3f}" for value in (values.min(), values.mean(), values.max())]


def report_depth(console: Console, options: Options, model: Otavatar) -> None:
    """Inverted synthetic heads; beside them a generator that has learned nothing, which is the ellipsoid it begins as
    where the preset has one."""
    heads = list(synthetic_pictures(options.heads, seed=options.seed, size=HEAD_SIDE))
    fresh = animate.build(model.config).eval()
    found: dict[str, list[tuple[float, float]]] = {"inverted": [], "untrained": []}
    for head in heads:
        portrait = Portrait(to_tensor(head.image), head.params)
        found["inverted"].append(depth_agreement(model, invert(model, portrait)[0], head))
        found["untrained"].append(depth_agreement(fresh, animate.encode_source(fresh, portrait), head))
    table = Table("depth of the face's skin", "correlation with the truth", "least", "median error, mm")
    for name, rows in found.items():
        correlations, errors = np.array(rows).T
        table.add_row(name, f"{correlations.mean():.3f}", f"{correlations.min():.3f}", f"{errors.mean():.1f}")
    console.print(f"{len(heads)} synthetic heads, {HEAD_SIDE} x {HEAD_SIDE}")
    console.print(table)


def depth_agreement(model: Otavatar, source: OtavatarSource, head: LabelledPicture) -> tuple[float, float]:
    """Correlation over pixels, and the median distance in millimetres."""
    seen = next(iter(animate.render_depth(model, source, motion(model, source, [Edit()]))))
    near, opacity = (x[0, 0].numpy() for x in (seen.nearness, seen.opacity))
    truth = head.geometry()
    where = truth.mask("skin") & (opacity > 0.5)
    forward = (float(head.params.translation[0, 2]) - truth.depth[where]) / float(head.params.scale[0])
    wanted = WORLD_UNITS_PER_HEAD_UNIT * forward
    error = float(np.median(np.abs(near[where] - wanted))) * METRES_PER_WORLD_UNIT * 1000
    return float(np.corrcoef(near[where], wanted)[0, 1]), error


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
