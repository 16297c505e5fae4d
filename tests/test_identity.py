"""`portrayal edit --interpolate --take identity`: one person becomes another without moving, and who is in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from portrayal import AnimateOptions, EditOptions, animate, edit
from portrayal.cli import main
from portrayal.errors import InputError
from portrayal.media.image import UInt8, read_image
from portrayal.media.sheet import HEADER, MARGIN, SIDE
from portrayal.media.video import read_frames
from portrayal.systems import load, otavatar
from portrayal.systems.otavatar.avatar import OtavatarSource
from portrayal.systems.otavatar.model import Otavatar
from tests.test_avatars import write_weights


@pytest.fixture(scope="module", autouse=True)
def own_cache_of_avatars(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTRAYAL_WEIGHTS", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> EditOptions:
    """Of the way to another person, with a system whose heads fill the whole cube."""
    weights = write_weights(tmp_path_factory.mktemp("weights") / "otavatar.safetensors", seed=0)
    return EditOptions(weights=weights, take="identity", crop=True, device="cpu")


@pytest.fixture(scope="module")
def friend(small_portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of somebody in other colours, in the mirror."""
    path = tmp_path_factory.mktemp("friend") / "friend.png"
    Image.fromarray(255 - read_image(small_portrait)[:, ::-1] // 2).save(path)
    return path


def picture(source: Path, interpolate: Path, amount: float, options: EditOptions, folder: Path) -> UInt8:
    """The picture so far on the way to the other person."""
    done = edit(source, folder / f"{amount}.png", replace(options, amount=amount), interpolate=interpolate)
    assert done.sheet is None
    return read_image(done.output)


def avatar_of(photo: Path, options: EditOptions, folder: Path) -> Path:
    path = folder / f"{photo.stem}.avatar.safetensors"
    edit(photo, folder / "x.png", replace(options, take="all", roll=1e-6, keep_avatar=path))
    return path


def difference(one: UInt8, other: UInt8) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_the_person_changes_and_the_motion_stays(
    options: EditOptions, small_portrait: Path, friend: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = f"edit -s {small_portrait} --interpolate {friend} --take identity --steps 2 --frames 4 --depth --crop"
    typed += f" --weights {options.weights} --device cpu"
    assert main(f"{typed} -o way".split()) == 0
    start, quarter, whole, back = [read_image(path) for path in sorted(Path("way").glob("*.png"))]
    still = read_image(edit(small_portrait, tmp_path / "s.png", replace(options, take="all", roll=1e-6)).output)
    assert difference(start, still) < 0.01
    assert 0.2 < difference(start, whole) < 30
    assert np.array_equal(quarter, back)
    assert np.array_equal(whole, picture(small_portrait, friend, 1.0, options, tmp_path))
    sheet = read_image(Path("way--sheet.png"))
    assert sheet.shape[:2] == (HEADER + 2 * (SIDE + MARGIN), MARGIN + 4 * (SIDE + MARGIN))
    depths = sheet[HEADER + SIDE + MARGIN :, MARGIN + 2 * (SIDE + MARGIN) :]
    assert depths.max() > 100
    assert np.ptp(depths.astype(int), -1).max() == 0
    assert main(f"{typed} --amount 0.5".split()) == 0
    assert sorted(path.name for path in Path("edits").iterdir()) == ["face--friend--depth.png", "face--friend.png"]


def test_avatars_stand_for_photos(
    options: EditOptions, small_portrait: Path, friend: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = picture(small_portrait, friend, 0.5, options, tmp_path)
    me, you = (avatar_of(photo, options, tmp_path) for photo in (small_portrait, friend))
    for name in ("encode_source", "tune_source"):
        monkeypatch.setattr(otavatar, name, lambda *given, name=name, **more: pytest.fail(f"{name} was called"))
    assert difference(picture(me, you, 0.5, options, tmp_path), photos) < 0.5, "half precision"
    turned = picture(me, you, 0.5, replace(options, yaw=12.0), tmp_path)
    assert difference(turned, photos) > 1, "numbers are added as to any portrait"


def test_the_person_in_between_is_kept_and_animated(
    options: EditOptions, small_portrait: Path, friend: Path, sentence: Path, tmp_path: Path
) -> None:
    me, you = (avatar_of(photo, options, tmp_path) for photo in (small_portrait, friend))
    between = tmp_path / "between.avatar.safetensors"
    made = picture(me, you, 0.25, replace(options, keep_avatar=between), tmp_path)
    model = load("otavatar", weights=options.weights)[1]
    assert isinstance(model, Otavatar)
    one, mixed, other = (otavatar.load_avatar(path, model) for path in (me, between, you))
    assert isinstance(mixed, OtavatarSource)
    torch.testing.assert_close(mixed.identity, 0.75 * one.identity + 0.25 * other.identity)
    again = edit(between, tmp_path / "again.png", replace(options, take="all", roll=1e-6))
    assert difference(read_image(again.output), made) < 0.5
    done = animate(between, sentence, tmp_path / "talk.mp4", AnimateOptions(weights=options.weights, device="cpu"))
    frames = [frame.image for frame in read_frames(done.output)]
    assert len(frames) == 25
    assert difference(frames[0], frames[12]) > 0.1


def test_what_is_no_person_is_refused(
    options: EditOptions, small_portrait: Path, talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here").mkdir()
    wall, output = tmp_path / "wall.png", tmp_path / "here" / "a.mp4"
    Image.fromarray(np.full((200, 200, 3), 120, np.uint8)).save(wall)
    foreign = tmp_path / "foreign.avatar.safetensors"
    weights = write_weights(tmp_path / "other.safetensors", seed=1)
    edit(
        small_portrait, tmp_path / "x.png", replace(options, weights=weights, take="all", yaw=1.0, keep_avatar=foreign)
    )
    for other, said in ((talking, "is no picture"), (wall, "no face was found"), (foreign, "made with other weights")):
        with pytest.raises(InputError, match=said):
            edit(small_portrait, output, options, interpolate=other)
    with pytest.raises(InputError, match=r"take a picture that shows a face, --take identity also an avatar\."):
        edit(small_portrait, output, replace(options, take="all"), interpolate=foreign)
    typed = ["edit", "-s", str(small_portrait), "--system", "meshwarp", "--interpolate", str(wall)]
    assert main([*typed, "--take", "identity", "-o", str(output)]) == 2
    said = "meshwarp has no identity interpolation, which --take identity needs; choose with --system: otavatar."
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "here").iterdir())
