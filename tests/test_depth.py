"""`portrayal edit --depth`: a picture's depth beside it, a row of a sweep's sheet, and who has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from portrayal import EditOptions, edit
from portrayal.cli import main
from portrayal.errors import InputError
from portrayal.face.tracker import load_tracker
from portrayal.media.image import read_image
from portrayal.media.sheet import HEADER, MARGIN, SIDE
from portrayal.systems import export3d
from tests.untrained import write_untrained

NOSE, EAR = 1, 234


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> EditOptions:
    """For an untrained export3d, whose heads are ellipsoids."""
    path = write_untrained(tmp_path_factory.mktemp("weights"), export3d, "export3d")
    return EditOptions(weights=path, depth=True, device="cpu")


def grey_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


def test_a_picture_has_its_depth_beside_it(options: EditOptions, small_portrait: Path, tmp_path: Path) -> None:
    done = edit(small_portrait, tmp_path / "a.jpg", replace(options, pitch=2.0))
    assert done.depth == tmp_path / "a--depth.png"
    assert f"Depth: {done.depth}" in done.summary()
    grey = grey_of(done.depth)
    assert grey.shape == (256, 256)
    points = load_tracker("cpu").track_picture(read_image(small_portrait))[0].landmarks[0, :, :2].int()
    (x, y), (beside, level) = points[NOSE].tolist(), points[EAR].tolist()
    metres = -0.1 + (grey[y, x] - 1) / 65534 * 0.25
    assert -0.05 < metres < 0.14, "in the head, whose ellipsoid is soft"
    assert grey[level, beside] < grey[y, x]
    assert grey[-1].max() == 0, "the result's border is the photo's own"


def test_the_square_has_its_depth_too(options: EditOptions, small_portrait: Path, tmp_path: Path) -> None:
    square = replace(options, yaw=10.0, crop=True, size=96)
    done = edit(small_portrait, tmp_path / "a.png", square)
    assert done.depth is not None
    grey = grey_of(done.depth)
    assert grey.shape == read_image(done.output).shape[:2] == (96, 96)
    assert grey[48, 48] > 30000


def test_a_sweep_has_a_second_row(options: EditOptions, small_portrait: Path, tmp_path: Path) -> None:
    sweep = replace(options, sweep="yaw", steps=3, frames=2)
    done = edit(small_portrait, tmp_path / "turn.mp4", sweep)
    assert done.depth is None
    assert done.sheet is not None
    sheet = read_image(done.sheet)
    assert sheet.shape[0] == HEADER + 2 * (SIDE + MARGIN)
    row = sheet[HEADER + SIDE + MARGIN :].astype(int)
    assert np.ptp(row, -1).max() == 0, "grey"
    assert row[-30:, :60].max() == 255, "the row is labelled"
    left, middle, right = (row[:SIDE, MARGIN + i * (SIDE + MARGIN) :][:, :SIDE] for i in range(3))
    assert np.abs(left - right).mean() > 1
    assert np.abs(left - right).mean() > np.abs(left - middle).mean()


def test_an_interpolation_has_depths_under_its_own_pictures(
    options: EditOptions, small_portrait: Path, tmp_path: Path
) -> None:
    chosen = replace(options, yaw=8.0, steps=2, frames=2)
    done = edit(small_portrait, tmp_path / "v.mp4", chosen, interpolate=small_portrait)
    assert done.sheet is not None
    row = read_image(done.sheet)[HEADER + SIDE + MARGIN :]
    assert row[:200].min((0, 2))[: 2 * (MARGIN + SIDE)].min() == 255, "source and driving picture have none"
    assert row[SIDE // 2, MARGIN + 2 * (MARGIN + SIDE) :].max() > 100


def test_systems_without_depth_say_so(
    options: EditOptions, small_portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["edit", "-s", str(small_portrait), "--system", "meshwarp", "--yaw", "5", "--depth"]
    assert main([*typed, "-o", str(tmp_path / "a.png")]) == 2
    assert "meshwarp has no depth, which --depth needs; choose with --system: export3d" in capsys.readouterr().err
    with pytest.raises(InputError, match="--depth is that of an edit or a sweep"):
        replace(options, canonical=True)
    assert not list(tmp_path.iterdir())
