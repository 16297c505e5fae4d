"""From a portrait and a motion to frames: what is made once, what the portrait's own pixels give, what is said."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from portrayal.face.camera import camera_from_pose
from portrayal.face.morphable import fit_params, load_face_model, params_to_landmarks
from portrayal.face.pose import angles_to_rotation
from portrayal.face.topology import LIPS_OUTER
from portrayal.motion.edit import apply_edit
from portrayal.systems.export3d import animate
from portrayal.systems.export3d.animate import Export3dDriving
from portrayal.systems.export3d.config import Config
from portrayal.systems.export3d.model import Export3d
from portrayal.types import Edit, FaceClip, FaceParams, Portrait

SIZE = 160
OUTLINE = 17
"""Pixels across, at an outline, of which layers have the colours of the person alone."""
TINY = Config.tiny()


@pytest.fixture
def model() -> Export3d:
    torch.manual_seed(0)
    return animate.build(TINY).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    face = load_face_model()
    start = fit_params(face, face.mean[None] * 40 + torch.tensor([80.0, 80, 0]), width=SIZE, height=SIZE)
    params = replace(start, landmarks=params_to_landmarks(face, start), confidence=torch.ones(1))
    return Portrait(torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)), params)


def turned(params: FaceParams, yaws: list[float]) -> FaceParams:
    """The same face with these yaws."""
    angles = torch.tensor([[yaw, 0.0, 0.0] for yaw in yaws])
    many = params[[0] * len(yaws)]
    pose = {"rotation": angles_to_rotation(angles), "translation": many.translation, "scale": many.scale}
    return many.replace(**pose, camera=camera_from_pose(**pose, width=SIZE, height=SIZE))


def motion(model: Export3d, params: FaceParams) -> Export3dDriving:
    times = tuple(Fraction(i, 25) for i in range(len(params)))
    return animate.encode_driving(model, FaceClip(torch.empty(len(params), 3, 0, 0), params, times))


def count_planes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    made: list[int] = []
    whole = animate.planes_of
    monkeypatch.setattr(animate, "planes_of", lambda m, s, codes: made.append(len(codes)) or whole(m, s, codes))
    return made


def test_planes_are_made_once_while_only_the_camera_moves(model, portrait, monkeypatch):
    source = animate.encode_source(model, portrait)
    made = count_planes(monkeypatch)
    frames = torch.cat(
        list(animate.render(model, source, motion(model, turned(portrait.params, [0.0] * 5 + [0.3] * 5))))
    )
    assert made == [1]
    assert frames.shape == (10, 3, SIZE, SIZE)
    assert (frames[0] - frames[9]).abs().mean() > 1e-3


def test_planes_are_made_for_every_expression(model, portrait, monkeypatch):
    source = animate.encode_source(model, portrait)
    params = portrait.params[[0] * 6]
    params = params.replace(expression=params.expression + torch.arange(6.0)[:, None])
    made = count_planes(monkeypatch)
    list(animate.render(model, source, motion(model, params)))
    assert made == [1] * 6


def test_half_precision_ends_with_the_view(model, portrait):
    source = animate.encode_source(model, portrait)
    for _ in animate.views(model, source, motion(model, portrait.params[[0, 0]])):
        assert not torch.is_autocast_enabled("cpu")


def test_a_large_portrait_keeps_its_own_pixels(model, portrait):
    """Where the network trusts the source and there is no head, what comes out is the portrait itself."""
    torch.nn.init.zeros_(model.renderer.share.weight)
    torch.nn.init.constant_(model.renderer.share.bias, 30)
    source = animate.encode_source(model, portrait)
    (frame,) = animate.render(model, source, motion(model, portrait.params))
    corners = (..., slice(0, 12), slice(0, 12))
    torch.testing.assert_close(frame[corners], portrait.image[corners], atol=0.02, rtol=0)


def test_without_detail_the_picture_is_enlarged(portrait):
    torch.manual_seed(0)
    renderer = replace(TINY.renderer, detail=False, flow=False, body=False, split=False, corrected=False)
    config = replace(TINY, generator=replace(TINY.generator, lift=False), renderer=renderer)
    plain = animate.build(config).eval().requires_grad_(False)
    (frame,) = animate.render(plain, animate.encode_source(plain, portrait), motion(plain, portrait.params))
    assert frame.shape == (1, 3, SIZE, SIZE)


def test_an_opened_mouth_gets_its_inside_in_pictures_and_layers(model, portrait):
    """Where the expression puts it that is drawn: of `params`, held back as it is, and along a vector."""
    bare = animate.build(replace(TINY, renderer=replace(TINY.renderer, openings=False))).eval()
    bare.load_state_dict(model.state_dict())
    source, opened = animate.encode_source(model, portrait), apply_edit(portrait.params, Edit(mouth_open=1.0))
    driving = motion(model, FaceParams.cat([portrait.params, opened]))
    plain, filled = (torch.cat(list(animate.render(m, source, driving))) for m in (bare, model))
    torch.testing.assert_close(filled[0], plain[0])
    lips = opened.landmarks[0, list(LIPS_OUTER), :2]
    (left, top), (right, bottom) = lips.amin(0).floor().int().tolist(), lips.amax(0).ceil().int().tolist()
    changed = (filled[1] - plain[1]).abs().amax(0) > 0
    assert int(changed[top:bottom, left:right].sum()) == int(changed.sum()) > 20
    layers = torch.cat([x.picture for x in animate.render_layers(model, source, driving)])
    torch.testing.assert_close(layers[..., top:bottom, left:right], filled[..., top:bottom, left:right])


def test_what_is_shown_has_the_expression_that_is_drawn(model, portrait):
    model.seen.add(torch.zeros(2, 64), torch.zeros(2, 10), portrait.params.camera)
    params = portrait.params.replace(expression=torch.full((1, 64), 2.0))
    driving = motion(model, params.replace(landmarks=params_to_landmarks(load_face_model(), params)))
    shown = animate.shown_params(model, driving)
    kept = params.replace(expression=animate.look_of(model, driving).expression)
    assert float((shown.landmarks - driving.params.landmarks).abs().max()) > 1
    skin = slice(0, 468)  # irises follow the gaze, not the expression
    expected = params_to_landmarks(load_face_model(), kept)
    torch.testing.assert_close(shown.landmarks[:, skin], expected[:, skin], atol=1e-2, rtol=0)


def test_moving_along_a_vector_changes_one_coefficient_by_its_range(model, portrait):
    assert animate.direction_names(model) == tuple(f"basis-{i}" for i in range(1, 11))
    model.seen.add(torch.randn(4, 64), torch.tensor([[0.0] * 10, [1.0 + i for i in range(10)]]), portrait.params.camera)
    source = animate.encode_source(model, portrait)
    driving = animate.move_along(model, source, "basis-3", torch.tensor([-1.0, 0.0, 0.5]))
    expected = torch.zeros(3, 10)
    expected[:, 2] = torch.tensor([-1.5, 0.0, 0.75])
    torch.testing.assert_close(driving.change, expected)
    codes = animate.codes_of(model, driving)
    moved = (codes[2] - codes[1]) @ model.expression_encoder.basis().T
    torch.testing.assert_close(moved, expected[2], atol=1e-5, rtol=0)


def test_remarks_name_the_frames(model, portrait):
    params = turned(portrait.params, [0.0, 0.1, 0.9, 0.9, 0.0])
    assert animate.remarks(model, motion(model, params)) == ()
    model.seen.add(params.expression[:2], torch.zeros(2, 10), params.camera[:2])
    expression, confidence = params.expression.clone(), params.confidence.clone()
    expression[4, 0] += 50
    confidence[:] = torch.tensor([1.0, 0.3, 1.0, 1.0, 0.0])  # a frame without a face is not an unsure one
    told = animate.remarks(model, motion(model, params.replace(expression=expression, confidence=confidence)))
    assert len(told) == 3
    assert "held back in frame 4." in told[0]
    assert "in frames 2-3;" in told[1]
    assert "yaw 0 to 6" in told[1]
    assert "in frame 1;" in told[2]


@pytest.mark.parametrize("encoding", ["direct", "end-to-end"])
def test_the_other_encodings_of_table_3_animate(encoding, portrait):
    torch.manual_seed(0)
    config = replace(TINY, clebs=replace(TINY.clebs, encoding=encoding))
    model = animate.build(config).eval().requires_grad_(False)
    params = portrait.params[[0, 0]]
    params = params.replace(expression=torch.cat([params.expression[:1], params.expression[1:] + 2]))
    frames = torch.cat(list(animate.render(model, animate.encode_source(model, portrait), motion(model, params))))
    assert (frames[0] - frames[1]).abs().max() > 1e-4


def test_the_depth_is_the_heads_whatever_its_size(model, portrait):
    """An untrained head is an ellipsoid; the world's origin is its middle."""
    small = portrait.params.replace(scale=portrait.params.scale * 0.6)
    pose = {name: getattr(small, name) for name in ("rotation", "translation", "scale")}
    small = small.replace(camera=camera_from_pose(**pose, width=SIZE, height=SIZE))
    source = animate.encode_source(model, portrait)
    seen = list(animate.render_depth(model, source, motion(model, FaceParams.cat([portrait.params, small]))))
    assert [x.nearness.shape for x in seen] == [(1, 1, SIZE, SIZE)] * 2
    large, less = (x.opacity[0, 0] > 0.5 for x in seen)
    assert large[80, 80]
    assert not large[0, 0]
    assert less.sum() < 0.6 * large.sum()
    middle = [float(x.nearness[0, 0, 80, 80]) for x in seen]
    assert -0.05 < middle[0] < 0.35
    assert middle[1] == pytest.approx(middle[0], abs=0.03)
    side = large[80].nonzero().flatten()[1]
    assert seen[0].nearness[0, 0, 80, side] < middle[0] - 0.03


