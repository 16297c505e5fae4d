"""Whole commands with a model of the tiny preset: animate, edit along a direction, a source video, bad input."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from portrayal import EditOptions, edit
from portrayal.cli import main
from portrayal.errors import InputError
from portrayal.media.image import read_image
from portrayal.media.video import VideoWriter, probe, read_frames
from portrayal.systems import directions
from portrayal.systems.directions.config import Config
from portrayal.weights.registry import save_tensors


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = directions.build(Config.tiny())
    model.poses.ranges.copy_(torch.tensor([[-0.5, 0.5]] * 3 + [[-2.0, 2.0]] * 12))
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_tensors(path, model.state_dict(), {"system": "directions", "config": json.dumps(asdict(Config.tiny()))})
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PORTRAYAL_WEIGHTS", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tuned"


def test_animate_tunes_once_and_says_what_it_cannot_draw(
    weights: Path, small_portrait: Path, sentence: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A generator that has learned nothing draws nobody; the result is written all the same."""
    out = tmp_path / "a.mp4"
    arguments = ["animate", "-s", str(small_portrait), "-d", str(sentence), "-o", str(out), "--weights", str(weights)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "the generator cannot draw this face well" in said
    assert probe(out).frames == 25
    first = np.stack([frame.image for frame in read_frames(out)])
    assert float(np.abs(np.diff(first.astype(int), axis=0)).mean()) > 0
    kept = list(cache.iterdir())
    assert len(kept) == 1
    out.unlink()
    assert main(arguments) == 0
    assert list(cache.iterdir()) == kept
    assert np.array_equal(first, np.stack([frame.image for frame in read_frames(out)]))


def test_a_source_video_is_tuned_once(
    weights: Path, small_portrait: Path, sentence: Path, tmp_path: Path, cache: Path
) -> None:
    picture, video = read_image(small_portrait), tmp_path / "source.mp4"
    with VideoWriter(video, width=256, height=256) as writer:
        for i in range(4):
            writer.write(np.clip(picture.astype(int) + 8 * i, 0, 255).astype(np.uint8), i / 25)
    out = tmp_path / "out.mp4"
    assert main(["animate", "-s", str(video), "-d", str(sentence), "-o", str(out), "--weights", str(weights)]) == 0
    assert len(list(cache.iterdir())) == 1
    assert probe(out).frames == 25


def test_edit_along_one_direction(weights: Path, small_portrait: Path, tmp_path: Path) -> None:
    options = EditOptions(weights=weights, along="expression-2", steps=3, frames=4)
    swept = edit(small_portrait, tmp_path / "sweep.mp4", options)
    assert swept.sheet is not None
    assert swept.sheet.is_file()
    assert probe(swept.output).frames == 4
    far, still = (
        read_image(edit(small_portrait, tmp_path / f"{amount}.png", replace(options, amount=amount)).output)
        for amount in (1.0, 0.0)
    )
    assert float(np.abs(far.astype(int) - still).mean()) > 0.05


def test_a_source_is_encoded_once(
    weights: Path, small_portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once for the direction and again for the pictures."""
    encoded, whole = [], directions.encode_source
    monkeypatch.setattr(directions, "encode_source", lambda *given: encoded.append(given) or whole(*given))
    edit(small_portrait, tmp_path / "a.png", EditOptions(weights=weights, along="yaw", amount=0.5))
    assert len(encoded) == 1


def test_what_there_is_no_direction_for(weights: Path, small_portrait: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no direction 'smile'; choose one of: yaw, pitch, roll, expression-1"):
        edit(small_portrait, tmp_path / "a.png", EditOptions(weights=weights, along="smile", amount=1.0))
    with pytest.raises(InputError, match=r"meshwarp has no directions, which --along needs; choose .*directions"):
        edit(small_portrait, tmp_path / "a.png", EditOptions(system="meshwarp", along="yaw", amount=1.0))
    with pytest.raises(InputError, match="--amount is that of a direction"):
        edit(small_portrait, tmp_path / "a.png", EditOptions(amount=1.0))
    with pytest.raises(InputError, match="--sweep and --along are different results"):
        edit(small_portrait, tmp_path / "a.mp4", EditOptions(weights=weights, along="yaw", sweep="yaw"))
    assert not (tmp_path / "a.png").exists()


def test_generator_and_matrix_of_different_sizes(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:

    with safe_open(weights, "pt") as file:
        about = file.metadata()
    tensors = load_file(weights)
    tensors["matrix.linear.weight"] = torch.zeros(8 * 64, 15)
    bad = tmp_path / "bad.safetensors"
    save_tensors(bad, tensors, about)
    assert main(["animate", "-o", str(tmp_path / "a.mp4"), "--weights", str(bad)]) == 2
    assert "matrix.linear.weight" in capsys.readouterr().err
