"""Motions made by code."""

from fractions import Fraction

import pytest
import torch
from torch.testing import assert_close

from portrayal.errors import InputError
from portrayal.face.measure import eye_openness, mouth_openness
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.pose import rotation_to_angles
from portrayal.motion.builtin import MOTIONS, builtin_motion
from portrayal.motion.compose import head_shape
from portrayal.motion.openings import gaps
from portrayal.motion.reference import reference_frame
from portrayal.motion.speech import SENTENCE, SOUNDS, timeline

NAMES = sorted(MOTIONS)


def degrees(name: str) -> torch.Tensor:
    return torch.rad2deg(rotation_to_angles(builtin_motion(name).params.rotation))


def test_names():
    assert NAMES == ["blink", "look-around", "nod", "smile", "talk"]
    with pytest.raises(InputError, match="talk"):
        builtin_motion("dance")
    with pytest.raises(InputError, match="frames per second"):
        builtin_motion("talk", fps=1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fps", [25, Fraction(30000, 1001)])
def test_times_and_length(name, fps):
    motion = builtin_motion(name, fps)
    assert motion.times[0] == 0
    assert {b - a for a, b in zip(motion.times, motion.times[1:], strict=False)} == {1 / Fraction(fps)}
    assert 4 <= float(len(motion) / fps) <= 6.05


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_loop_that_starts_at_rest(name):
    params = builtin_motion(name).params
    step = (params.landmarks[1:] - params.landmarks[:-1]).norm(dim=-1).amax(1)
    assert (params.landmarks[0] - params.landmarks[-1]).norm(dim=-1).max() < 0.5  # pixels of 512
    assert step.max() < 14
    assert rotation_to_angles(params.rotation)[0].abs().max() < 0.01
    assert mouth_openness(params.landmarks)[0] < 1e-3
    assert reference_frame(params) == 0


@pytest.mark.parametrize("name", NAMES)
def test_lids_and_lips_never_cross_and_it_blinks(name):
    params = builtin_motion(name).params
    assert gaps(head_shape(params))[..., 1].min() > -1e-5
    assert params.eye_openness.min() < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_all_fields_say_the_same(name):
    params = builtin_motion(name).params
    again = fit_params(load_face_model(), params.landmarks, width=512, height=512, identity=params.identity[0])
    assert rotation_to_angles(again.rotation.mT @ params.rotation).abs().max() < 0.02
    assert_close(again.scale, params.scale, atol=0, rtol=0.02)
    assert (again.expression - params.expression).square().mean().sqrt() < 0.2
    assert_close(eye_openness(params.landmarks), params.eye_openness, atol=0.01, rtol=0)
    assert (again.gaze - params.gaze)[params.eye_openness > 0.15].abs().max() < 0.06


def test_the_same_every_time():
    assert torch.equal(builtin_motion("talk").params.landmarks, builtin_motion("talk").params.landmarks)


def test_talk_opens_and_closes_the_lips():
    params = builtin_motion("talk").params
    mouth = mouth_openness(params.landmarks)
    spoken = [centre for sound, centre, _ in timeline(SENTENCE, 0.35) if sound is SOUNDS["m"]]
    for centre in spoken:
        assert mouth[round(centre * 25) - 1 : round(centre * 25) + 2].min() < 0.01
    assert 0.12 < mouth.max() < 0.35
    peaks = ((mouth[1:-1] > mouth[:-2]) & (mouth[1:-1] >= mouth[2:]) & (mouth[1:-1] > 0.04)).sum()
    assert 6 <= peaks <= 22


def test_nod_nods():
    yaw, pitch, _ = degrees("nod").unbind(1)
    assert 8 < pitch.max() < 15
    assert ((pitch[1:-1] > pitch[:-2]) & (pitch[1:-1] >= pitch[2:]) & (pitch[1:-1] > 3)).sum() == 3
    assert yaw.abs().max() < 2


def test_look_around_turns_20_degrees_and_the_eyes_lead():
    yaw = degrees("look-around")[:, 0]
    assert 18 < yaw.max() < 22
    assert -22 < yaw.min() < -18
    gaze = builtin_motion("look-around").params.gaze[:, 0, 0]
    start = int((yaw > 2).nonzero()[0])
    assert gaze[start - 2] > 0.2  # eyes are on their way before the head is
    assert gaze[start + 20] < 0.15  # and nearly back in the middle when it arrives


def test_smile_lifts_the_corners_and_ends():
    shape = head_shape(builtin_motion("smile").params)
    corner = shape[:, [61, 291], 1].mean(1)
    width = (shape[:, 61] - shape[:, 291]).norm(dim=-1)
    assert corner[60] < corner[0] - 0.04
    assert width[60] > 1.12 * width[0]
    assert abs(float(corner[-1] - corner[0])) < 0.003


def test_blink_takes_as_long_as_a_blink():
    openness = builtin_motion("blink", fps=100).params.eye_openness.mean(1)
    first = openness[40:140] < 0.8 * openness[0]
    assert 0.12 < int(first.sum()) / 100 < 0.4
