"""Smoothing: calmer, in time, nothing lost."""

import math
from fractions import Fraction

import pytest
import torch

from portrayal.face.camera import camera_from_pose
from portrayal.face.measure import eye_openness, mouth_openness
from portrayal.face.morphable import fit_params, params_to_landmarks
from portrayal.face.pose import angles_to_rotation, rotation_to_angles
from portrayal.face.smooth import OneEuro, jitter_score, smooth_params
from portrayal.face.topology import INNER_LIPS_PAIRS, LEFT_EYELIDS, RIGHT_EYELIDS
from portrayal.types import FaceParams

T = 60
TIMES = [Fraction(i, 25) for i in range(T)]
UNIT = 100.0  # pixels


def fit(model, landmarks):
    return fit_params(model, landmarks, width=512, height=400)


def still(model, noise=0.0, seed=0):
    """A face that holds still in front of a trembling tracker; noise in head units."""
    g = torch.Generator().manual_seed(seed)
    points = UNIT * model.mean + torch.tensor([300.0, 180, 0])
    shared = torch.randn(T, 1, 3, generator=g)
    return points + UNIT * noise * (shared + torch.randn(T, 478, 3, generator=g))


def live(params, times=TIMES, **options):
    smoother = OneEuro(**options)
    return FaceParams.cat([smoother.step(params[i], times[i]) for i in range(len(params))])


@pytest.fixture(params=["file", "live"])
def smooth(request):
    return smooth_params if request.param == "file" else live


def test_jitter_score_is_the_noise_of_a_point(model):
    tremble = still(model, 0.004)
    expected = 100 * 0.004 * math.sqrt(2) * math.sqrt(math.pi / 2)  # mean length in 2D; shared and own noise
    assert jitter_score(tremble, TIMES) == pytest.approx(expected, rel=0.1)
    assert jitter_score(3 * tremble, TIMES) == pytest.approx(expected, rel=0.1)


def test_jitter_score_ignores_even_motion_at_uneven_times(model):
    times = torch.tensor([0, 0.04, 0.05, 0.13, 0.2, 0.21])
    moving = still(model)[:6] + 500 * times[:, None, None]
    assert jitter_score(moving, times.tolist()) == pytest.approx(0, abs=0.01)
    assert jitter_score(moving[:2], [0.0, 0.04]) == 0


def test_a_still_face_becomes_calm(model, smooth):
    params = fit(model, still(model, 0.005))
    calm = smooth(params, TIMES)
    factor = 0.2 if smooth is smooth_params else 0.55
    assert jitter_score(calm.landmarks, TIMES) < factor * jitter_score(params.landmarks, TIMES)
    assert rotation_to_angles(calm.rotation).std(0).max() < rotation_to_angles(params.rotation).std(0).max()


