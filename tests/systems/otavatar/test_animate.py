"""From a photo and a motion to frames: framing, inversion that is kept and goes on, windows, identities in between."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from portrayal.data.shot import Shot
from portrayal.errors import InputError
from portrayal.media.head import head_mask, pixel_centres
from portrayal.media.image import to_uint8
from portrayal.motion.edit import apply_edit
from portrayal.motion.options import RetargetOptions
from portrayal.systems import otavatar
from portrayal.systems.otavatar import animate
from portrayal.systems.otavatar.avatar import OtavatarSource
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.controller import LAST_GAIN
from portrayal.systems.otavatar.frames import frame_face
from portrayal.systems.otavatar.model import Otavatar
from portrayal.types import Edit, FaceClip, FaceParams, Portrait
from tests.systems.conftest import mean_params

TINY = Config.tiny()
STEPS = TINY.decouple.identity_steps + TINY.decouple.motion_steps


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PORTRAYAL_WEIGHTS", str(tmp_path))
    return tmp_path / "avatars"


@pytest.fixture
def model() -> Otavatar:
    """With a controller whose codes can be seen; a new one has almost none."""
    torch.manual_seed(0)
    model = animate.build(TINY).eval()
    with torch.no_grad():
        for name, parameter in model.controller.named_parameters():
            if name.endswith("weight"):
                parameter.div_(LAST_GAIN)
    return model


def clip_of(params: FaceParams) -> FaceClip:
    return FaceClip(torch.empty(len(params), 3, 0, 0), params, tuple(Fraction(i, 25) for i in range(len(params))))


def moved(portrait: Portrait, *edits: Edit) -> FaceParams:
    return FaceParams.cat([apply_edit(portrait.params, edit) for edit in edits])


@torch.no_grad()
def frames_of(model: Otavatar, source: OtavatarSource, driving: animate.OtavatarDriving) -> Tensor:
    return torch.cat(list(animate.render(model, source, driving)))


@torch.no_grad()
def distance(model: Otavatar, source: OtavatarSource) -> float:
    """Of the face at rest from the framed photo."""
    faces = animate.framed(model, source.portrait)
    ws = model.latents(source.identity, faces.window)
    generator = animate.generator_of(model, source)
    return float((generator(ws, animate.bias_intrinsics(faces.camera, source.bias)) - faces.picture).abs().mean())


def test_a_photo_begins_as_the_average_person(model: Otavatar, portrait: Portrait) -> None:
    source = animate.encode_source(model, portrait)
    assert source.identity.shape == (1, model.generator.layers, 16)
    assert torch.equal(source.identity[0, 3], model.generator.w_mean)
    assert source.notes() == ()
    with pytest.raises(ValueError, match="portrait must be one square"):
        animate.encode_source(model, Portrait(torch.rand(1, 3, 64, 48), mean_params(64)))


def test_a_photo_is_framed_as_the_training_frames_it(model: Otavatar, portrait: Portrait) -> None:
    faces = animate.framed(model, portrait)
    shot = Shot.of(to_uint8(portrait.image)[0], portrait.params, 0, side=256)
    face, camera = frame_face(shot, 32)
    torch.testing.assert_close(faces.camera[0], camera)
    torch.testing.assert_close(faces.landmarks[0], torch.from_numpy(face.landmarks[:, :2]), atol=1e-3, rtol=0)
    same_way = torch.from_numpy(face.picture).permute(2, 0, 1).float() / 127.5 - 1
    for shift in ((0, 1), (1, 0)):  # a pixel beside it would be less like
        beside = same_way.roll(shift, (1, 2))
        assert float((faces.picture[0] - same_way).abs().mean()) < 0.7 * float((faces.picture[0] - beside).abs().mean())
    assert faces.window.shape == (1, 73, 27)
    assert torch.equal(faces.window[..., :1].expand(-1, -1, 27), faces.window)


def test_no_pixel_of_a_large_photo_is_skipped(model: Otavatar, portrait: Portrait) -> None:
    board = (torch.arange(256)[:, None] + torch.arange(256)).remainder(2).float().expand(1, 3, -1, -1)
    picture = animate.framed(model, Portrait(board, portrait.params)).picture
    assert float(picture.abs().max()) < 0.1, "black and white squares of one pixel are grey"


def test_inversion_comes_nearer_and_is_done_once(model: Otavatar, portrait: Portrait, folder: Path) -> None:
    before = {name: x.clone() for name, x in model.state_dict().items()}
    calls: list[tuple[str, int, int | None]] = []
    source = animate.encode_source(model, portrait)
    tuned = animate.tune_source(model, source, progress=lambda *about: calls.append(about))
    assert distance(model, tuned) < distance(model, replace(tuned, tuned={})) < distance(model, source)
    assert calls[:STEPS] == [("finding the identity", i, STEPS) for i in range(1, STEPS + 1)]
    assert calls[STEPS:] == [("tuning the generator", i, 4) for i in range(1, 5)]
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items()), "the model stays as it is"
    assert [path.name.endswith(".avatar.safetensors") for path in folder.iterdir()] == [True]

    calls.clear()
    again = animate.tune_source(model, source, progress=lambda *about: calls.append(about))
    assert calls == [("finding the identity", 1, 1)]
    same(again, tuned)
    other = animate.encode_source(model, Portrait(portrait.image * 0.9, portrait.params))
    animate.tune_source(model, other)
    assert len(list(folder.iterdir())) == 2


def same(one: OtavatarSource, other: OtavatarSource) -> None:
    assert torch.equal(one.identity, other.identity)
    assert torch.equal(one.bias, other.bias)
    assert one.tuned.keys() == other.tuned.keys()
    assert all(torch.equal(x, other.tuned[name]) for name, x in one.tuned.items())


def stop_at(stage: str, step: int) -> Callable[..., None]:
    def stop(name: str, done: int, total: int | None) -> None:
        if (name, done) == (stage, step):
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize(("stage", "step", "left"), [("finding the identity", 4, 2), ("tuning the generator", 3, 1)])
def test_an_interrupted_inversion_goes_on(
    model: Otavatar, portrait: Portrait, folder: Path, stage: str, step: int, left: int
) -> None:
    source = animate.encode_source(model, portrait)
    with pytest.raises(KeyboardInterrupt):
        animate.tune_source(model, source, progress=stop_at(stage, step))
    assert all(path.name.endswith(".part.safetensors") for path in folder.iterdir())
    calls: list[str] = []
    rest = animate.tune_source(model, source, progress=lambda name, done, total: calls.append(name))
    assert calls.count(stage) < {"finding the identity": STEPS, "tuning the generator": 4}[stage]
    assert [path.name.endswith(".avatar.safetensors") for path in folder.iterdir()] == [True]
    next(folder.iterdir()).unlink()
    same(rest, animate.tune_source(model, source))


def test_a_damaged_avatar_is_made_again(model: Otavatar, portrait: Portrait, folder: Path) -> None:
    source = animate.encode_source(model, portrait)
    first = animate.tune_source(model, source)
    next(folder.iterdir()).write_bytes(b"cut off")
    same(animate.tune_source(model, source), first)


def with_settings(model: Otavatar, *, identity_rate: float = 0.01, tuning_rate: float = 3e-4) -> None:
    decouple = replace(TINY.decouple, identity_rate=identity_rate, clamp=None)
    model.config = replace(TINY, decouple=decouple, avatar=replace(TINY.avatar, tuning_rate=tuning_rate))


def test_a_tuning_that_diverges_is_left_out_and_said(model: Otavatar, portrait: Portrait) -> None:
    with_settings(model, tuning_rate=1e30)
    found = animate.tune_source(model, animate.encode_source(model, portrait))
    assert found.tuned == {}
    assert [note.startswith("tuning the generator to the photo diverged twice") for note in found.notes()] == [True]


def test_an_inversion_that_diverges_is_an_error(model: Otavatar, portrait: Portrait, folder: Path) -> None:
    with_settings(model, identity_rate=math.inf)
    with pytest.raises(InputError, match="the inversion of the face diverged twice; check that the face"):
        animate.tune_source(model, animate.encode_source(model, portrait))


def test_a_later_frame_of_a_video_takes_the_avatar_over(model: Otavatar, portrait: Portrait) -> None:
    first = animate.tune_source(model, animate.encode_source(model, portrait))
    other = Portrait(portrait.image.flip(0) * 0.9, portrait.params)
    later = animate.tune_source(model, animate.encode_source(model, other), previous=first)
    same(later, first)
    assert later.portrait is other


def test_a_frame_knows_its_neighbours(model: Otavatar, portrait: Portrait) -> None:
    """In a motion a frame's window is that of the frames around it, wherever it is picked; alone it stands still."""
    edits = [Edit(mouth_open=0.1 * i, smile=0.05 * i) for i in range(9)]
    alone = animate.encode_driving(model, clip_of(moved(portrait, *edits)))
    assert alone.window.shape == (9, 73, 1)
    whole = animate.retarget_codes(alone, RetargetOptions(reference=0))
    assert whole.window.shape == (9, 73, 27)
    torch.testing.assert_close(whole.window[4, :, 13], alone.window[4, :, 0])
    torch.testing.assert_close(whole.window[4, :, 10:17], alone.window[1:8, :, 0].T)
    torch.testing.assert_close(whole.window[4, :, 0], alone.window[0, :, 0])
    source = animate.encode_source(model, portrait)
    frames = frames_of(model, source, whole)
    torch.testing.assert_close(frames_of(model, source, whole.pick([6, 2])), frames[[6, 2]])
    assert float((frames_of(model, source, alone.pick([6])) - frames[6:7]).abs().max()) > 1e-3


