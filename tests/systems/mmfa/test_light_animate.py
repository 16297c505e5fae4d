"""MMFA with the light renderer as a system: what `compact` does, with small random networks."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor

import portrayal.systems.mmfa as mmfa
from portrayal.face.morphable import fit_params, load_face_model, params_to_landmarks
from portrayal.face.pose import angles_to_rotation
from portrayal.face.topology import LIPS_OUTER
from portrayal.motion.edit import apply_edit
from portrayal.motion.options import RetargetOptions
from portrayal.systems.mmfa.config import Config, DetectorConfig, ExpressionConfig
from portrayal.systems.mmfa.guided import GUIDES, GuidedMmfa, guided_keypoints
from portrayal.systems.mmfa.keypoints import tracked_pose
from portrayal.systems.mmfa.light_config import LightConfig
from portrayal.types import Edit, FaceClip, FaceParams, Portrait

SIDE = 160
CONFIG = replace(
    Config.compact(),
    image_size=64,
    detector=DetectorConfig(keypoints=len(GUIDES), input_factor=4, first=8, largest=16, levels=2, depth=4),
    expression=ExpressionConfig(decoder=(32,)),
    light=LightConfig(
        volume_channels=4, depth=2, motion_channels=8, channels=(16, 8, 8), source_channels=(8, 16), blocks=1
    ),
)


@pytest.fixture(scope="module")
def model() -> GuidedMmfa:
    torch.manual_seed(0)
    built = mmfa.build(CONFIG).eval()
    assert isinstance(built, GuidedMmfa)
    return built


@pytest.fixture(scope="module")
def face() -> FaceParams:
    model = load_face_model()
    start = fit_params(model, model.mean[None] * 70 + torch.tensor([SIDE / 2, SIDE / 2, 0]), width=SIDE, height=SIDE)
    return start.replace(landmarks=params_to_landmarks(model, start), confidence=torch.ones(1))


@pytest.fixture(scope="module")
def portrait(face: FaceParams) -> Portrait:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 10, 10, generator=generator)
    return Portrait(torch.nn.functional.interpolate(coarse, SIDE, mode="bilinear"), face)


def moved(face: FaceParams, *angles: float) -> FaceParams:
    turn = angles_to_rotation(torch.tensor([[a, 0.0, 0.0] for a in angles]))
    params = face[[0] * len(angles)].replace(rotation=turn @ face.rotation)
    return params.replace(landmarks=params_to_landmarks(load_face_model(), params))


def render(model: GuidedMmfa, portrait: Portrait, params: FaceParams) -> Tensor:
    times = tuple(Fraction(i, 25) for i in range(len(params)))
    with torch.no_grad():
        source = mmfa.encode_source(model, portrait)
        driving = mmfa.encode_driving(model, FaceClip(torch.empty(len(params), 3, 0, 0), params, times))
        return torch.cat(list(mmfa.render(model, source, driving)))


def test_needs_no_driving_pixels_and_regions_are_left_to_the_landmarks(model: GuidedMmfa, face: FaceParams) -> None:
    assert mmfa.driving_pixels(model) is None
    driving = mmfa.encode_driving(model, FaceClip(torch.empty(1, 3, 0, 0), face, (Fraction(0),)))
    assert mmfa.retarget_codes(driving, RetargetOptions(region="lips")) is driving


def test_result_has_the_portraits_own_resolution(model: GuidedMmfa, portrait: Portrait) -> None:
    frames = render(model, portrait, moved(portrait.params, 0.0, 0.2, 0.4))
    assert frames.shape == (3, 3, SIDE, SIDE)
    assert float((frames[2] - frames[0]).abs().mean()) > 1e-3


def test_moved_pixels_are_read_from_the_portrait_itself(model: GuidedMmfa, portrait: Portrait) -> None:
    """Fine stripes that the network's resolution cannot hold survive where nothing moves."""
    stripes = (torch.arange(SIDE) % 2).float().expand(1, 3, SIDE, SIDE).contiguous()
    frames = render(model, Portrait(stripes, portrait.params), portrait.params)
    contrast = (frames[..., 1:] - frames[..., :-1]).abs().mean()
    assert float(contrast) > 0.3


