"""Speed and memory of the whole pipeline: decode, track, animate, paste back, encode, at 512 x 512.

    python benchmarks/pipeline.py                 a driving video of the project's own making
    python benchmarks/pipeline.py talk.mp4        another one, repeated to 20 seconds and to 3 minutes

The source is the built-in portrait's head at 512 x 512: its crop fills the picture, so every pixel is rendered. Each
length runs in a process of its own; its peak memory (resident set) includes Python, torch and all weights.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

LENGTHS = {"20 seconds": 500, "3 minutes": 4500}
"""Frames at 25 per second."""
SIDE = 512


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]), Path(sys.argv[3]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        base = Path(sys.argv[1]) if len(sys.argv) > 1 else make_base(Path(folder))
        print(f"{'driving video':<14} {'frames':>7} {'seconds':>8} {'frames/s':>9} {'peak memory':>12}")
        for name, frames in LENGTHS.items():
            driving = Path(folder) / f"{frames}.mp4"
            repeat_video(base, driving, frames)
            command = [sys.executable, __file__, "--measure", str(make_portrait(Path(folder))), str(driving)]
            answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found = json.loads(answer.splitlines()[-1])
            rate = found["frames"] / found["seconds"]
            print(
                f"{name:<14} {found['frames']:>7} {found['seconds']:>8.1f} {rate:>9.1f} {found['peak_mib']:>8.0f} MiB",
                flush=True,
            )


def measure(source: Path, driving: Path) -> dict[str, float]:
    """Animate once."""
    from portrayal.animation import animate

    done = animate(source, driving, driving.with_name("out.mp4"))
    return {"frames": done.frames, "seconds": done.seconds, "peak_mib": peak_mib()}


def peak_mib() -> float:
    """Peak resident set of this process; on Linux without that of the process it was forked from."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1024  # type: ignore[index]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_portrait(folder: Path) -> Path:
    """The built-in portrait's head, 512 x 512."""
    import cv2
    from skimage.data import astronaut

    from portrayal.media.image import write_image

    path = folder / "head.png"
    write_image(path, cv2.resize(astronaut()[0:256, 96:352], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))
    return path


def make_base(folder: Path) -> Path:
    """A talking face to drive with: the built-in portrait with the built-in motion."""
    from portrayal.animation import animate

    path = folder / "base.mp4"
    animate(None, None, path)
    return path


def repeat_video(base: Path, path: Path, frames: int) -> None:
    """Frames of `base`, forwards and backwards in turn, at 25 per second; at most `SIDE` pixels wide and high."""
    from portrayal.media.video import VideoWriter, read_frames

    images = [frame.image for frame in islice(read_frames(base, max_side=SIDE), 250)]
    there_and_back = images + images[-2:0:-1]
    height, width = images[0].shape[:2]
    with VideoWriter(path, width=width, height=height) as writer:
        for i, image in enumerate(islice(cycle(there_and_back), frames)):
            writer.write(image, Fraction(i, 25))


if __name__ == "__main__":
    main()