def test_the_last_latents_can_stay_the_photos(model: Otavatar, portrait: Portrait, folder: Path) -> None:
    """With `steady` an expression changes the others alone, and the avatar is the same."""
    source = animate.encode_source(model, portrait)
    params = moved(portrait, Edit(smile=1.0), Edit())
    driving = animate.retarget_codes(animate.encode_driving(model, clip_of(params)), RetargetOptions())
    key = animate.avatar_key(model, animate.framed(model, portrait))
    all_move = animate.latents_of(model, source, driving, animate.still_latents(model, source))
    model.config = replace(model.config, avatar=replace(model.config.avatar, steady=2))
    held = animate.latents_of(model, source, driving, animate.still_latents(model, source))
    assert torch.equal(held[:, :-2], all_move[:, :-2])
    own = model.latents(source.identity, animate.framed(model, portrait).window)
    torch.testing.assert_close(held[:, -2:], own[:, -2:].expand(2, -1, -1), atol=1e-4, rtol=1e-4)
    assert (all_move[0, -2:] - own[0, -2:]).abs().max() > 1e-3
    assert animate.avatar_key(model, animate.framed(model, portrait)) == key


def test_windows_follow_the_face_that_is_moved(model: Otavatar, portrait: Portrait) -> None:
    """What is encoded of the driving clip is forgotten once `params` are on the source."""
    driving = animate.encode_driving(model, clip_of(moved(portrait, Edit(), Edit(yaw=0.4))))
    onto = replace(driving, params=moved(portrait, Edit(pitch=0.1), Edit(pitch=0.1, yaw=0.2)))
    window = animate.retarget_codes(onto, RetargetOptions(reference=0)).window
    torch.testing.assert_close(window[1, 64, 13:15], torch.full((2,), 0.2), atol=1e-3, rtol=0)
    torch.testing.assert_close(window[1, 64, :13], torch.zeros(13), atol=1e-3, rtol=0)


