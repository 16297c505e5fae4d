"""From a portrait to w+ and back: framing, tuning and its cache, p and its limits, single directions, placing."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from portrayal.media.head import pixel_centres
from portrayal.media.overlay import Overlay, square_coordinates
from portrayal.motion.edit import apply_edit
from portrayal.systems import directions
from portrayal.systems.directions import animate
from portrayal.systems.directions.animate import DirectionsDriving
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.faces import frame_squares
from portrayal.systems.directions.limits import REACH
from portrayal.systems.directions.model import Directions
from portrayal.systems.directions.net3d import pose_vector
from portrayal.systems.directions.pose import RELEASED_RANGES
from portrayal.types import Edit, FaceClip, FaceParams, Portrait
from tests.systems.conftest import mean_params


@pytest.fixture
def model() -> Directions:
    torch.manual_seed(0)
    model = directions.build(Config.tiny()).eval()
    model.poses.ranges.copy_(torch.tensor([[-0.5, 0.5]] * 3 + [[-2.0, 2.0]] * 12))
    return model


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PORTRAYAL_WEIGHTS", str(tmp_path))
    return tmp_path


def moved(portrait: Portrait, *edits: Edit) -> DirectionsDriving:
    params = FaceParams.cat([apply_edit(portrait.params, edit) for edit in edits])
    times = tuple(Fraction(i, 25) for i in range(len(edits)))
    return animate.encode_driving(
        directions.build(Config.tiny()), FaceClip(torch.empty(len(edits), 3, 0, 0), params, times)
    )


@torch.no_grad()
def test_the_source_itself_is_not_moved(model: Directions, portrait: Portrait) -> None:
    source = animate.encode_source(model, portrait)
    driving = moved(portrait, Edit(), Edit(yaw=0.2))
    change = animate.change_of(model, source, driving)
    torch.testing.assert_close(change[0], torch.zeros(15), atol=1e-4, rtol=0)
    assert float(change[1, 0]) == pytest.approx(0.2 / 0.5 * 6, abs=1e-3), "rescaled to [-a, a]"
    assert float(change[1, 1:3].abs().max()) < 1e-3


@torch.no_grad()
def test_with_its_detail_a_portrait_that_stands_still_is_the_portrait(model: Directions, portrait: Portrait) -> None:
    source, driving = animate.encode_source(model, portrait), moved(portrait, *[Edit()] * 3, Edit(yaw=0.3))
    frames = torch.cat(list(animate.render(model, source, driving)))
    torch.testing.assert_close(frames[:3], portrait.image.expand(3, -1, -1, -1), atol=0.02, rtol=0)
    assert float((frames[3] - portrait.image[0]).abs().mean()) > 0.01
    model.config = replace(model.config, directions=replace(model.config.directions, detail=False))
    bare = torch.cat(list(animate.render(model, source, driving)))
    assert bare.shape == frames.shape
    assert float((bare[0] - portrait.image[0]).abs().mean()) > 0.05


@torch.no_grad()
def test_a_code_is_moved_to_the_pose_of_its_portrait(
    model: Directions, portrait: Portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = animate.encode_source(model, portrait)
    turned = apply_edit(portrait.params, Edit(yaw=-0.2))
    monkeypatch.setattr(animate, "net3d", lambda device: lambda pictures: turned)
    model.config = replace(model.config, directions=replace(model.config.directions, corrected=True))
    source = animate.encode_source(model, portrait)
    change = animate.limited_change(model, pose_vector(turned, 12), plain.pose)
    assert float(change[0, 0]) == pytest.approx(0.2 / 0.5 * 6, abs=1e-3)
    torch.testing.assert_close(source.w_plus, model.matrix.move(plain.w_plus, change))
    torch.testing.assert_close(source.pose, plain.pose)


@torch.no_grad()
def test_no_element_goes_far_beyond_what_was_learned(model: Directions, portrait: Portrait) -> None:
    source = animate.encode_source(model, portrait)
    yaw = float(source.pose[0, 0])
    change = animate.change_of(model, source, moved(portrait, Edit(yaw=1.2), Edit(yaw=-1.2)))
    assert change[:, 0].tolist() == pytest.approx([(1.0 - yaw) * 12, (-1.0 - yaw) * 12], abs=1e-3)
    outside = replace(source, pose=source.pose + 2)
    assert float(animate.change_of(model, outside, moved(portrait, Edit()))[0, 0]) > -24 - 1e-3


@torch.no_grad()
def test_a_large_change_of_the_expression_bends(model: Directions, portrait: Portrait) -> None:
    source = animate.encode_source(model, portrait)
    driving = moved(portrait, Edit())
    lengths = []
    for size in (1.0, 3.0, 100.0):
        params = driving.params.replace(expression=driving.params.expression + size * torch.eye(64)[:1])
        lengths.append(float(animate.change_of(model, source, replace(driving, params=params))[0, 3:].norm()))
    assert lengths[0] == pytest.approx(3.0, abs=1e-3), "12 over a range of 4"
    assert 7 < lengths[1] < 9
    assert lengths[2] == pytest.approx(REACH, abs=1e-3)


@torch.no_grad()
def test_a_released_a_bends_evenly(model: Directions) -> None:
    """Its coefficients are DECA's, whose shapes are not known here."""
    d = replace(model.config.directions, convention="released", detail=False)
    model.config = replace(model.config, directions=d)
    far = 100 * torch.randn(2, 15)
    change = animate.limited_change(model, torch.zeros(1, 15), far)[:, 3:]
    torch.testing.assert_close(F.normalize(change, dim=1), F.normalize(far[:, 3:], dim=1), atol=1e-4, rtol=0)