def test_layers_are_what_is_rendered_and_where_the_head_is(model, portrait):
    """An untrained head is an ellipsoid; it goes where the motion goes."""
    source = animate.encode_source(model, portrait)
    moved = FaceParams.cat([portrait.params, apply_edit(portrait.params, Edit(shift=(0.3, 0.0)))])
    driving = motion(model, moved)
    frames = list(animate.render(model, source, driving))
    layers = list(animate.render_layers(model, source, driving))
    for frame, layer in zip(frames, layers, strict=True):
        person = layer.opacity if layer.person is None else layer.person
        inside = -torch.nn.functional.max_pool2d(-person, OUTLINE, 1, OUTLINE // 2) > 0.999
        assert inside.sum() > 500
        assert torch.equal(layer.picture * inside, frame * inside)
        assert layer.opacity.shape == (1, 1, SIZE, SIZE)
        assert float(layer.opacity.min()) == 0
        assert float(layer.opacity.max()) <= 1
        assert float(layer.opacity[..., :4, :4].max()) == 0
        assert layer.person is None or bool((layer.person >= layer.opacity).all())
    nose = int(portrait.params.landmarks[0, 1, 1])
    heads = [layer.opacity[0, 0, :nose] for layer in layers]
    still, shifted = (head.sum(0) @ torch.arange(float(SIZE)) / head.sum() for head in heads)
    eyes = portrait.params.landmarks[0, [33, 263], 0]
    assert float(shifted - still) == pytest.approx(0.3 * float(eyes[1] - eyes[0]), rel=0.35)
