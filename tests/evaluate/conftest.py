"""A data folder that the tests make: two people of the built-in portrait with a clip each, and a faceless clip."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from portrayal.media.video import VideoWriter, read_frames


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory, talking: Path) -> Path:
    """videos/<person>/<clip>.mp4: anna speaks, bert is her mirror image and darker, carl shows no face."""
    root = tmp_path_factory.mktemp("people")
    frames = [frame.image for frame in read_frames(talking)][:12]
    grey = np.random.default_rng(0).integers(90, 110, frames[0].shape, dtype=np.uint8)
    people = {
        "anna": frames,
        "bert": [np.ascontiguousarray(f[:, ::-1] // 4 * 3) for f in frames],
        "carl": [grey] * len(frames),
    }
    for name, pictures in people.items():
        (root / name).mkdir()
        with VideoWriter(root / name / "talk.mp4", width=256, height=256) as writer:
            for number, picture in enumerate(pictures):
                writer.write(picture, Fraction(number, 25))
    return root
