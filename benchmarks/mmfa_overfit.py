"""MMFA learns one clip by heart: can the networks, the losses and the loop reproduce what they see?

python benchmarks/mmfa_overfit.py -o docs/images/mmfa_overfit.png

The clip is made here: the portrait of scikit-image, turned by meshwarp 20 degrees to one side and the other. `tiny` is
trained on it and then given its first frame as source and each of the others as driving picture.
"""

from __future__ import annotations

import csv
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from safetensors.torch import load_file
from skimage.data import astronaut
from torch import Tensor
from tyro.conf import arg

from portrayal.animation import animate, track
from portrayal.data.clip_labels import load_clip_track
from portrayal.data.clips import clip_table
from portrayal.media.image import to_tensor, to_uint8, write_image
from portrayal.media.video import read_frames
from portrayal.motion.builtin import builtin_motion
from portrayal.motion.template import save_template
from portrayal.options import AnimateOptions
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.model import Mmfa
from portrayal.systems.mmfa.train import STAGE, Face, reconstruct
from portrayal.train.loop import train
from portrayal.train.options import RunOptions

FRAMES_PER_SECOND, FRAMES = 8, slice(4, 28)
"""Of the built-in look-around: three seconds from rest to the one side and the other."""
STEPS = 600
SHOWN = 6


@dataclass
class Overfit:
    """Train `tiny` on one clip and write a picture: its frames, what came out, and the difference."""

    output: Annotated[Path, arg(aliases=["-o"])]
    """PNG."""
    steps: int = STEPS
    folder: Path | None = None
    """Where the clip and the run lie; a run in it goes on (None: a temporary folder)."""


@dataclass(frozen=True)
class Outcome:
    """Mean PSNR in dB over the clip's frames but the first, which is the source."""

    learned: float
    copied: float
    """Of the source frame in place of the result: what doing nothing gives."""
    picture: NDArray[np.uint8]


def main(options: Overfit) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        outcome = overfit(folder, steps=options.steps)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_image(options.output, outcome.picture)
    print(f"PSNR {outcome.learned:.2f} dB (the source frame: {outcome.copied:.2f}) after {options.steps} steps")


def overfit(folder: Path, *, steps: int) -> Outcome:
    """Make the clip below `folder`, train on it there, and measure."""
    data = folder / "data"
    if not (data / "clips.csv").is_file():
        make_clip(data)
    config = replace(Config.tiny(), steps=steps)
    # On a CPU small networks are no faster in bfloat16.
    run = RunOptions(data=data, out=folder / "run", device="cpu", precision="32-true", workers=0)
    run = replace(run, save_every_steps=200, preview_every_steps=steps)
    model = Mmfa(config)
    model.load_state_dict(load_file(train(STAGE, config, run)))
    return measure(model.eval(), data)


def make_clip(data: Path) -> None:
    """A clip folder with one training clip, 256 x 256, and its track."""
    clips = data / "clips"
    clips.mkdir(parents=True)
    portrait, motion = data / "portrait.png", data / "turn.motion.safetensors"
    write_image(portrait, cv2.resize(astronaut()[0:288, 80:368], (256, 256), interpolation=cv2.INTER_AREA))
    turn = builtin_motion("look-around", FRAMES_PER_SECOND)[FRAMES]
    save_template(motion, turn, origin="built in", consent="nobody's face")
    animate(portrait, motion, clips / "turn.mp4", AnimateOptions(system="meshwarp"))
    track(clips / "turn.mp4", clips / "turn.track.safetensors")
    frames = sum(1 for _ in read_frames(clips / "turn.mp4"))
    with (data / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["clip", "identity", "frames", "split"], ["turn", "astronaut", frames, "train"]])


@torch.no_grad()
def measure(model: Mmfa, data: Path) -> Outcome:
    """Source: the first frame; driving: each of the others; the picture shows the first one too."""
    side, clip = model.config.image_size, clip_table(data)[0]
    params = load_clip_track(clip).params
    small = (cv2.resize(f.image, (side, side), interpolation=cv2.INTER_AREA) for f in read_frames(clip.video))
    frames = torch.cat([to_tensor(np.asarray(image, np.uint8)) for image in small])
    unit = side / 256
    whole = Face(frames, params.landmarks * unit, params.rotation, params.scale * unit, params.translation * unit)
    results = [reconstruct(model, part(whole, [0]), part(whole, [i])).generated.picture for i in range(len(frames))]
    made = torch.cat(results)
    shown = torch.linspace(0, len(frames) - 1, SHOWN).long()
    rows = [frames[shown], made[shown], ((made - frames)[shown].abs() * 4).clamp(0, 1)]
    picture = torch.cat([torch.cat(list(row), -1) for row in rows], -2)
    large = cv2.resize(to_uint8(picture[None])[0], (SHOWN * 128, 3 * 128), interpolation=cv2.INTER_CUBIC)
    learned, copied = psnr(made[1:], frames[1:]), psnr(frames[:1].expand_as(frames[1:]), frames[1:])
    return Outcome(learned, copied, np.asarray(large, np.uint8))


def part(face: Face, index: list[int]) -> Face:
    return Face(
        face.image[index], face.landmarks[index], face.rotation[index], face.scale[index], face.translation[index]
    )


def psnr(images: Tensor, truth: Tensor) -> float:
    """Mean over the pictures, dB."""
    return float((-10 * (images - truth).square().mean((1, 2, 3)).clamp_min(1e-10).log10()).mean())


if __name__ == "__main__":
    main(tyro.cli(Overfit))