def test_the_head_goes_where_the_motion_says_and_the_rest_stays(model: Otavatar, portrait: Portrait) -> None:
    source = animate.encode_source(model, portrait)
    driving = animate.encode_driving(model, clip_of(moved(portrait, Edit(), Edit(shift=(0.2, 0.0)))))
    still, shifted = frames_of(model, source, replace(driving, window=driving.window[[0, 0]]))
    eyes = portrait.params.landmarks[0, [33, 263], :2]
    pixels = round(0.2 * float((eyes[0] - eyes[1]).norm()))
    x, y = (int(v) for v in portrait.params.landmarks[0, 1, :2])
    near = slice(y - 20, y + 20)
    back = shifted[:, near, x - 20 + pixels : x + 20 + pixels]
    assert float((back - still[:, near, x - 20 : x + 20]).abs().mean()) < 0.01
    torch.testing.assert_close(still[:, :, :6], portrait.image[0, :, :, :6], atol=1e-5, rtol=0)
    torch.testing.assert_close(shifted[:, :2], portrait.image[0, :, :2], atol=1e-3, rtol=0)
    model.config = replace(model.config, avatar=replace(model.config.avatar, detail=False))
    bare = frames_of(model, source, driving[:1])[0]
    generated, detailed = ((f - portrait.image[0])[:, near, x - 20 : x + 20].abs().mean() for f in (bare, still))
    assert float(generated) > 0.05
    assert float(detailed) < 0.01, "with the photo's detail a face that does not move is the photo's"


