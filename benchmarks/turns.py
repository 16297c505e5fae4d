"""How far a head turns that is asked to turn: by where its landmarks are in the picture, and by the tracker's pose.

    python benchmarks/turns.py meshwarp export3d --data DIR

The first frame of each validation clip and each validation photo, turned by numbers, with its expression as it is. In
the result the tracker reads landmarks and pose. Its pose comes from landmarks in 3D, whose depth a network guesses from
the look of the whole head. From their x and y alone the turn is that of the portrait's own shape that fits them best
(weak perspective, least squares over nose, cheeks, brow and temples, which an expression hardly moves).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from math import degrees, radians
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.optimize import least_squares
from tyro.conf import Positional

from portrayal.data.clips import clip_table, photo_table
from portrayal.errors import InputError
from portrayal.evaluate.entrants import Entrant, load_entrants, render_motion
from portrayal.evaluate.metrics_cost import Cost
from portrayal.face.pose import angles_to_rotation, rotation_to_angles
from portrayal.face.tracker import Tracker, load_tracker
from portrayal.media.crop import points_to_picture
from portrayal.media.image import UInt8, read_image
from portrayal.media.video import read_frames
from portrayal.motion.compose import head_shape
from portrayal.motion.edit import apply_edit
from portrayal.source import Sitter, sitter_of
from portrayal.types import Edit, FaceParams

Array = NDArray[np.float64]
Axis = Literal["yaw", "pitch"]

TURNS: tuple[tuple[Axis, int], ...] = (
    *(("yaw", angle) for angle in (-20, -12, 12, 20)),
    *(("pitch", angle) for angle in (-15, -8, 8, 15)),
)
STEADY = (1, 4, 5, 6, 195, 197, 168, 8, 9, 151, 108, 337, 50, 280, 101, 330, 36, 266, 205, 425, 116, 345, 117, 346)
"""Landmarks of nose, brow and cheeks."""


@dataclass
class Options:
    """What is measured."""

    systems: Positional[tuple[str, ...]]
    data: Path
    weights: tuple[Path, ...] = ()


def main(options: Options) -> None:
    tracker, console = load_tracker("cpu"), Console()
    people = list(portraits(options.data, tracker))
    for entrant in load_entrants(options.systems, device=torch.device("cpu"), weights=list(options.weights)):
        table = Table("asked, degrees", "portraits", "landmarks off, % of eyes", "turn by their places", "by 3D pose")
        for turn, read in readings(entrant, people, tracker).items():
            off, placed, posed = np.mean(read, 0)
            table.add_row(f"{turn[0]} {turn[1]}", str(len(read)), f"{off:.1f}", f"{placed:.1f}", f"{posed:.1f}")
        console.print(entrant.name)
        console.print(table)


def portraits(data: Path, tracker: Tracker) -> Iterator[Sitter]:
    """Those of the validation people."""
    pictures: dict[str, UInt8] = {
        clip.name: next(iter(read_frames(clip.video))).image for clip in clip_table(data, "validation")
    }
    pictures |= {photo.name: read_image(photo.picture) for photo in photo_table(data, "validation")}
    for name, picture in pictures.items():
        with suppress(InputError):  # no face is found in a profile
            yield sitter_of(name, picture, tracker=tracker)


def readings(
    entrant: Entrant, people: list[Sitter], tracker: Tracker
) -> dict[tuple[Axis, int], list[tuple[float, float, float]]]:
    """For each turn and portrait in which a face is found: how far landmarks are off, % of the distance of the eyes;
    the turn by their places, and by the tracker's pose, degrees. The turn is measured from the portrait redrawn."""
    found = defaultdict(list)
    for sitter in track(people, entrant.name):
        own = sitter.faces[0].params
        asked = [own, *(apply_edit(own, Edit(**{axis: radians(angle)})) for axis, angle in TURNS)]
        times = [Fraction(i, 25) for i in range(len(asked))]
        frames = render_motion(entrant, sitter, FaceParams.cat(asked), times, cost=Cost())
        seen = [tracker.track_picture(frame) for frame in frames]
        if not seen[0]:
            continue
        for turn, wanted, faces in zip(TURNS, asked[1:], seen[1:], strict=True):
            if faces:
                found[turn].append(compared(turn[0], own, wanted, seen[0][0], faces[0], sitter))
    return found


def compared(
    axis: Axis, own: FaceParams, wanted: FaceParams, still: FaceParams, turned: FaceParams, sitter: Sitter
) -> tuple[float, float, float]:
    """Of one frame, as `readings` has it. `own`, `wanted`: in pixels of the crop; `still`, `turned`: as the tracker
    reads them in the redrawn portrait and in the turned one."""
    shape, at = head_shape(own)[0, list(STEADY)].double().numpy(), ("yaw", "pitch").index(axis)
    before, after = (params.landmarks[0, list(STEADY), :2].double().numpy() for params in (still, turned))
    crop = sitter.faces[0].crop
    places = points_to_picture(wanted.landmarks[0, list(STEADY), :2].double(), crop).numpy()
    off = float(np.linalg.norm(after - places, axis=1).mean() / (float(own.scale) / crop.scale))
    placed = fitted_angles(shape, after)[at] - fitted_angles(shape, before)[at]
    posed = (rotation_to_angles(turned.rotation) - rotation_to_angles(still.rotation))[0, at].item()
    return 100 * off, degrees(placed), degrees(posed)


def fitted_angles(shape: Array, places: Array) -> Array:
    """Yaw, pitch and roll (3,) in radians with which a shape (n, 3) is nearest to places (n, 2), scaled and moved."""
    spread = np.sqrt(((places - places.mean(0)) ** 2).mean())

    def apart(x: Array) -> Array:
        rotation = angles_to_rotation(torch.from_numpy(x[:3])).numpy()
        projected = np.exp(x[3]) * (shape @ rotation.T)[:, :2]
        return ((projected - projected.mean(0)) - (places - places.mean(0)) / spread).ravel()

    found: Array = least_squares(apart, np.zeros(4), loss="soft_l1", f_scale=0.05).x[:3]
    return found


if __name__ == "__main__":
    main(tyro.cli(Options))
