"""Codes, poses and rendering of MMFA beyond the contract that all systems share."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest
import torch

from portrayal.errors import InputError
from portrayal.face.pose import angles_to_rotation
from portrayal.motion.options import RetargetOptions
from portrayal.systems.mmfa import Config, MmfaDriving, build, encode_driving, encode_source, render, retarget_codes
from portrayal.systems.mmfa.animate import carry_pose
from portrayal.systems.mmfa.keypoints import Pose, transform_keypoints
from portrayal.types import FaceClip, FaceParams, Portrait
from tests.systems.conftest import mean_params

TINY = Config.tiny()
EQUATION_3 = dataclasses.replace(TINY, decomposition="face-vid2vid", affine="network")
LEARNED_AFFINE = dataclasses.replace(TINY, affine="network")


def driving(t: int = 3) -> MmfaDriving:
    torch.manual_seed(0)
    params = FaceParams.cat([mean_params(64)] * t)
    zeros, times = torch.zeros(t), tuple(Fraction(i, 25) for i in range(t))
    return MmfaDriving(params, times, torch.randn(t, 5), zeros, torch.randn(t, 6), zeros)


def decoded(d: MmfaDriving, name: str, own: torch.Tensor) -> torch.Tensor:
    return getattr(d, f"{name}_share")[:, None] * own + getattr(d, name)


@pytest.mark.parametrize("name", ["expression", "pose"])
def test_codes_relative_absolute_strength_and_region(name: str) -> None:
    before, other = driving(), "pose" if name == "expression" else "expression"
    code, own = getattr(before, name), torch.randn(1, getattr(before, name).shape[1])
    cases = {
        RetargetOptions(reference=1): own + code - code[1],
        RetargetOptions(reference=1, strength=0.5): own + (code - code[1]) / 2,
        RetargetOptions(motion="absolute"): code,
        RetargetOptions(motion="absolute", strength=0.25): own + (code - own) / 4,
        RetargetOptions(reference=1, region=name): own + code - code[1],  # type: ignore[arg-type]
        RetargetOptions(reference=1, region=other): own.expand(3, -1),  # type: ignore[arg-type]
        RetargetOptions(motion="absolute", region=other): own.expand(3, -1),  # type: ignore[arg-type]
    }
    for options, expected in cases.items():
        torch.testing.assert_close(decoded(retarget_codes(before, options), name, own), expected)


def test_a_part_of_the_expression_is_refused() -> None:
    with pytest.raises(InputError, match="cannot move the lips alone"):
        retarget_codes(driving(), RetargetOptions(region="lips"))


def test_carried_pose_is_the_same_motion_in_another_canonical_frame() -> None:
    """Points fixed to the head move alike, whichever unit and origin their frame has."""
    torch.manual_seed(0)
    rotation = angles_to_rotation(torch.tensor([[0.0, 0.0, 0.2], [0.0, 0.0, -0.4], [0.3, 0.1, 0.0]]))
    tracked = Pose(rotation, torch.tensor([0.4, 0.5, 0.3]), torch.randn(3, 2) * 0.1)
    before = Pose(tracked.rotation[:1], tracked.scale[:1], tracked.translation[:1])
    unit, origin = 0.4, torch.tensor([0.1, -0.2, 0.0])
    shape = torch.randn(1, 4, 3)  # head frame
    other = (shape - origin) / unit
    at = before.rotation @ (before.scale[:, None] * origin)[..., None]
    own = Pose(before.rotation, before.scale * unit, before.translation + at[:, :2, 0])
    carried = carry_pose(own, before, tracked)
    zero = torch.zeros(3, 4, 3)
    a = transform_keypoints(shape, zero, tracked.rotation, tracked.scale, tracked.translation)
    b = transform_keypoints(other, zero, carried.rotation, carried.scale, carried.translation)
    torch.testing.assert_close(a[..., :2], b[..., :2], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("config", [LEARNED_AFFINE, EQUATION_3])
def test_a_still_motion_gives_the_reconstruction(config: Config) -> None:
    """Relative motion that does not move leaves the source's keypoints, whatever pose the networks see."""
    torch.manual_seed(0)
    model = build(config).eval().requires_grad_(False)
    portrait = Portrait(torch.rand(1, 3, 80, 80), mean_params(80))
    clip = FaceClip(torch.rand(1, 3, 64, 64).expand(2, -1, -1, -1), portrait.params[[0, 0]], (Fraction(0), Fraction(1)))
    source = encode_source(model, portrait)
    still = retarget_codes(encode_driving(model, clip), RetargetOptions(reference=0))
    frames = torch.cat(list(render(model, source, still)))
    assert frames.shape == (2, 3, 80, 80)
    made = model.generate(source.volume, source.keypoints, source.keypoints, source.pose, source.pose)
    shown = torch.nn.functional.interpolate(made.picture, (80, 80), mode="bicubic", antialias=True).clamp(0, 1)
    torch.testing.assert_close(frames, shown.expand(2, -1, -1, -1), atol=1e-4, rtol=1e-3)


def test_bad_input() -> None:
    model = build(TINY).eval()
    with pytest.raises(ValueError, match="square"):
        encode_source(model, Portrait(torch.rand(1, 3, 64, 48), mean_params(64)))
    clip = FaceClip(torch.empty(1, 3, 0, 0), mean_params(64), (Fraction(0),))
    with pytest.raises(ValueError, match="no pixels"):
        encode_driving(model, clip)