def test_all_fields_agree_afterwards(model, smooth):
    params = fit(model, still(model, 0.004))
    calm = smooth(params, TIMES)
    again = fit_params(model, calm.landmarks, width=512, height=400, identity=params.identity)
    torch.testing.assert_close(calm.rotation @ calm.rotation.mT, torch.eye(3).expand(T, 3, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(calm.expression, again.expression, atol=0.3, rtol=0)
    torch.testing.assert_close(calm.gaze, again.gaze, atol=0.02, rtol=0)
    torch.testing.assert_close(calm.eye_openness, eye_openness(calm.landmarks), atol=1e-3, rtol=0)
    camera = camera_from_pose(calm.rotation, calm.translation, calm.scale, width=512, height=400)
    torch.testing.assert_close(calm.camera, camera, atol=1e-3, rtol=0)
    rebuilt = params_to_landmarks(model, calm)
    assert ((rebuilt - calm.landmarks).norm(dim=-1) / UNIT).mean() < 0.01


def test_blinks_and_lip_closures_survive(model, smooth):
    landmarks = still(model, 0.002)
    for upper, lower in RIGHT_EYELIDS + LEFT_EYELIDS:
        landmarks[30:33, upper] = landmarks[30:33, lower]  # shut for 120 ms
    for upper, lower in INNER_LIPS_PAIRS:
        landmarks[:, lower, 1] += 20  # mouth open, and shut for 120 ms
        landmarks[40:43, lower] = landmarks[40:43, upper]
    calm = smooth(fit(model, landmarks), TIMES).landmarks
    assert eye_openness(calm)[30:34].amin(0).max() < 0.06
    assert mouth_openness(calm)[40:44].min() < 0.03
    assert mouth_openness(calm)[20:38].min() > 0.2
    assert eye_openness(calm)[:28].min() > 0.25


def test_a_nod_keeps_its_time_and_height(model):
    times = torch.arange(T) / 25
    pitch = 0.3 * torch.exp(-(((times - 1.2) / 0.15) ** 2))
    turn = angles_to_rotation(torch.stack([0 * pitch, pitch, 0 * pitch], -1))
    landmarks = UNIT * model.mean @ turn.mT + torch.tensor([300.0, 180, 0])
    calm = rotation_to_angles(smooth_params(fit(model, landmarks), TIMES).rotation)[:, 1]
    assert calm.argmax() == 30
    torch.testing.assert_close(calm - calm[0], pitch, atol=0.015, rtol=0)


def test_a_steady_turn_is_followed_to_both_ends(model):
    yaw = torch.linspace(-0.4, 0.4, T)
    turn = angles_to_rotation(torch.stack([yaw, 0 * yaw, 0 * yaw], -1))
    landmarks = UNIT * model.mean @ turn.mT + torch.tensor([300.0, 180, 0])
    params = fit(model, landmarks)
    calm = smooth_params(params, TIMES)
    assert (calm.landmarks - params.landmarks).norm(dim=-1).max() < 0.005 * UNIT


def test_cuts_stay_sharp(model, smooth):
    landmarks = still(model, 0.001)
    landmarks[30:] += torch.tensor([90.0, 0, 0])
    calm = smooth(fit(model, landmarks), TIMES).landmarks
    middle = calm[:, :468, 0].mean(1)
    assert middle[:30].max() - middle[:30].min() < 1
    assert middle[30:].max() - middle[30:].min() < 1


def test_frames_without_a_face_are_filled_from_their_neighbours(model):
    landmarks = still(model, 0.001)
    clean = landmarks.clone()
    landmarks[25:27] += 20
    params = fit(model, landmarks)
    confidence = torch.ones(T)
    confidence[25:27] = 0
    calm = smooth_params(params.replace(confidence=confidence), TIMES)
    assert (calm.landmarks - clean).norm(dim=-1)[20:32].mean() < 0.01 * UNIT


def test_strength(model, smooth):
    params = fit(model, still(model, 0.004))
    torch.testing.assert_close(smooth(params, TIMES, strength=0).landmarks, params.landmarks)
    scores = [jitter_score(smooth(params, TIMES, strength=s).landmarks, TIMES) for s in (0.3, 1, 3)]
    assert scores == sorted(scores, reverse=True)


def test_short_clips_and_bad_times(model):
    params = fit(model, still(model, 0.004))
    assert smooth_params(params[:2], TIMES[:2]) is not None
    torch.testing.assert_close(smooth_params(params[:1], TIMES[:1]).landmarks, params[:1].landmarks)
    assert len(smooth_params(params[:3], TIMES[:3])) == 3
    with pytest.raises(ValueError, match="60 frames need as many times, got 3"):
        smooth_params(params, TIMES[:3])
    with pytest.raises(ValueError, match="must increase"):
        smooth_params(params, TIMES[::-1])


def test_the_live_filter_forgets_on_request_and_after_a_pause(model):
    params = fit(model, still(model, 0.004))
    smoother = OneEuro()
    smoother.step(params[0], 0)
    torch.testing.assert_close(smoother.step(params[5], 2.0).landmarks, params[5].landmarks)
    smoother.reset()
    torch.testing.assert_close(smoother.step(params[7], 2.04).landmarks, params[7].landmarks)