def test_expression_codes_after_an_edit_change_the_picture(model: GuidedMmfa, portrait: Portrait) -> None:
    params = portrait.params
    with torch.no_grad():
        source = mmfa.encode_source(model, portrait)
        driving = mmfa.encode_driving(model, FaceClip(torch.empty(1, 3, 0, 0), params, (Fraction(0),)))
        edited = replace(driving, expression=torch.full((1, CONFIG.expression.feature), 3.0))
        plain, changed = (next(iter(mmfa.render(model, source, d))) for d in (driving, edited))
    assert float((plain - changed).abs().max()) > 1e-3


@pytest.fixture(scope="module")
def with_openings(model: GuidedMmfa) -> GuidedMmfa:
    built = mmfa.build(replace(CONFIG, light=replace(CONFIG.light, openings=True))).eval()
    assert isinstance(built, GuidedMmfa)
    built.load_state_dict(model.state_dict())
    return built


def test_only_an_opened_mouth_gets_another_inside(
    model: GuidedMmfa, with_openings: GuidedMmfa, portrait: Portrait
) -> None:
    params = FaceParams.cat([portrait.params, apply_edit(portrait.params, Edit(mouth_open=1.0))])
    plain, filled = (render(m, portrait, params) for m in (model, with_openings))
    torch.testing.assert_close(filled[0], plain[0])
    lips = params.landmarks[1, list(LIPS_OUTER), :2]
    (left, top), (right, bottom) = lips.amin(0).floor().int().tolist(), lips.amax(0).ceil().int().tolist()
    changed = (filled[1] - plain[1]).abs().amax(0) > 0
    assert int(changed[top:bottom, left:right].sum()) == int(changed.sum()) > 20


def test_a_sample_of_the_latent_space_keeps_its_own_mouth(
    model: GuidedMmfa, with_openings: GuidedMmfa, portrait: Portrait
) -> None:
    """Its landmarks are not known."""
    opened = apply_edit(portrait.params, Edit(mouth_open=1.0))
    with torch.no_grad():
        source = mmfa.encode_source(model, portrait)
        driving = mmfa.encode_driving(model, FaceClip(torch.empty(1, 3, 0, 0), opened, (Fraction(0),)))
        sampled = replace(driving, expression=torch.full((1, CONFIG.expression.feature), 3.0))
        plain, filled = (next(iter(mmfa.render(m, source, sampled))) for m in (model, with_openings))
    torch.testing.assert_close(filled, plain)


def test_turning_the_head_turns_the_keypoints(model: GuidedMmfa, face: FaceParams) -> None:
    """Equation 5: canonical keypoints and expression stay, the pose alone changes."""
    params = moved(face, 0.0, 0.3)
    pose = tracked_pose(params, SIDE)
    canonical, expression = torch.rand(1, len(GUIDES), 3).expand(2, -1, -1), torch.rand(1, 256).expand(2, -1)
    with torch.no_grad():
        points = model.keypoints(canonical, expression, pose)
    centred = points - torch.nn.functional.pad(pose.translation, (0, 1))[:, None]
    back = (centred @ pose.rotation) / pose.scale[:, None, None]
    assert torch.allclose(back[0], back[1], atol=1e-5)


def test_guided_keypoints_are_the_landmarks(face: FaceParams) -> None:
    from portrayal.motion.compose import head_shape

    points = guided_keypoints(head_shape(face), tracked_pose(face, SIDE))
    expected = face.landmarks[:, list(GUIDES), :2] * 2 / SIDE - 1
    assert torch.allclose(points[..., :2], expected, atol=1e-4)


def test_renderer_and_expression_input_go_together() -> None:
    with pytest.raises(ValueError, match="go together"):
        replace(Config.compact(), expression_input="image")
    with pytest.raises(ValueError, match="47"):
        mmfa.build(replace(Config.compact(), detector=DetectorConfig(keypoints=15)))