def test_the_size_of_the_photo_does_not_matter(model: Otavatar, portrait: Portrait) -> None:
    """The same photo with a third of the pixels, and the same motion in its pixels."""
    small = Portrait(torch.nn.functional.interpolate(portrait.image, (96, 96), mode="area"), mean_params(96))
    codes = []
    for one in (portrait, small):
        driving = animate.encode_driving(model, clip_of(moved(one, Edit(yaw=0.3, mouth_open=0.5))))
        sitter = animate.encode_source(model, one)
        codes.append(animate.latents_of(model, sitter, driving, animate.still_latents(model, sitter)))
    torch.testing.assert_close(*codes, atol=1e-3, rtol=1e-3)


def test_identities_in_between(model: Otavatar, portrait: Portrait) -> None:
    one = animate.tune_source(model, animate.encode_source(model, portrait))
    other = animate.encode_source(model, Portrait(portrait.image.flip(1), portrait.params))
    other = replace(other, identity=other.identity + 1)  # and with the model's own generator
    driving = animate.encode_driving(model, clip_of(portrait.params))
    start, middle, end = (otavatar.interpolate_identity(model, one, other, share) for share in (0.0, 0.5, 1.0))
    torch.testing.assert_close(middle.identity, (one.identity + other.identity) / 2)
    torch.testing.assert_close(end.identity, other.identity)
    assert all(x.portrait is portrait for x in (start, middle, end))
    torch.testing.assert_close(frames_of(model, start, driving), frames_of(model, one, driving))
    as_other = replace(other, portrait=portrait, gone=1.0)
    torch.testing.assert_close(frames_of(model, end, driving), frames_of(model, as_other, driving), atol=1e-4, rtol=0)


def test_what_stays_the_photos_has_no_depth(model: Otavatar, portrait: Portrait) -> None:
    """Without `AvatarConfig.detail`, which moves the photo's own pixels around the square, too."""
    model.config = replace(model.config, avatar=replace(model.config.avatar, detail=False))
    source = animate.encode_source(model, portrait)
    driving = animate.encode_driving(model, clip_of(moved(portrait, Edit(yaw=0.2), Edit(shift=(0.2, 0.0)))))
    with torch.no_grad():
        seen = list(animate.render_depth(model, source, driving))
    frames = frames_of(model, source, driving)
    beside = head_mask(portrait.params, pixel_centres(portrait.image.shape[2:], portrait.image.device))[0] == 0
    x, y = (int(v) for v in portrait.params.landmarks[0, 1, :2])
    for depth, frame in zip(seen, frames, strict=True):
        assert depth.nearness.shape == depth.opacity.shape == (1, 1, 256, 256)
        untouched = (depth.opacity[0, 0] == 0) & beside  # where the photo's own head was, it is filled in
        assert bool(untouched[0, 0])
        assert torch.equal(frame[:, untouched], portrait.image[0][:, untouched])
        limits = model.config.generator.rays.limits
        assert limits is not None
        assert abs(float(depth.nearness[0, 0, y, x])) < limits[1] - limits[0]
    assert float(seen[0].opacity[0, 0, y, x]) > 0


def test_layers_follow_the_head_and_leave_its_old_place(model: Otavatar, portrait: Portrait) -> None:
    source = animate.encode_source(model, portrait)
    driving = animate.encode_driving(model, clip_of(moved(portrait, Edit(), Edit(shift=(1.0, 0.0)))))
    frames = frames_of(model, source, driving)
    with torch.no_grad():
        still, shifted = animate.render_layers(model, source, driving)
    assert still.picture.shape == (1, 3, 256, 256)
    assert still.opacity.shape == (1, 1, 256, 256)
    x, y = (int(v) for v in portrait.params.landmarks[0, 1, :2])
    near = np.s_[0, :, y - 10 : y + 10, x - 10 : x + 10]
    torch.testing.assert_close(still.picture[near], frames[near], atol=1e-4, rtol=0)
    left = (0, 0, y, int(portrait.params.landmarks[0, :, 0].min()))
    assert float(still.opacity[left]) > 5 * float(shifted.opacity[left])
    for layer in (still, shifted):
        assert 0 < float(layer.opacity.max()) <= 1
        assert float(layer.opacity[..., :4, :].max()) == 0, "the border of the portrait"
