"""`portrayal edit` on the built-in portrait: numbers, other pictures, sweeps, interpolation, what systems add."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import portrayal
from portrayal.cli import main, parse
from portrayal.errors import InputError
from portrayal.face.measure import mouth_openness
from portrayal.face.pose import rotation_to_angles
from portrayal.face.tracker import load_tracker
from portrayal.media.image import read_image
from portrayal.media.video import probe, read_frames
from portrayal.options import LIMITS, SWEEPS, EditOptions
from portrayal.systems import SYSTEMS
from portrayal.types import FaceParams
from tests import fake_system


def options(**chosen: Any) -> EditOptions:
    return EditOptions(device="cpu", **chosen)


def measured(path: Path) -> FaceParams:
    return load_tracker("cpu").track_picture(read_image(path))[0]


def degrees(path: Path) -> torch.Tensor:
    """(3,) yaw, pitch, roll of the face in a picture."""
    return torch.rad2deg(rotation_to_angles(measured(path).rotation))[0]


def opened(path: Path) -> float:
    return float(mouth_openness(measured(path).landmarks))


@pytest.fixture(scope="module")
def turned(small_portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait turned, rolled and with an open mouth."""
    path = tmp_path_factory.mktemp("turned") / "turned.png"
    return portrayal.edit(small_portrait, path, options(yaw=14, roll=-8, mouth_open=0.8)).output


def test_numbers_reach_the_picture(small_portrait: Path, turned: Path) -> None:
    change = degrees(turned) - degrees(small_portrait)
    assert change[0] == pytest.approx(14, abs=5)
    assert change[2] == pytest.approx(-8, abs=3)
    assert opened(turned) > opened(small_portrait) + 0.1
    assert read_image(turned).shape == (256, 256, 3)


@pytest.mark.parametrize("take", ["rotation", "expression"])
def test_one_attribute_is_taken_and_the_rest_stays(
    take: str, small_portrait: Path, turned: Path, tmp_path: Path
) -> None:
    done = portrayal.edit(small_portrait, tmp_path / "out.png", options(take=take), taken_from=turned)
    change = degrees(done.output) - degrees(small_portrait)
    mouth = (opened(done.output) - opened(small_portrait)) / (opened(turned) - opened(small_portrait))
    wanted = degrees(turned) - degrees(small_portrait)
    if take == "rotation":
        assert torch.allclose(change, wanted, atol=4)
        assert mouth < 0.3
    else:
        assert float(change.abs().max()) < 6  # the tracker reads an open mouth as a turn of 4 degrees
        assert mouth > 0.4


def test_relative_motion_adds_the_change_from_the_reference(small_portrait: Path, turned: Path, tmp_path: Path) -> None:
    relative = options(motion="relative", take="rotation")
    done = portrayal.edit(turned, tmp_path / "a.png", relative, taken_from=small_portrait, reference=turned)
    assert torch.allclose(degrees(done.output), degrees(small_portrait), atol=4)
    still = portrayal.edit(turned, tmp_path / "b.png", relative, taken_from=turned, reference=turned)
    assert np.abs(read_image(still.output).astype(int) - read_image(turned).astype(int)).mean() < 3


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_sweep_is_a_video_and_a_sheet(suffix: str, small_portrait: Path, tmp_path: Path) -> None:
    said: list[tuple[str, int, int | None]] = []
    done = portrayal.edit(
        small_portrait,
        tmp_path / f"out{suffix}",
        options(sweep="yaw", range=(-10, 10), steps=3, frames=8),
        progress=lambda *state: said.append(state),
    )
    frames = [frame.image.astype(int) for frame in read_frames(done.output)]
    assert len(frames) == 8
    assert np.abs(frames[4] - frames[0]).mean() > 2 * np.abs(frames[1] - frames[7]).mean()
    assert done.sheet == tmp_path / "out--sheet.png"
    assert said[-1] == ("editing", 11, 11)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out--sheet.png", f"out{suffix}"]


def test_every_sweep_moves_something(small_portrait: Path, tmp_path: Path) -> None:
    assert SWEEPS.keys() == LIMITS.keys()
    for name in ("zoom", "shift-x", "shift-y", "smile", "blink", "gaze-x"):
        chosen = options(sweep=name, steps=2, frames=2, crop=True, size=128)
        frames = list(read_frames(portrayal.edit(small_portrait, tmp_path / f"{name}.mp4", chosen).output))
        assert frames[0].image.shape == (128, 128, 3)
        assert np.abs(frames[0].image.astype(int) - frames[1].image.astype(int)).mean() > 0.2


def test_interpolation_ends_at_the_other_picture(small_portrait: Path, turned: Path, tmp_path: Path) -> None:
    done = portrayal.edit(small_portrait, tmp_path / "frames", options(frames=4), interpolate=turned)
    first, _, last, _ = sorted(done.output.glob("*.png"))
    assert torch.allclose(degrees(first), degrees(small_portrait), atol=3)
    assert torch.allclose(degrees(last), degrees(turned), atol=4)
    assert opened(last) > opened(first) + 0.1


