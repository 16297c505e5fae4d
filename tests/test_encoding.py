"""Systems that look at the driving pictures get them: crops, chunks, frames without a face, templates, edits."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from portrayal.animation import animate, template
from portrayal.driving import Performance, open_driving
from portrayal.encoding import CHUNK, encode_motion, encode_params
from portrayal.errors import InputError
from portrayal.evaluate.entrants import load_entrants, reenact, render_motion
from portrayal.evaluate.metrics_cost import Cost
from portrayal.face.tracker import load_tracker
from portrayal.media.image import read_image
from portrayal.media.video import VideoWriter, read_frames
from portrayal.motion.edit import apply_edit
from portrayal.motion.template import load_template, save_template, template_info
from portrayal.options import AnimateOptions, TemplateOptions
from portrayal.source import portrait_of, sitter_of
from portrayal.systems import SYSTEMS, load
from portrayal.types import Edit, FaceParams
from portrayal.weights.model import mark_of
from tests import fake_system
from tests.fake_system import Config, Model, Tint


@pytest.fixture
def tint(monkeypatch: pytest.MonkeyPatch) -> object:
    system = fake_system.system()
    monkeypatch.setitem(SYSTEMS, fake_system.NAME, system)
    return system


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_system.write_weights(tmp_path_factory.mktemp("weights") / "tint.safetensors")


@pytest.fixture(scope="session")
def dimming(tmp_path_factory: pytest.TempPathFactory, small_portrait: Path) -> Path:
    """A video of a still face in which the light goes down from frame to frame."""
    path = tmp_path_factory.mktemp("dimming") / "dimming.mp4"
    face = read_image(small_portrait)
    with VideoWriter(path, width=256, height=256) as writer:
        for i in range(CHUNK + 4):
            writer.write((face * (1 - 0.02 * i)).astype(np.uint8), Fraction(i, 25))
    return path


@pytest.fixture(scope="session")
def performance(dimming: Path) -> Performance:
    return open_driving(dimming, tracker=load_tracker("cpu"))


def test_pictures_come_in_chunks_of_one_fixed_crop(tint: object, performance: Performance) -> None:
    model = Model(Config())
    said: list[tuple[str, int, int | None]] = []
    driving = encode_motion(
        SYSTEMS["tint"], model, performance, performance.params, progress=lambda *done: said.append(done)
    )
    assert isinstance(driving, Tint)
    assert model.seen == [(CHUNK, 3, 32, 32), (4, 3, 32, 32)]
    assert said == [("encoding motion", CHUNK, CHUNK + 4), ("encoding motion", CHUNK + 4, CHUNK + 4)]
    assert driving.times == performance.times
    assert torch.equal(driving.params.landmarks, performance.params.landmarks)
    light = driving.colour.mean(1)
    assert bool((light.diff() < 0).all())
    assert float(light[10] / light[0]) == pytest.approx(0.8, abs=0.02)


def test_a_frame_without_a_face_keeps_the_nearest_ones(tint: object, performance: Performance) -> None:
    found = performance.found.clone()
    found[[3, 4]] = False
    gap = replace(performance, found=found)
    whole = encode_motion(SYSTEMS["tint"], Model(Config()), performance, performance.params)
    held = encode_motion(SYSTEMS["tint"], Model(Config()), gap, gap.params)
    assert isinstance(whole, Tint)
    assert isinstance(held, Tint)
    assert torch.allclose(held.colour[3], whole.colour[2], atol=0.01)
    assert torch.allclose(held.colour[4], whole.colour[5], atol=0.01)
    assert torch.allclose(held.colour[6:], whole.colour[6:], atol=0.01)


def test_a_system_without_wishes_gets_no_pictures(tint: object, performance: Performance) -> None:
    model = Model(Config(side=None))
    encode_motion(SYSTEMS["tint"], model, performance, performance.params)
    assert model.seen == [(CHUNK + 4, 3, 0, 0)]


def mean_light(path: Path) -> list[float]:
    return [float(frame.image.mean()) for frame in read_frames(path)]


def test_the_result_follows_the_driving_pictures(
    tint: object, weights: Path, small_portrait: Path, dimming: Path, tmp_path: Path
) -> None:
    options = AnimateOptions(system="tint", weights=weights, reference=0, crop=True, device="cpu")
    light = mean_light(animate(small_portrait, dimming, tmp_path / "a.mp4", options).output)
    assert all(b < a for a, b in pairwise(light))
    weaker = replace(options, strength=0.5)
    half = mean_light(animate(small_portrait, dimming, tmp_path / "b.mp4", weaker).output)
    assert half[0] - half[-1] == pytest.approx((light[0] - light[-1]) / 2, rel=0.1)


def test_auto_takes_the_system_of_the_weights(
    tint: object, weights: Path, small_portrait: Path, dimming: Path, tmp_path: Path
) -> None:
    for name, options in (
        ("a", AnimateOptions(weights=weights, device="cpu")),
        ("b", AnimateOptions(system="tint", weights=weights, device="cpu")),
    ):
        animate(small_portrait, dimming, tmp_path / f"{name}.mp4", options)
    assert mean_light(tmp_path / "a.mp4") == mean_light(tmp_path / "b.mp4")


def test_a_template_keeps_the_tensors_of_its_system(
    tint: object, weights: Path, small_portrait: Path, dimming: Path, tmp_path: Path
) -> None:
    made = template(
        dimming, tmp_path / "d.motion.safetensors", TemplateOptions(system="tint", weights=weights, consent="mine")
    ).output
    assert template_info(made).system == "tint"
    kept = load_template(made, Tint, system="tint", weights=mark_of(load("tint", weights=weights)[1]))
    assert kept.colour.shape == (CHUNK + 4, 3)
    options = AnimateOptions(system="tint", weights=weights, crop=True, device="cpu")
    from_video = mean_light(animate(small_portrait, dimming, tmp_path / "v.mp4", options).output)
    from_template = mean_light(animate(small_portrait, made, tmp_path / "t.mp4", options).output)
    assert from_template == pytest.approx(from_video, abs=0.5)
    animate(small_portrait, made, tmp_path / "m.mp4", AnimateOptions(system="meshwarp", device="cpu"))
    others = fake_system.write_weights(tmp_path / "other.safetensors", gain=2.0)
    with pytest.raises(InputError, match=r"d\.motion\.safetensors was made with other weights of tint"):
        animate(small_portrait, made, tmp_path / "o.mp4", replace(options, weights=others))


def test_motions_without_pictures_are_refused_in_a_sentence(
    tint: object, weights: Path, small_portrait: Path, sentence: Path, tmp_path: Path
) -> None:
    options = AnimateOptions(system="tint", weights=weights, device="cpu")
    with pytest.raises(InputError, match=r"nod is a motion without pictures.*--system tint"):
        animate(small_portrait, "builtin:nod", tmp_path / "out.mp4", options)
    with pytest.raises(InputError, match=r"sentence.*made for the system 'any', not 'tint'"):
        animate(small_portrait, sentence, tmp_path / "out.mp4", options)
    assert list(tmp_path.iterdir()) == []


def test_a_template_that_lacks_a_tensor_is_refused(tint: object, sentence: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.motion.safetensors"
    save_template(path, load_template(sentence), origin="made", consent="nobody", system="tint")
    performance = open_driving(path, tracker=load_tracker("cpu"))
    with pytest.raises(InputError, match=r"half\.motion.*lacks colour"):
        encode_motion(SYSTEMS["tint"], Model(Config()), performance, performance.params)


def test_edits_reach_a_system_that_looks_at_pictures(tint: object, small_portrait: Path) -> None:
    """The mesh warp draws the edit; the system's own tensors change by what it did to the picture."""
    sitter = sitter_of("face", read_image(small_portrait), tracker=load_tracker("cpu"))
    portrait = portrait_of(sitter)
    edits = [Edit(), Edit(mouth_open=1.0)]
    params = FaceParams.cat([apply_edit(portrait.params, edit) for edit in edits])
    driving = encode_params(SYSTEMS["tint"], Model(Config()), portrait, params, (Fraction(0), Fraction(1)))
    assert isinstance(driving, Tint)
    assert len(driving) == 2
    assert float(driving.colour[0].abs().max()) < 1e-3
    assert float(driving.colour[1].abs().max()) > 1e-3


def test_evaluation_goes_the_same_way(
    tint: object, weights: Path, small_portrait: Path, performance: Performance
) -> None:
    (entrant,) = load_entrants(["tint"], device=torch.device("cpu"), weights=[weights])
    sitter = sitter_of("face", read_image(small_portrait), tracker=load_tracker("cpu"))
    options = AnimateOptions(reference=0, smooth=0.0, device="cpu")
    first, last = reenact(entrant, sitter, performance, [0, len(performance) - 1], options=options, cost=Cost())
    assert float(first.mean()) > float(last.mean()) + 5
    still = sitter.faces[0].params
    (same,) = render_motion(entrant, sitter, still, [Fraction(0)], cost=Cost())
    assert sitter.picture is not None
    assert np.abs(same.astype(int) - sitter.picture.astype(int)).mean() < 2  # what cutting out and pasting cost
