"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

LONGEST = "test_overfit.py"
"""One test, minutes: at the end the other processes would wait for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name != LONGEST)


def pytest_configure(config: pytest.Config) -> None:
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    threads = max(1, min(4, (os.cpu_count() or 1) // processes))
    os.environ["OMP_NUM_THREADS"] = str(threads)  # for the commands that tests start, too

    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


@pytest.fixture(scope="session", autouse=True)
def quick_auto() -> Iterator[str]:
    """`auto` is the mesh warp, which draws ten frames while the best system draws one: most tests of the way from a
    picture to a file are about that way. Yields the system that it is otherwise."""
    from portrayal import systems

    with pytest.MonkeyPatch.context() as patch:
        best = systems.BEST
        patch.setattr(systems, "BEST", "meshwarp")
        yield best


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept between runs, such as generators tuned to a picture, does not come from the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        if "PORTRAYAL_WEIGHTS" not in os.environ:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def best(quick_auto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """`auto` is what it is for users."""
    monkeypatch.setattr("portrayal.systems.BEST", quick_auto)
    return quick_auto


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of development data; the test is skipped where there is none."""
    root = Path(os.environ.get("PORTRAYAL_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()
    if not (root / "raw").is_dir():
        pytest.skip(f"no development data in {root} (PORTRAYAL_DATA names another folder)")
    return root


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """(512, 512, 3) uint8: the portrait that scikit-image ships."""
    return astronaut()


@pytest.fixture(scope="session")
def small_portrait(tmp_path_factory: pytest.TempPathFactory, portrait: np.ndarray) -> Path:
    """A picture file of the head alone, 256 x 256: quick to animate."""
    path = tmp_path_factory.mktemp("portrait") / "face.png"
    Image.fromarray(portrait[0:288, 80:368]).resize((256, 256), Image.Resampling.LANCZOS).save(path)
    return path


@pytest.fixture(scope="session")
def sentence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A motion template of one second: the beginning of the built-in talk."""
    from portrayal.motion.builtin import builtin_motion
    from portrayal.motion.template import save_template

    path = tmp_path_factory.mktemp("sentence") / "sentence.motion.safetensors"
    save_template(path, builtin_motion("talk")[10:35], origin="built in", consent="nobody's face")
    return path


@pytest.fixture(scope="session")
def talking(tmp_path_factory: pytest.TempPathFactory, small_portrait: Path, sentence: Path) -> Path:
    """A driving video with sound and an uneven frame rate: the small portrait speaks for a second."""
    from portrayal.animation import animate
    from portrayal.media.video import VideoWriter, read_frames
    from portrayal.options import AnimateOptions

    folder = tmp_path_factory.mktemp("talking")
    animate(small_portrait, sentence, folder / "even.mp4", AnimateOptions(system="meshwarp"))
    frames = [frame.image for frame in read_frames(folder / "even.mp4")]
    rate = 16000
    tone = np.sin(np.arange(rate * 6 // 5) * 2 * np.pi * 440 / rate) * 9000
    with wave.open(str(folder / "tone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(tone.astype("<i2").tobytes())
    times = [Fraction(i * 61, 1350) + Fraction(i % 3, 500) for i in range(len(frames))]
    path = folder / "talking.mp4"
    with VideoWriter(path, width=256, height=256, sound_from=folder / "tone.wav") as writer:
        for image, time in zip(frames, times, strict=True):
            writer.write(image, time)
    return path
