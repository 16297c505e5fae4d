"""Speed of export3d in use, part by part, and pictures of what it makes.

    python benchmarks/export3d.py
    python benchmarks/export3d.py --data DIR --images docs/images
    python benchmarks/export3d.py --preset paper

Times are per frame, the best of `repeats` runs. `paper` has random weights, which cost the same.
"""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import torch
import tyro
from portraits import Options, Row, best, built_in, print_times, write_pictures
from rich.console import Console
from torch.nn import functional as F

from portrayal.evaluate.entrants import Entrant
from portrayal.media.image import UInt8, to_uint8
from portrayal.media.sheet import labelled_grid
from portrayal.motion.edit import apply_edit
from portrayal.systems import load
from portrayal.systems.export3d import animate
from portrayal.systems.export3d.animate import Export3dDriving
from portrayal.systems.export3d.config import Config
from portrayal.systems.export3d.model import Export3d
from portrayal.types import Edit, FaceClip, FaceParams, Portrait

AMOUNTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
YAWS = (-30, -20, -10, 0, 10, 20, 30)
CELL = 192
HEAD = 0.05
"""Opacity from which a pixel counts as the head's."""


@torch.no_grad()
def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    console = Console()
    system, loaded = load("export3d", weights=options.weights)
    model = loaded if options.preset == "compact" else animate.build(Config.paper()).eval()
    assert isinstance(model, Export3d)
    portrait = built_in(options.size)
    if options.data is not None:
        more = {"export3d_basis": along_the_basis(model, portrait), "export3d_views": around(model, portrait)}
        write_pictures(console, options, Entrant("export3d", system, model), more)
    print_times(console, options, model.config.image_size, parts(model, portrait, options.repeats))
    if options.preset == "compact":
        console.print(f"background over a turn by 30 degrees: {background_change(model, portrait):.2f} of 255 a frame")


def background_change(model: Export3d, portrait: Portrait) -> float:
    """Mean absolute change between neighbouring frames of a turning head, of pixels that no frame has the head on."""
    source = animate.encode_source(model, portrait)
    turn = motion(model, portrait, [Edit(yaw=float(np.deg2rad(yaw))) for yaw in np.linspace(-15, 15, 31)])
    frames = torch.cat(list(animate.render(model, source, turn)))
    opacity = torch.cat([view.opacity for view in animate.views(model, source, turn)]).amax(0)
    free = F.interpolate(opacity[None, None], size=frames.shape[-2:], mode="bilinear")[0, 0] < HEAD
    return float(255 * frames.diff(dim=0).abs().mean((0, 1))[free].mean())


def parts(model: Export3d, portrait: Portrait, repeats: int) -> list[Row]:
    rows: list[Row] = [("encode the source", 1, best(lambda: animate.encode_source(model, portrait), repeats))]
    source = animate.encode_source(model, portrait)
    moving = motion(model, portrait, [Edit(mouth_open=0.1, yaw=0.02)])
    codes, camera = animate.codes_of(model, moving), moving.params.camera
    with torch.autocast("cpu", torch.bfloat16):
        planes = animate.planes_of(model, source, codes)
        rendered = model.renderer.look(planes, camera)
        flow = model.renderer.flow_of(source.view, animate.look_of(model, moving))
        rows += [
            ("planes", 1, best(lambda: animate.planes_of(model, source, codes), repeats)),
            ("volume rendering", 1, best(lambda: model.renderer.look(planes, camera), repeats)),
            (
                "background, super-resolution",
                1,
                best(
                    lambda: model.renderer.finish(
                        rendered, camera, source.view, background=source.background, flow=flow
                    ),
                    repeats,
                ),
            ),
        ]
    for name, edits in {
        "render, expression and camera move": [Edit(mouth_open=0.1 * i, yaw=0.02 * i) for i in range(8)],
        "render, the camera alone moves": [Edit(yaw=0.02 * i) for i in range(8)],
    }.items():
        moving = motion(model, portrait, edits)
        rows.append((name, 8, best(lambda: list(animate.render(model, source, moving)), repeats)))  # noqa: B023
    return rows


def motion(model: Export3d, portrait: Portrait, edits: list[Edit]) -> Export3dDriving:
    params = FaceParams.cat([apply_edit(portrait.params, edit) for edit in edits])
    times = tuple(Fraction(i, 25) for i in range(len(edits)))
    return animate.encode_driving(model, FaceClip(torch.empty(len(edits), 3, 0, 0), params, times))


def along_the_basis(model: Export3d, portrait: Portrait) -> UInt8:
    """A row for each vector of the basis (Fig. 8)."""
    source = animate.encode_source(model, portrait)
    rows = []
    for name in animate.direction_names(model):
        driving = animate.move_along(model, source, name, torch.tensor(AMOUNTS))
        rows.append(small(torch.cat(list(animate.render(model, source, driving)))))
    halves = [rows[i] + rows[i + len(rows) // 2] for i in range(len(rows) // 2)]
    sheet = labelled_grid([f"{amount:+.1f}" for amount in AMOUNTS] * 2, halves)
    return np.asarray(cv2.resize(sheet, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


def around(model: Export3d, portrait: Portrait) -> UInt8:
    """The portrait from several sides, and its depth (near is bright)."""
    source = animate.encode_source(model, portrait)
    driving = motion(model, portrait, [Edit(yaw=float(np.deg2rad(yaw))) for yaw in YAWS])
    frames = torch.cat(list(animate.render(model, source, driving)))
    views = list(animate.views(model, source, driving))
    depth, opacity = (torch.cat([getattr(view, name) for view in views]) for name in ("depth", "opacity"))
    near = depth[opacity > 0.5].quantile(0.02)
    shade = ((near + 0.5 - depth) / 0.5).clamp(0, 1) * opacity
    return labelled_grid([f"{yaw:+d}" for yaw in YAWS], [small(frames), small(shade[:, None].expand(-1, 3, -1, -1))])


def small(pictures: torch.Tensor) -> list[UInt8]:
    """(n, 3, h, w) to cells of a sheet."""
    return [
        np.asarray(cv2.resize(picture, (CELL, CELL), interpolation=cv2.INTER_AREA), np.uint8)
        for picture in to_uint8(pictures)
    ]


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
