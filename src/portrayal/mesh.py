"""`portrayal mesh`: the head of a photo as a 3D model, for systems whose heads are densities in space.

from portrayal.mesh import make_mesh
make_mesh("me.jpg", "head.glb", MeshOptions(system="export3d"))
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from portrayal.avatars import open_sitter
from portrayal.capabilities import Sculptor
from portrayal.encoding import model_device
from portrayal.errors import InputError
from portrayal.face.camera import METRES_PER_WORLD_UNIT
from portrayal.face.tracker import load_tracker, pick_device
from portrayal.media.mesh_file import check_mesh_name, write_mesh
from portrayal.nn.rendering.surface import LEVEL, extract_surface
from portrayal.options import MeshOptions
from portrayal.rendering import Renderer
from portrayal.systems import able, load, name_of
from portrayal.tracking import Progress, silent
from portrayal.types import System


@dataclass(frozen=True)
class MadeMesh:
    """What came out of `make_mesh`."""

    output: Path
    points: int
    triangles: int
    seconds: float
    """For everything, reading to written file."""
    notes: tuple[str, ...]

    def summary(self) -> str:
        """What the command line prints."""
        made = f"{self.points} points, {self.triangles} triangles in {self.seconds:.1f} s: {self.output}"
        return "\n".join([*self.notes, made])


def make_mesh(
    source: Path | str | None = None,
    output: Path | str | None = None,
    options: MeshOptions | None = None,
    *,
    progress: Progress = silent,
) -> MadeMesh:
    """Write the head of a photo, with the expression it has there.

    Args:
        source: picture or avatar file; None is a built-in portrait.
        output: .glb or .ply; None is meshes/<source>.glb.
        options: None takes the defaults.
        progress: called with (stage, done, total).

    Raises:
        InputError: where something given cannot be used, or the system has no shape of heads. PortrayalError: where
            writing fails.
    """
    started = time.monotonic()
    options = options or MeshOptions()
    if output is not None:
        check_mesh_name(Path(output))
    device = str(pick_device(options.device))
    system, model = load(options.system, device=device, weights=options.weights)
    sculptor = _sculptor(system)
    with torch.no_grad():
        tracker = load_tracker(options.device, options.tracker)
        sitter = open_sitter(source, system, model, tracker=tracker, face=options.face, size=None, crop=False)
        if sitter.picture is None:
            raise InputError(f"{sitter.path} is a video; mesh takes a picture, give one with -s.")
        encoded = Renderer(system, model, sitter, None, progress).source_of(0)
        field = sculptor.head_field(model, encoded)
        surface = extract_surface(
            field, box_size=field.box_size, device=model_device(model), resolution=options.resolution
        )
    if surface is None:
        raise InputError(
            f"{sitter.name}: the head that {name_of(system)} makes of it is nowhere as dense as a surface "
            f"({LEVEL:g} per world unit); its weights have not learned a shape, take others with --weights."
        )
    target = Path(output) if output is not None else Path("meshes") / f"{sitter.name}.glb"
    write_mesh(target, surface.points * METRES_PER_WORLD_UNIT, surface.triangles, surface.colours)
    count, notes = (len(surface.points), len(surface.triangles)), (*sitter.notes, *encoded.notes())
    return MadeMesh(target, *count, time.monotonic() - started, notes)


def _sculptor(system: System) -> Sculptor:
    if "mesh" not in system.CAPABILITIES:
        raise InputError(f"{name_of(system)} draws pictures and has no shape of a head; {able('mesh')}.")
    return cast(Sculptor, system)