def test_a_part_of_the_way_is_one_picture(small_portrait: Path, turned: Path, tmp_path: Path) -> None:
    done = portrayal.edit(small_portrait, tmp_path / "half.png", options(amount=0.5), interpolate=turned)
    assert done.sheet is None
    between = (degrees(small_portrait) + degrees(turned)) / 2
    assert torch.allclose(degrees(done.output), between, atol=4)


def test_interpolating_the_expression_keeps_the_other_pose(small_portrait: Path, turned: Path, tmp_path: Path) -> None:
    """Fig. 8: the first picture is the source's expression in the driving pose."""
    chosen = options(frames=4, take="expression")
    done = portrayal.edit(small_portrait, tmp_path / "frames", chosen, interpolate=turned)
    first, _, last, _ = sorted(done.output.glob("*.png"))
    assert torch.allclose(degrees(first), degrees(turned), atol=5)
    assert torch.allclose(degrees(last), degrees(turned), atol=5)
    assert opened(last) > opened(first) + 0.1


def test_the_command_writes_where_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], small_portrait: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["edit", "-s", str(small_portrait), "--yaw", "-10", "--gaze-x", "10", "--device", "cpu"]) == 0
    assert "edits/face--edit.png" in capsys.readouterr().out
    assert [p.name for p in (tmp_path / "edits").iterdir()] == ["face--edit.png"]


def test_options_arrive() -> None:
    typed = "edit --from a.png --take scale --shift 0.1 -0.2 --mouth-open 0.5 --sweep gaze-x"
    command: Any = parse(typed.split())
    assert command.taken_from == "a.png"
    assert command.options == EditOptions(take="scale", shift=(0.1, -0.2), mouth_open=0.5, sweep="gaze-x")


def test_the_result_never_replaces_an_input(small_portrait: Path, turned: Path) -> None:
    before = turned.read_bytes()
    with pytest.raises(InputError, match="replace its own input"):
        portrayal.edit(small_portrait, turned, options(), taken_from=turned)
    assert turned.read_bytes() == before


@pytest.mark.parametrize("option", ["-s", "--from", "--interpolate"])
def test_videos_and_faceless_pictures_are_refused(
    option: str,
    talking: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    wall = tmp_path / "wall.png"
    Image.fromarray(np.full((200, 200, 3), 120, np.uint8)).save(wall)
    for path in (talking, wall):
        assert main(["edit", option, str(path), "--device", "cpu", *(["--yaw", "5"] if option == "-s" else [])]) == 2
        error = capsys.readouterr().err
        assert path.name in error
        assert len(error.strip().splitlines()) == 1
    assert list(Path().iterdir()) == []


@pytest.fixture
def tint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> EditOptions:
    """Options for a system that looks at pictures, samples expressions and has a canonical face."""
    monkeypatch.setitem(SYSTEMS, "tint", fake_system.system())
    weights = fake_system.write_weights(tmp_path / "tint.safetensors")
    return options(system="tint", weights=weights)


def test_expressions_are_sampled_by_a_seed(tint: EditOptions, small_portrait: Path, tmp_path: Path) -> None:
    sheets = [
        read_image(
            portrayal.edit(small_portrait, tmp_path / f"{i}.png", replace(tint, sample_expression=8, seed=seed)).output
        )
        for i, seed in enumerate((0, 0, 1))
    ]
    assert np.array_equal(sheets[0], sheets[1])
    assert not np.array_equal(sheets[0], sheets[2])


def test_a_system_interpolates_in_its_own_space(tint: EditOptions, small_portrait: Path, tmp_path: Path) -> None:
    mirrored = tmp_path / "mirrored.png"
    Image.fromarray(np.ascontiguousarray(read_image(small_portrait)[:, ::-1])).save(mirrored)
    chosen = replace(tint, take="expression", frames=4, crop=True)
    done = portrayal.edit(small_portrait, tmp_path / "v.mp4", chosen, interpolate=mirrored)
    frames = [frame.image.astype(float) for frame in read_frames(done.output)]
    assert probe(done.output).frames == 4
    assert np.abs(frames[2] - frames[0]).mean() > 1
    assert np.abs(frames[3] - frames[1]).mean() < 1


def test_the_canonical_face_is_a_square(tint: EditOptions, small_portrait: Path, tmp_path: Path) -> None:
    picture = read_image(portrayal.edit(small_portrait, tmp_path / "c.png", replace(tint, canonical=True)).output)
    assert picture.shape[0] == picture.shape[1]
    assert picture.std((0, 1)).max() < 1


def test_the_other_pictures_codes_are_used(
    tint: EditOptions, small_portrait: Path, turned: Path, tmp_path: Path
) -> None:
    darker = tmp_path / "darker.png"
    Image.fromarray(read_image(small_portrait) // 2).save(darker)
    light = [
        read_image(
            portrayal.edit(
                small_portrait, tmp_path / f"{i}.png", replace(tint, take="expression", crop=True), taken_from=other
            ).output
        ).mean()
        for i, other in enumerate((small_portrait, darker))
    ]
    assert light[1] < light[0] - 5
