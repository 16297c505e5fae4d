"""Expressions out of the latent space, and the canonical face, for both renderers."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

import portrayal.systems.mmfa as mmfa
from portrayal.errors import InputError
from portrayal.face.morphable import load_face_model, params_to_landmarks
from portrayal.motion.compose import head_shape
from portrayal.motion.edit import apply_edit
from portrayal.systems import SYSTEMS
from portrayal.systems.mmfa import animate, light_animate
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.guided import GuidedMmfa
from portrayal.systems.mmfa.keypoints import Pose, neutral_keypoints, transform_keypoints
from portrayal.systems.mmfa.model import Mmfa
from portrayal.types import Edit, FaceClip, Portrait
from tests.systems.conftest import mean_params

SIDE = 96
CONFIGS = {"volume": Config.tiny(), "light": Config.tiny().lightened()}
Model = Mmfa | GuidedMmfa


def make(config: Config) -> Model:
    """A random model whose latent space counts as trained."""
    torch.manual_seed(0)
    model = mmfa.build(config).eval().requires_grad_(False)
    if model.vae is not None:
        model.vae.follow(torch.randn(64, config.expression.feature))
        for weight in model.vae.parameters():
            weight.mul_(4)  # so that its bends show
    return model


@pytest.fixture(scope="module", params=CONFIGS)
def model(request: pytest.FixtureRequest) -> Model:
    return make(CONFIGS[request.param])


@pytest.fixture(scope="module")
def subject() -> Portrait:
    params = mean_params(SIDE)
    params = params.replace(expression=params.expression + 0.2)
    params = params.replace(landmarks=params_to_landmarks(load_face_model(), params))
    coarse = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    return Portrait(torch.nn.functional.interpolate(coarse, SIDE, mode="bilinear"), params)


def encoded(model: Model, subject: Portrait, edit: Edit) -> Any:
    """One driving frame of another expression and pose, with a picture of its own."""
    params, side = apply_edit(subject.params, edit), mmfa.driving_pixels(model)
    images = torch.rand(1, 3, side or 0, side or 0, generator=torch.Generator().manual_seed(1))
    return mmfa.encode_driving(model, FaceClip(images, params, (Fraction(0),)))


def driven(model: Model, source: Any, driving: Any) -> tuple[Pose, Tensor]:
    """Pose and feature of the frames that a motion renders."""
    if isinstance(model, GuidedMmfa):
        return light_animate.driven(model, source, driving)
    return animate.driven(model, source, driving)


def test_samples_are_decoded_from_the_normal_distribution(model: Model, subject: Portrait) -> None:
    source = mmfa.encode_source(model, subject)
    drawn = mmfa.sample_expressions(model, source, 3, torch.Generator().manual_seed(5))
    pose, feature = driven(model, source, drawn)
    assert model.vae is not None
    z = torch.randn(3, model.vae.latent, generator=torch.Generator().manual_seed(5))
    expected = model.vae.decode(z)
    if isinstance(model, GuidedMmfa):  # the head that the landmarks hold beside their expression stays
        model_of_face, params = load_face_model(), subject.params
        neutral = head_shape(params) - (
            model_of_face.shape(params.identity * 0, params.expression) - model_of_face.mean
        )
        expected = expected + model.expression_encoder(neutral)
    torch.testing.assert_close(feature, expected, atol=1e-3, rtol=1e-3)
    own = driven(model, source, encoded(model, subject, Edit()))[0]
    for name in ("rotation", "scale", "translation"):
        torch.testing.assert_close(getattr(pose, name), getattr(own, name).expand_as(getattr(pose, name)))


def test_samples_differ_and_repeat_with_the_seed(model: Model, subject: Portrait) -> None:
    source = mmfa.encode_source(model, subject)
    first, again, other = (
        torch.cat(
            list(
                mmfa.render(model, source, mmfa.sample_expressions(model, source, 2, torch.Generator().manual_seed(s)))
            )
        )
        for s in (0, 0, 1)
    )
    assert first.shape == (2, 3, SIDE, SIDE)
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, other)


def test_interpolation_goes_through_the_latent_space_from_one_expression_to_the_other(
    model: Model, subject: Portrait
) -> None:
    source = mmfa.encode_source(model, subject)
    end = encoded(model, subject, Edit(mouth_open=1.0, smile=0.5))
    shares = torch.tensor([0.0, 0.25, 1.0])
    way = driven(model, source, mmfa.interpolate_expressions(model, source, end, shares))[1]
    still = encoded(model, subject, Edit())
    a = source.codes[0] if isinstance(source, mmfa.MmfaSource) else driven(model, source, still)[1]
    b = driven(model, source, end)[1]
    torch.testing.assert_close(way[[0, 2]], torch.cat([a, b]), atol=1e-3, rtol=1e-3)
    vae, parts = model.vae, (a, b)
    assert vae is not None
    if isinstance(model, GuidedMmfa):
        parts = tuple(model.expression_change(d.params.expression) for d in (still, end))  # type: ignore[assignment]
    z = [vae.encode(part)[0] for part in parts]
    lost = [feature - vae.decode(mean) for feature, mean in zip((a, b), z, strict=True)]
    expected = vae.decode(z[0] + 0.25 * (z[1] - z[0])) + 0.75 * lost[0] + 0.25 * lost[1]
    torch.testing.assert_close(way[1:2], expected, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(way[1:2], a + 0.25 * (b - a), atol=1e-2)


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_without_a_latent_space_go_straight_and_draw_nothing(name: str, subject: Portrait) -> None:
    model = mmfa.build(CONFIGS[name]).eval().requires_grad_(False)
    source, end = mmfa.encode_source(model, subject), encoded(model, subject, Edit(smile=1.0))
    with pytest.raises(InputError, match=r"no latent space of expressions.*portrayal train mmfa vae"):
        mmfa.sample_expressions(model, source, 1, torch.Generator())
    way = driven(model, source, mmfa.interpolate_expressions(model, source, end, torch.tensor([0.0, 0.5, 1.0])))[1]
    torch.testing.assert_close(way[1], (way[0] + way[2]) / 2, atol=1e-5, rtol=1e-4)


def test_with_equation_3_pose_and_deformations_go_straight(subject: Portrait) -> None:
    model = make(dataclasses.replace(Config.tiny(), decomposition="face-vid2vid", affine="network"))
    source, end = mmfa.encode_source(model, subject), encoded(model, subject, Edit())
    assert isinstance(source, mmfa.MmfaSource)
    motion = mmfa.interpolate_expressions(model, source, end, torch.tensor([0.0, 1.0]))
    for name, own in zip(("expression", "pose"), source.codes, strict=True):
        reached = getattr(motion, f"{name}_share")[:, None] * own + getattr(motion, name)
        torch.testing.assert_close(reached, torch.cat([own, getattr(end, name)]), atol=1e-5, rtol=1e-4)


def test_neutral_keypoints_are_equation_5_without_motion() -> None:
    canonical, scale = torch.randn(2, 5, 3), torch.tensor([0.4, 0.7])
    nothing = torch.zeros(2, 5, 3)
    expected = transform_keypoints(canonical, nothing, torch.eye(3).expand(2, -1, -1), scale, torch.zeros(2, 2))
    torch.testing.assert_close(neutral_keypoints(canonical, scale), expected)


def test_the_canonical_face_forgets_pose_and_expression(model: Model, subject: Portrait) -> None:
    """Keypoints are where f p_C says, whatever pose the source has; only what is read from the picture matters."""
    pictures = []
    for edit in (Edit(), Edit(yaw=0.4, shift=(0.3, 0.0), mouth_open=1.0)):
        source = mmfa.encode_source(model, Portrait(subject.image, apply_edit(subject.params, edit)))
        still = dataclasses.replace(source, portrait=subject, keypoints=mmfa.encode_source(model, subject).keypoints)
        pictures.append(mmfa.render_canonical(model, still))
        shown = mmfa.render_canonical(model, source)
        assert shown.shape == (1, 3, SIDE, SIDE)
        assert float(shown.min()) >= 0
        assert float(shown.max()) <= 1
    own = next(iter(mmfa.render(model, source, encoded(model, subject, Edit()))))
    assert not torch.allclose(pictures[0], own, atol=1e-3)


def test_the_words_are_there() -> None:
    assert {"expression_sampling", "canonical_face"} <= SYSTEMS["mmfa"].CAPABILITIES