def test_tuning_draws_the_portrait_and_is_kept(model: Directions, portrait: Portrait, folder: Path) -> None:
    with torch.no_grad():
        source = animate.encode_source(model, portrait)
        calls: list[tuple[int, int]] = []
        tuned = animate.tune_source(model, source, progress=lambda _, done, total: calls.append((done, total or 0)))
        again = animate.tune_source(model, source)
        picture = animate.framed(model, portrait).as_input()
        before, after = (
            float((animate.synthesis_of(model, s)(s.w_plus) - picture).square().mean()) for s in (source, tuned)
        )
    assert after < before
    assert calls == [(i, 12) for i in range(1, 13)]
    assert len(list((folder / "tuned").glob("*.safetensors"))) == 1
    assert torch.equal(tuned.w_plus, source.w_plus), "the pivot stays"
    assert all(torch.equal(x, again.tuned[name]) for name, x in tuned.tuned.items())
    assert not any(x.requires_grad for x in tuned.tuned.values())


@torch.no_grad()
def test_a_later_frame_of_a_video_takes_the_tuning_over(model: Directions, portrait: Portrait) -> None:
    first = animate.tune_source(model, animate.encode_source(model, portrait))
    other = Portrait(portrait.image.flip(0) * 0.9, portrait.params)
    source = animate.encode_source(model, other)
    later = animate.tune_source(model, source, previous=first)
    assert later.tuned is first.tuned
    assert torch.equal(later.w_plus, source.w_plus)


@torch.no_grad()
def test_without_steps_nothing_is_tuned(model: Directions, portrait: Portrait) -> None:
    model.config = replace(model.config, tuning=replace(model.config.tuning, steps=0))
    source = animate.encode_source(model, portrait)
    assert animate.tune_source(model, source) is source
    assert animate.synthesis_of(model, source) is model.generator.synthesis


@torch.no_grad()
def test_single_directions(model: Directions, portrait: Portrait) -> None:
    names = animate.direction_names(model)
    assert names[:4] == ("yaw", "pitch", "roll", "expression-1")
    assert len(names) == 15
    source = animate.encode_source(model, portrait)
    driving = animate.move_along(model, source, "expression-2", torch.tensor([-1.0, 0.0, 1.0]))
    change = animate.change_of(model, source, driving)
    assert change[:, 4].tolist() == pytest.approx([-6, 0, 6], abs=1e-4)
    assert float(change[:, [0, 1, 2, 3, 5]].abs().max()) < 1e-4
    frames = torch.cat(list(animate.render(model, source, driving)))
    assert float((frames[0] - frames[2]).abs().mean()) > 1e-4


