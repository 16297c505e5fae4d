"""`--background`: heads on a colour, a picture or the photo's own background, and what cannot be."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from portrayal import AnimateOptions, EditOptions, animate, edit
from portrayal.cli import main
from portrayal.errors import InputError
from portrayal.job import fingerprint
from portrayal.media.image import read_image
from portrayal.media.video import read_frames
from portrayal.systems import SYSTEMS, export3d
from tests import fake_system
from tests.untrained import write_untrained

BLUE = (32, 64, 192)


@pytest.fixture
def tint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> EditOptions:
    """For the fake system, whose head is the right half."""
    monkeypatch.setitem(SYSTEMS, fake_system.NAME, fake_system.system())
    weights = fake_system.write_weights(tmp_path / "tint.safetensors", built=fake_system.Config(side=None))
    return EditOptions(weights=weights, yaw=1.0, device="cpu")


@pytest.fixture(scope="module")
def ellipsoid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an untrained export3d, whose heads are ellipsoids."""
    return write_untrained(tmp_path_factory.mktemp("weights"), export3d, "export3d")


def drawn(source: Path, output: Path, options: EditOptions, **changes: Any) -> np.ndarray:
    return read_image(edit(source, output, replace(options, **changes)).output).astype(float)


def test_the_square_is_the_head_over_the_colour(tint: EditOptions, small_portrait: Path, tmp_path: Path) -> None:
    head = drawn(small_portrait, tmp_path / "keep.png", tint, crop=True)
    over = drawn(small_portrait, tmp_path / "blue.png", tint, background="#2040C0")
    assert over.shape == head.shape
    side = len(head)
    opacity = np.linspace(-1, 1, side).clip(0)[None, :, None]
    assert np.abs(over - (opacity * head + (1 - opacity) * BLUE)).max() <= 1
    larger = drawn(small_portrait, tmp_path / "large.png", tint, background="#2040C0", size=2 * side)
    assert larger.shape == (2 * side, 2 * side, 3)
    assert (larger[:, : side - 2] == BLUE).all()


def test_a_picture_covers_the_square(tint: EditOptions, small_portrait: Path, tmp_path: Path) -> None:
    stripes = np.zeros((50, 150, 3), np.uint8) + np.repeat([[255, 0, 0], BLUE, [0, 255, 0]], 50, 0).astype(np.uint8)
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    over = drawn(small_portrait, tmp_path / "a.png", tint, background=str(tmp_path / "stripes.png"))
    assert (over[:, 4 : len(over) // 2 - 4] == BLUE).all(), "its middle, the sides are cut off"


def test_the_photos_own_background_keeps_its_pixels(tint: EditOptions, small_portrait: Path, tmp_path: Path) -> None:
    photo = read_image(small_portrait).astype(float)
    over = drawn(small_portrait, tmp_path / "a.png", tint, background="photo")
    assert over.shape == photo.shape, "the whole picture"
    far = np.s_[-30:, :]
    assert np.array_equal(over[-4:, :100], photo[-4:, :100])
    assert np.array_equal(over[far][:, :6], photo[far][:, :6])
    middle = np.s_[90:150, 90:124]  # the left of the face, where the fake system has no head
    assert np.abs(over[middle] - photo[middle]).mean() > 20
    square = drawn(small_portrait, tmp_path / "b.png", tint, background="photo", crop=True)
    assert square.shape[0] == square.shape[1]


def test_keep_never_asks_for_layers(
    tint: EditOptions, small_portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = drawn(small_portrait, tmp_path / "a.png", tint)
    monkeypatch.delattr(SYSTEMS[fake_system.NAME], "render_layers")
    assert np.array_equal(drawn(small_portrait, tmp_path / "b.png", tint, background="keep"), usual)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("background", ["#2040c0", "photo"])
def test_every_frame_of_an_animation(
    background: str, ellipsoid: Path, small_portrait: Path, sentence: Path, tmp_path: Path
) -> None:
    options = AnimateOptions(weights=ellipsoid, background=background, device="cpu")
    done = animate(small_portrait, sentence, tmp_path / "frames", options)
    frames = [read_image(path).astype(int) for path in sorted(done.output.glob("*.png"))]
    assert len(frames) == 25
    photo = read_image(small_portrait).astype(int)
    for frame in frames:
        for corner in (np.s_[:8, :8], np.s_[:8, -8:]):
            assert (frame[corner] == (photo[corner] if background == "photo" else BLUE)).all()
        below = frame[-4:, len(frame) // 2] - BLUE
        assert background == "photo" or np.abs(below).sum() > 30, "shoulders"
        middle = len(frame) // 2
        assert np.abs(frame[middle, middle] - BLUE).sum() > 30, "the head"
    assert np.abs(frames[0] - frames[12]).mean() > 0.02


def test_a_source_video_has_its_own_background_in_every_frame(
    ellipsoid: Path, talking: Path, sentence: Path, tmp_path: Path
) -> None:
    options = AnimateOptions(weights=ellipsoid, background="photo", device="cpu")
    done = animate(talking, sentence, tmp_path / "frames", options)
    own = [frame.image for frame in read_frames(talking)]
    frames = [read_image(path) for path in sorted(done.output.glob("*.png"))]
    assert np.array_equal(frames[0][-8:, :8], own[0][-8:, :8])
    assert any(np.array_equal(frames[-1][-8:, :8], one[-8:, :8]) for one in own)
    assert not np.array_equal(frames[0], own[0])


def test_another_background_is_another_animation(tmp_path: Path) -> None:
    path = tmp_path / "beach.png"
    path.write_bytes(b"a picture")
    choices = ("keep", "photo", "#000000", str(path))
    keys = [fingerprint(None, None, AnimateOptions(background=choice)) for choice in choices]
    path.write_bytes(b"another picture")
    os.utime(path, (1, 1))
    keys.append(fingerprint(None, None, AnimateOptions(background=str(path))))
    assert len(set(keys)) == 5


@pytest.mark.parametrize(
    ("given", "sentence_of"),
    [
        ("#12", "a colour of six hex digits such as #00ff00, got '#12'"),
        ("#00ff0g", "got '#00ff0g'"),
        ("", "background must be keep, photo, a picture file or a colour"),
        ("nowhere.png", "nowhere.png: no such picture for --background; it takes a file, keep, photo or a colour"),
        ("notes.txt", "notes.txt is no picture; --background takes a still one"),
        (".", "this is a folder"),
    ],
)
@pytest.mark.parametrize("verb", [["animate"], ["edit", "--yaw", "5"]])
def test_what_is_no_background_is_said(
    verb: list[str],
    given: str,
    sentence_of: str,
    ellipsoid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("no picture")
    assert main([*verb, "--weights", str(ellipsoid), "--device", "cpu", "--background", given]) == 2
    error = capsys.readouterr().err
    assert sentence_of in error
    assert len(error.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_does_not_go_together_is_said(
    small_portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "a.png"
    typed = ["edit", "-s", str(small_portrait), "--system", "meshwarp", "--yaw", "5", "-o", str(output)]
    assert main([*typed, "--background", "photo"]) == 2
    expected = "meshwarp has no layers, head and background apart, which --background needs; choose with --system: exp"
    assert expected in capsys.readouterr().err
    with pytest.raises(InputError, match="--canonical has no background to change"):
        EditOptions(canonical=True, background="photo")
    with pytest.raises(InputError, match="--background #000000 shows one face, --face all moves several"):
        AnimateOptions(background="#000000").check_one_face(2)
    AnimateOptions(background="photo").check_one_face(2)
    assert not output.exists()
