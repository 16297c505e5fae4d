"""Crops with room for a motion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from portrayal.animation import animate
from portrayal.face.tracker import load_tracker
from portrayal.media.crop import points_to_picture
from portrayal.media.video import read_frames
from portrayal.motion.template import load_template, save_template
from portrayal.options import AnimateOptions
from portrayal.rendering import Renderer
from portrayal.room import FREE, GROWTH, make_room
from portrayal.source import Sitter, open_source, portrait_of
from portrayal.types import Driving, FaceParams, Source
from tests import fake_system


@pytest.fixture(scope="module")
def sitter(small_portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Sitter:
    """Two faces in one picture."""
    canvas = Image.new("RGB", (560, 400), (60, 70, 90))
    for x in (0, 300):
        canvas.paste(Image.open(small_portrait), (x, 80))
    path = tmp_path_factory.mktemp("two") / "two.png"
    canvas.save(path)
    return open_source(path, tracker=load_tracker("cpu"), face="all", size=None, crop=False)


def motion(params: FaceParams, *shifts: tuple[float, float]) -> Driving:
    """The face that many pixels of its crop away, a frame for each."""
    by = torch.tensor(shifts)
    moved = params[[0] * len(shifts)]
    moved = moved.replace(
        landmarks=moved.landmarks + torch.cat([by, torch.zeros(len(by), 1)], 1)[:, None],
        translation=moved.translation + torch.cat([by, torch.zeros(len(by), 1)], 1),
    )
    return Driving(moved, tuple(range(len(shifts))))


def test_a_motion_in_its_place_changes_nothing(sitter: Sitter) -> None:
    size = sitter.faces[0].crop.size
    still = [motion(face.params, (0, 0), (0.9 * FREE * size, 0), (0, -0.9 * FREE * size)) for face in sitter.faces]
    same, drivings = make_room(sitter, still)
    assert same is sitter
    assert all(a is b for a, b in zip(drivings, still, strict=True))


@pytest.mark.parametrize("way", [(0.25, 0.0), (-0.2, 0.1), (0.0, -0.3), (0.0, 0.2)])
def test_a_crop_grows_to_where_its_face_goes_and_the_picture_stays(sitter: Sitter, way: tuple[float, float]) -> None:
    first, second = sitter.faces
    size = first.crop.size
    shift = (way[0] * size, way[1] * size)
    drivings = [motion(first.params, (0, 0), shift), motion(second.params, (0, 0), (0, 0))]
    roomy, (moved, other) = make_room(sitter, drivings)
    grown, neighbour = roomy.faces
    assert neighbour.crop is second.crop
    assert other.params is drivings[1].params
    ratio = (grown.crop.size / grown.crop.scale) / (size / first.crop.scale)
    assert 1 < ratio <= GROWTH + 1e-6
    for params, crop, truth in (
        (grown.params, grown.crop, points_to_picture(first.params.landmarks, first.crop)),
        (moved.params, grown.crop, points_to_picture(drivings[0].params.landmarks, first.crop)),
    ):
        torch.testing.assert_close(points_to_picture(params.landmarks, crop), truth, atol=0.01, rtol=0)
    if ratio < GROWTH - 1e-6:  # as much beside the face as before, but for what is free
        side = grown.crop.size
        edge = torch.cat([moved.params.landmarks[..., :2], side - moved.params.landmarks[..., :2]], -1).amin((0, 1))
        own = torch.cat([first.params.landmarks[..., :2], size - first.params.landmarks[..., :2]], -1).amin((0, 1))
        assert bool((edge / grown.crop.scale >= (own - FREE * size) / first.crop.scale - 1).all())
    assert grown.mask.shape == (grown.crop.size,) * 2
    assert float(grown.mask[0].max()) == float(grown.mask[:, -1].max()) == 0


def test_a_face_that_is_encoded_keeps_its_crop(sitter: Sitter, small_portrait: Path) -> None:
    face = replace(sitter.faces[0], encoded=Source(portrait_of(sitter)))
    one = replace(sitter, faces=(face,))
    roomy, _ = make_room(one, [motion(face.params, (0, 0), (0, -0.3 * face.crop.size))])
    assert roomy is one


def test_a_head_that_rises_keeps_its_hair(tmp_path: Path, portrait: np.ndarray, sentence: Path) -> None:
    """It leaves the square that is usually around it, and would fade away at its border."""
    picture = np.pad(portrait, ((160, 0), (0, 0), (0, 0)), mode="edge")
    Image.fromarray(picture).save(tmp_path / "p.png")
    driving = load_template(sentence)[:3]
    rise = torch.tensor([[0.0, 0, 0], [0, -0.9, 0], [0, -0.9, 0]]) * driving.params.scale[:, None]
    params = driving.params[[0, 0, 0]]
    params = params.replace(translation=params.translation + rise, landmarks=params.landmarks + rise[:, None])
    save_template(
        tmp_path / "rise.motion.safetensors", Driving(params, driving.times), origin="made", consent="nobody's face"
    )
    options = AnimateOptions(system="meshwarp", smooth=0.0, reference=0)
    done = animate(tmp_path / "p.png", tmp_path / "rise.motion.safetensors", tmp_path / "out.mp4", options)
    frames = [frame.image for frame in read_frames(done.output)]
    before, after = (load_tracker("cpu").track_picture(f)[0].landmarks[0, :, :2] for f in (frames[0], frames[-1]))
    x, top, chin = (int(v) for v in (before[10, 0], before[10, 1], before[152, 1]))
    risen = round(float((before - after)[:, 1].mean()))
    assert risen > 0.25 * (chin - top)
    rows = slice(top - (chin - top) // 3, top - (chin - top) // 6)
    hair, moved = (
        f[rows.start - by : rows.stop - by, x - 20 : x + 20].astype(float)
        for f, by in ((frames[0], 0), (frames[-1], risen))
    )
    assert np.abs(hair - moved).mean() < 12


def test_what_is_tuned_once_is_the_same_for_every_motion(sitter: Sitter) -> None:
    """The optimisation is kept on the disk by its portrait, which must not depend on the room of a motion."""
    one, seen = replace(sitter, faces=sitter.faces[:1]), []
    system = fake_system.system()
    system.CAPABILITIES = system.CAPABILITIES | {"tuning"}

    def tune_source(model: object, source: Source, **how: object) -> Source:
        seen.append(source.portrait)
        return source

    system.tune_source = tune_source
    model = system.build(system.Config.tiny())
    size = one.faces[0].crop.size
    for rise in (0.2, 0.3):
        roomy, _ = make_room(one, [motion(one.faces[0].params, (0, 0), (0, -rise * size))])
        source = Renderer(system, model, roomy, None).source_of(0)
        torch.testing.assert_close(source.portrait.image, portrait_of(roomy).image)
        torch.testing.assert_close(source.portrait.params.landmarks, roomy.faces[0].params.landmarks)
    assert torch.equal(seen[0].image, seen[1].image)
    torch.testing.assert_close(seen[0].image, portrait_of(one).image)