@torch.no_grad()
def test_a_face_is_drawn_where_the_direction_takes_it(model: Directions, portrait: Portrait) -> None:
    """The portrait moves around it, too: p of what is shown is the portrait's and the change."""
    source = animate.encode_source(model, portrait)
    for name in ("yaw", "roll", "expression-3"):
        driving = animate.move_along(model, source, name, torch.tensor([0.0, 0.2]))
        shown = animate.shown_params(model, driving)
        added = animate.pose_of(model, shown) - animate.pose_of(model, driving.params)
        torch.testing.assert_close(added, model.poses.unscaled(driving.change, a=6.0), atol=1e-2, rtol=0)
        moved = (shown.landmarks - portrait.params.landmarks).norm(dim=-1).mean(1)
        assert float(moved[0]) < 0.01
        assert float(moved[1]) > 0.05
    released = replace(model.config.directions, convention="released", detail=False)
    model.config = replace(model.config, directions=released)
    assert animate.shown_params(model, driving) is driving.params


def test_forward_is_the_figure(model: Directions, portrait: Portrait) -> None:
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    pose = pose_vector(portrait.params[[0, 0]], 12)
    same = model(image, pose, pose)
    torch.testing.assert_close(same, model.generator.synthesis(model.encoder(image).float()))
    assert float((model(image, pose, pose + 0.3) - same).detach().abs().mean()) > 1e-4


def test_the_portrait_must_be_square(model: Directions) -> None:
    with pytest.raises(ValueError, match="portrait must be one square"):
        animate.encode_source(model, Portrait(torch.rand(1, 3, 64, 48), mean_params(64)))


def test_a_face_is_laid_where_its_frame_is(portrait: Portrait) -> None:
    """A ramp over the frame comes out as the frame's coordinates, on the head; away from it the portrait stays."""
    s = 64
    ramp = ((torch.arange(s) + 0.5) / s).expand(s, s)
    face = torch.stack([ramp, ramp.mT, torch.zeros(s, s)])[None]
    params = apply_edit(portrait.params, Edit(shift=(0.2, 0.1), zoom=1.1))
    squares = frame_squares(params, upright=True)
    overlay = Overlay(portrait)
    laid = overlay.blend(overlay.place(face, squares), params, squares)
    places = pixel_centres(portrait.image.shape[2:], torch.device("cpu"))
    inside = square_coordinates(squares, places)[0]
    middle = params.landmarks[0, 1, :2].round().int().tolist()  # tip of the nose
    x, y = middle
    expected = (inside[y, x] + 1) / 2
    torch.testing.assert_close(laid[0, :2, y, x], expected, atol=0.02, rtol=0)
    assert torch.equal(laid[0, :, :, :4], portrait.image[0, :, :, :4]), "the border is the portrait's"


@torch.no_grad()
def test_frames_follow_the_face_through_the_picture(model: Directions, portrait: Portrait) -> None:
    source = animate.encode_source(model, portrait)
    still, shifted = torch.cat(list(animate.render(model, source, moved(portrait, Edit(), Edit(shift=(0.3, 0.0))))))
    pixels = round(0.3 * float((portrait.params.landmarks[0, 33] - portrait.params.landmarks[0, 263]).norm()))
    x, y = (int(v) for v in portrait.params.landmarks[0, 1, :2])
    near = slice(y - 20, y + 20)
    back = shifted[:, near, x - 20 + pixels : x + 20 + pixels]
    assert float((back - still[:, near, x - 20 : x + 20]).abs().mean()) < 0.02


@torch.no_grad()
def test_a_released_matrix_reads_degrees_and_decas_numbers(portrait: Portrait) -> None:
    config = replace(Config.tiny(), directions=Config.released().directions)
    model = directions.build(replace(config, directions=replace(config.directions, layers=8))).eval()
    model.poses.ranges.copy_(torch.tensor(RELEASED_RANGES))
    assert model.matrix.linear.bias is not None
    source = animate.encode_source(model, portrait)
    driving = moved(portrait, Edit(yaw=math.radians(10)), Edit(mouth_open=1.0))
    change = animate.change_of(model, source, driving)
    assert change[0].tolist() == pytest.approx([-10 * 6 / 40, *[0.0] * 14], abs=1e-2), "yaw has the other sign there"
    assert float(change[1].abs().max()) < 0.1, "the tracker knows no jaw"
    deca = torch.zeros(2, 15)
    deca[1, 3] = 0.15
    with_jaw = animate.with_deca(model, driving, torch.zeros(1, 15), deca)
    added = animate.change_of(model, source, with_jaw) - change
    low, high = RELEASED_RANGES[3]
    assert added[1, 3].item() == pytest.approx(0.15 * 12 / (high - low), rel=1e-3)
    assert float(added[0].abs().max()) == 0
