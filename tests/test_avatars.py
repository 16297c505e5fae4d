"""Avatar files as sources of commands, and written by them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from portrayal import AnimateOptions, EditOptions, animate, edit, preflight
from portrayal.cli import main
from portrayal.errors import InputError
from portrayal.media.image import read_image
from portrayal.media.video import read_frames
from portrayal.mesh import make_mesh
from portrayal.options import MeshOptions
from portrayal.systems import SYSTEMS, otavatar
from portrayal.systems.otavatar.config import Config
from portrayal.train.initial import save_network
from portrayal.types import as_system


@pytest.fixture(scope="module", autouse=True)
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SYSTEMS, "otavatar", as_system(otavatar))
        patch.setenv("PORTRAYAL_WEIGHTS", str(tmp_path_factory.mktemp("cache")))
        yield


def write_weights(path: Path, *, seed: int) -> Path:
    """Of a system whose heads fill the whole cube."""
    torch.manual_seed(seed)
    model = otavatar.build(Config.tiny())
    with torch.no_grad():
        model.generator.decoder.net[-1].bias[0] = 30
    save_network(path, model, {"config": json.dumps(asdict(model.config))}, system="otavatar", stage="decouple")
    return path


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> EditOptions:
    weights = write_weights(tmp_path_factory.mktemp("weights") / "otavatar.safetensors", seed=0)
    return EditOptions(weights=weights, yaw=10.0, crop=True, device="cpu")


@pytest.fixture(scope="module")
def kept(
    options: EditOptions, small_portrait: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, np.ndarray]:
    """An avatar, and the picture of the edit that wrote it."""
    folder = tmp_path_factory.mktemp("kept")
    done = edit(
        small_portrait, folder / "a.png", replace(options, keep_avatar=folder / "me" / "face.avatar.safetensors")
    )
    assert done.avatar is not None
    assert f"Avatar: {done.avatar}" in done.summary()
    return done.avatar, read_image(done.output)


@pytest.fixture
def untuned(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing is encoded or inverted."""
    for name in ("encode_source", "tune_source"):
        monkeypatch.setattr(otavatar, name, lambda *given, name=name, **more: pytest.fail(f"{name} was called"))


@pytest.mark.usefixtures("untuned")
def test_an_avatar_gives_what_its_photo_gave(
    options: EditOptions, kept: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    avatar, picture = kept
    again = read_image(edit(avatar, tmp_path / "a.png", options).output)
    assert again.shape == picture.shape
    assert np.abs(again.astype(int) - picture).mean() < 0.5, "half precision"
    straight = read_image(edit(avatar, tmp_path / "b.png", replace(options, yaw=0.0, roll=1e-3)).output)
    assert np.abs(straight.astype(int) - picture).mean() > 1
    reduced = edit(avatar, tmp_path / "c.png", replace(options, crop=False, size=96, depth=True))
    assert read_image(reduced.output).shape == (96, 96, 3)
    assert reduced.depth is not None


@pytest.mark.usefixtures("untuned")
def test_an_avatar_is_animated_by_the_command(
    options: EditOptions, kept: tuple[Path, np.ndarray], sentence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    avatar, picture = kept
    typed = f"animate -s {avatar} -d {sentence} --weights {options.weights} --device cpu"
    assert main(typed.split()) == 0
    (output,) = (tmp_path / "animations").iterdir()
    assert output.name == "face--sentence.mp4"
    frames = [frame.image for frame in read_frames(output)]
    assert len(frames) == 25
    assert frames[0].shape == picture.shape


@pytest.mark.usefixtures("untuned")
def test_an_avatar_becomes_a_mesh_and_an_avatar(
    options: EditOptions, kept: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    avatar, _ = kept
    made = make_mesh(avatar, tmp_path / "head.ply", MeshOptions(weights=options.weights, resolution=16, device="cpu"))
    assert made.triangles > 100
    copy = tmp_path / "copy.avatar.safetensors"
    edit(avatar, tmp_path / "a.png", replace(options, keep_avatar=copy))
    model = otavatar.build(Config.tiny())
    with pytest.raises(InputError, match="made with other weights"):
        otavatar.load_avatar(copy, model)


def test_avatars_that_do_not_fit_are_refused(
    options: EditOptions, kept: tuple[Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    avatar, _ = kept
    output = tmp_path / "a.png"
    with pytest.raises(InputError, match=r"is an avatar, and meshwarp takes none; choose with --system: otavatar\."):
        edit(avatar, output, EditOptions(system="meshwarp", yaw=5.0, device="cpu"))
    other = write_weights(tmp_path / "other.safetensors", seed=1)
    with pytest.raises(InputError, match="was made with other weights of otavatar"):
        edit(avatar, output, replace(options, weights=other))
    with pytest.raises(InputError, match="there is no face number 2"):
        edit(avatar, output, replace(options, face="2"))
    with pytest.raises(InputError, match="is an avatar, which animate, edit and mesh take; give its photo here"):
        preflight(avatar)
    damaged = tmp_path / "damaged.avatar.safetensors"
    damaged.write_bytes(avatar.read_bytes()[:-9])
    missing = tmp_path / "missing.avatar.safetensors"
    for path, sentence in ((damaged, "is damaged or not an avatar"), (missing, "does not exist")):
        assert main(["animate", "-s", str(path), "--weights", str(options.weights), "--device", "cpu"]) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert len(error.strip().splitlines()) == 1
    assert not output.exists()


def test_what_cannot_be_kept_is_refused(
    options: EditOptions, small_portrait: Path, talking: Path, sentence: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a.avatar.safetensors"
    with pytest.raises(InputError, match=r"a\.png: an avatar must be named \*\.avatar\.safetensors"):
        replace(options, keep_avatar=tmp_path / "a.png")
    plain = AnimateOptions(system="meshwarp", keep_avatar=file, device="cpu")
    with pytest.raises(InputError, match="meshwarp has no avatar files, which --keep-avatar writes"):
        animate(small_portrait, sentence, tmp_path / "a.mp4", plain)
    video = AnimateOptions(weights=options.weights, keep_avatar=file, device="cpu")
    with pytest.raises(InputError, match=r"one face of a picture, and .*talking\.mp4 is a video"):
        animate(talking, sentence, tmp_path / "a.mp4", video)
    assert not list(tmp_path.iterdir())
