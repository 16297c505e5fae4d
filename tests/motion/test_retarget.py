"""Motion carried from one made-up person to another."""

from dataclasses import dataclass, fields
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from portrayal.errors import InputError
from portrayal.face.camera import camera_from_pose
from portrayal.face.measure import eye_openness, mouth_openness
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.pose import angles_to_rotation, fit_similarity, head_to_picture, rotation_to_angles
from portrayal.face.topology import RIGID
from portrayal.motion.compose import head_shape
from portrayal.motion.openings import EYE_PAIRS, gaps, shut_level
from portrayal.motion.options import RetargetOptions
from portrayal.motion.regions import eye_mask, lips_mask
from portrayal.motion.retarget import Retargeter, ping_pong, retarget
from portrayal.types import Driving, FaceParams

REGIONS = ("all", "pose", "expression", "eyes", "lips")
STILL = {"smooth": 0.0, "reference": 0}
quick = settings(max_examples=15, deadline=None)
TOLERANCE_PX = 2e-3
"""Rounding of float32 between pixels and head units in a 512 px picture."""


def driving_of(params: FaceParams, fps: int = 25) -> Driving:
    return Driving(params, tuple(Fraction(i, fps) for i in range(len(params))))


def assert_same(a: FaceParams, b: FaceParams, tolerance: float = TOLERANCE_PX) -> None:
    for field in fields(FaceParams):
        if field.name != "confidence":
            x, y = getattr(a, field.name), getattr(b, field.name)
            assert_close(x, y.expand_as(x), atol=tolerance, rtol=1e-5, msg=lambda m, n=field.name: f"{n}: {m}")


def moved_picture(params: FaceParams, *, roll: float = 0.0, scale: float = 1.0, shift: float = 0.0) -> FaceParams:
    """The same face in a picture that was rolled, scaled and shifted about its middle."""
    turn = angles_to_rotation(torch.tensor([[0.0, 0.0, roll]]))
    middle = torch.tensor([256.0, 256.0, 0.0])
    moved = lambda x: scale * (x - middle) @ turn[0].T + middle + shift  # noqa: E731
    return params.replace(
        landmarks=moved(params.landmarks),
        rotation=turn @ params.rotation,
        translation=moved(params.translation),
        scale=scale * params.scale,
    )


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("strength", [0.5, 1.0, 1.5])
def test_driving_at_its_reference_gives_the_source(person, region, strength):
    source = person(
        3, angles=torch.tensor([[0.3, -0.1, 0.2]]), jaw=torch.tensor([0.2]), gaze=torch.tensor([[0.1, 0.0]])
    )
    driving = driving_of(person(4, angles=torch.tensor([[-0.2, 0.1, 0.1]]), smile=torch.tensor([0.4])))
    result = retarget(source, driving, RetargetOptions(region=region, strength=strength, **STILL))
    assert_same(result.params, source)


@pytest.mark.parametrize("motion", ["relative", "absolute"])
@pytest.mark.parametrize("region", REGIONS)
def test_strength_zero_gives_the_source(person, actor, motion, region):
    source = person(3, jaw=torch.tensor([0.3]))
    options = RetargetOptions(motion=motion, region=region, strength=0.0, **STILL)
    assert_same(retarget(source, driving_of(actor(5)), options).params, source)


@quick
@given(
    own=st.tuples(*[st.floats(-0.4, 0.4)] * 3), turn=st.tuples(*[st.floats(-0.4, 0.4)] * 3), strength=st.floats(0, 1.5)
)
def test_angles_add(person, own, turn, strength):
    source, rest = person(3, angles=torch.tensor([own])), torch.tensor([0.05, -0.1, 0.1])
    driving = person(4, angles=torch.stack([rest, rest + torch.tensor(turn)]))
    options = RetargetOptions(strength=strength, **STILL)
    result = rotation_to_angles(retarget(source, driving_of(driving), options).params.rotation)
    measured = rotation_to_angles(driving.rotation)
    expected = rotation_to_angles(source.rotation) + strength * (measured[1] - measured[0])
    assert_close(result[1:], expected, atol=1e-5, rtol=0)


@quick
@given(roll=st.floats(-3.0, 3.0))
def test_rolling_the_driving_picture_rolls_the_result(person, actor, roll):
    source, driving = person(3, angles=torch.tensor([[0.4, 0.1, 0.2]])), actor(5)
    mover = Retargeter(source, driving[0])
    plain, rolled = mover.step(driving), mover.step(moved_picture(driving, roll=roll))
    assert_close(
        rolled.rotation, angles_to_rotation(torch.tensor([[0.0, 0.0, roll]])) @ plain.rotation, atol=1e-5, rtol=0
    )
    assert_close(head_shape(rolled), head_shape(plain), atol=1e-4, rtol=0)


@quick
@given(roll=st.floats(-0.5, 0.5), scale=st.floats(0.4, 2.5), shift=st.floats(-200, 200))
def test_the_driving_camera_does_not_matter(person, actor, roll, scale, shift):
    """A camera that is tilted, closer or aside during the whole clip changes neither turns nor expressions."""
    source, driving = person(3), actor(5)
    filmed = moved_picture(driving, roll=roll, scale=scale, shift=shift)
    plain = retarget(source, driving_of(driving), RetargetOptions(**STILL)).params
    other = retarget(source, driving_of(filmed), RetargetOptions(**STILL)).params
    assert_close(other.rotation, plain.rotation, atol=1e-4, rtol=0)
    assert_close(other.scale, plain.scale, atol=1e-2, rtol=0)
    assert_close(head_shape(other), head_shape(plain), atol=2e-4, rtol=0)


def test_the_head_moves_by_its_own_size(person):
    driving = FaceParams.cat([person(4, unit_px=110.0), person(4, unit_px=110.0, at=(278.0, 256.0))])
    source = person(3, unit_px=55.0)
    result = retarget(source, driving_of(driving), RetargetOptions(**STILL)).params
    moved = (result.translation[1] - source.translation[0])[:2]
    assert_close(moved, torch.tensor([11.0, 0.0]), atol=0.3, rtol=0)


def test_coming_nearer_makes_the_source_larger(person):
    driving = FaceParams.cat([person(4, unit_px=100.0), person(4, unit_px=110.0), person(4, unit_px=300.0)])
    result = retarget(person(3), driving_of(driving), RetargetOptions(**STILL)).params
    ratio = result.scale[1:] / result.scale[0]
    assert_close(ratio[0], torch.tensor(1.1), atol=0.01, rtol=0)
    assert 1.3 < ratio[1] < 1.5  # the shoulders do not grow along


def test_a_driver_who_walks_away_does_not_take_the_head_off(person):
    driving = FaceParams.cat([person(4), person(4, at=(900.0, 300.0))])
    source = person(3)
    moved = retarget(source, driving_of(driving), RetargetOptions(**STILL)).params.translation - source.translation
    assert (moved[1] / source.scale)[:2].abs().max() <= 1.0


@pytest.mark.parametrize("motion", ["relative", "absolute"])
@pytest.mark.parametrize("seed", range(4))
def test_a_shut_eye_shuts_and_lids_never_cross(person, motion, seed):
    blink = torch.tensor([0.0, 0.2, 0.5, 0.8, 1.0, 0.6])
    source, driving = person(seed, angles=torch.tensor([[0.2, 0.1, 0.0]])), person(seed + 10, blink=blink)
    options = RetargetOptions(motion=motion, region="eyes" if seed % 2 else "all", **STILL)
    result = retarget(source, driving_of(driving), options).params
    lids = gaps(head_shape(result))[:, :EYE_PAIRS]
    assert lids[4].abs().max() < 1e-5  # the upper lid meets the lower one in every pair
    assert lids[..., 1].min() > -1e-5
    openness = result.eye_openness.mean(1)
    assert openness[4] == 0
    assert (openness[:4].diff() < 0).all()
    if motion == "relative":
        assert_close(openness[0], source.eye_openness.mean(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("lowest", [0.03, 0.12, 0.2])
def test_blinks_shut_the_eye_however_far_the_tracker_follows_them(person, lowest):
    """A tracker that sees lids meet at an openness of 0.2 still makes the source blink, and only then."""
    seconds = torch.arange(100) / 25
    blinks = sum((1 - ((seconds - at).abs() / 0.12)).clamp(0, 1) for at in (1.0, 2.6))
    wide = 0.3 - (0.3 - lowest) * blinks + 0.004 * (7 * seconds).sin()
    driving = person(4).map(lambda x: x.expand(100, *x.shape[1:])).replace(eye_openness=wide[:, None].expand(100, 2))
    assert shut_level(driving.eye_openness, driving_of(driving).times) == pytest.approx(lowest, abs=0.06)
    source = person(3)
    openness = retarget(source, driving_of(driving), RetargetOptions(**STILL)).params.eye_openness.mean(1)
    assert openness[25] < 0.01
    assert openness[65] < 0.01
    assert openness[blinks == 0].min() > 0.9 * source.eye_openness.mean()


def test_eyes_that_are_narrowed_for_long_are_no_blink():
    times = tuple(Fraction(i, 25) for i in range(100))
    openness = torch.full((100, 2), 0.3)
    openness[30:70] = 0.2
    assert shut_level(openness, times) is None
    assert shut_level(openness[:2], times[:2]) is None


def test_opening_the_mouth_fits_the_mouth(person):
    """A mouth twice as wide opens the same share of its width."""
    driving = person(4, jaw=torch.tensor([0.0, 0.7]))
    small = person(3)
    shape = head_shape(small)
    centre = shape[:, [61, 291]].mean(1, keepdim=True)
    shrunk = shape + lips_mask()[:, None] * -0.25 * (shape - centre)
    landmarks = head_to_picture(shrunk, small.scale, small.rotation, small.translation)
    opened = [
        mouth_openness(head_shape(retarget(face, driving_of(driving), RetargetOptions(**STILL)).params))
        for face in (small, small.replace(landmarks=landmarks))
    ]
    assert_close((opened[1][1] - opened[1][0]) / (opened[0][1] - opened[0][0]), torch.tensor(0.75), atol=0.03, rtol=0)


def test_lips_that_close_close_the_source_and_do_not_cross(person):
    source = person(3, jaw=torch.tensor([0.35]))
    driving = person(4, jaw=torch.tensor([0.5, 0.25, 0.0, 0.9]))
    result = head_shape(retarget(source, driving_of(driving), RetargetOptions(**STILL)).params)
    lips = gaps(result)[:, EYE_PAIRS:, 1]
    middle = lips[:, 2:7]
    assert lips.min() > -1e-5
    assert middle[2].max() < 1e-3
    assert (middle[3] > middle[0]).all()
    assert (middle[0] > middle[1]).all()


def test_absolute_lips_close_an_open_source(person):
    source, driving = person(3, jaw=torch.tensor([0.35])), person(4, jaw=torch.tensor([0.0, 0.5]))
    result = retarget(source, driving_of(driving), RetargetOptions(motion="absolute", **STILL)).params
    openness = mouth_openness(head_shape(result))
    assert openness[0] < 0.01
    assert openness[1] > 0.1


def test_absolute_takes_the_driving_rotation_and_keeps_the_identity(person, actor):
    source, driving = person(3, angles=torch.tensor([[0.4, 0.2, 0.1]])), actor(5)
    result = retarget(source, driving_of(driving), RetargetOptions(motion="absolute", **STILL)).params
    assert_close(result.rotation, driving.rotation, atol=1e-5, rtol=0)
    assert_close(result.identity, source.identity.expand(len(driving), -1))
    shapes = [head_shape(face)[:, RIGID] for face in (result, source, driving)]
    assert (shapes[0] - shapes[1]).norm(dim=-1).mean() < 0.6 * (shapes[0] - shapes[2]).norm(dim=-1).mean()


def test_absolute_motion_of_the_same_person_is_that_person(actor):
    driving = actor(5)
    result = retarget(driving[2], driving_of(driving), RetargetOptions(motion="absolute", **STILL)).params
    assert (head_shape(result) - head_shape(driving)).norm(dim=-1).mean() < 0.012


@pytest.mark.parametrize("motion", ["relative", "absolute"])
def test_regions_leave_the_rest_alone(person, actor, motion):
    source, driving = person(3, jaw=torch.tensor([0.1])), actor(5)
    own = head_shape(source)

    def result(region: str) -> tuple[FaceParams, Tensor]:
        options = RetargetOptions(motion=motion, region=region, **STILL)
        params = retarget(source, driving_of(driving), options).params
        return params, (head_shape(params) - own).norm(dim=-1)

    for region, mask in (("eyes", eye_mask()), ("lips", lips_mask())):
        params, moved = result(region)
        assert_close(params.rotation, source.rotation.expand_as(params.rotation))
        assert moved[:, mask == 0].max() < 1e-5
        assert moved[:, mask == 1].max() > 0.01
    eyes, lips = result("eyes")[0], result("lips")[0]
    assert_close(lips.eye_openness, source.eye_openness.expand_as(lips.eye_openness))
    assert_close(lips.gaze, source.gaze.expand_as(lips.gaze))
    assert eyes.eye_openness.std(0).min() > 0.02
    pose, moved = result("pose")
    assert moved.max() < 1e-5
    assert rotation_to_angles(pose.rotation)[:, 0].std() > 0.1
    expression, moved = result("expression")
    assert_close(expression.scale, source.scale.expand_as(expression.scale))
    assert_close(expression.rotation, source.rotation.expand_as(expression.rotation))
    assert moved.amax(1)[1:].min() > 0.01


@pytest.mark.parametrize("motion", ["relative", "absolute"])
def test_all_fields_say_the_same(person, actor, motion):
    """Measuring the landmarks of the result again gives its pose, coefficients, gaze, openness and camera."""
    source, driving = person(3, angles=torch.tensor([[0.2, 0.1, 0.1]])), actor(5)
    result = retarget(source, driving_of(driving), RetargetOptions(motion=motion, **STILL)).params
    again = fit_params(load_face_model(), result.landmarks, width=512, height=512, identity=source.identity[0])
    turned, _, _ = fit_similarity(torch.eye(3), again.rotation.mT @ result.rotation)
    assert_close(turned, torch.ones(len(result)), atol=1e-3, rtol=0)
    assert rotation_to_angles(again.rotation.mT @ result.rotation).abs().max() < 0.02
    assert_close(again.scale, result.scale, atol=0, rtol=0.01)
    assert (again.expression - result.expression).square().mean().sqrt() < 0.15
    assert_close(eye_openness(result.landmarks), result.eye_openness, atol=5e-3, rtol=0)
    seen = result.eye_openness > 0.15
    assert (again.gaze - result.gaze)[seen].abs().max() < 0.06
    camera = camera_from_pose(result.rotation, result.translation, result.scale, width=512, height=512)
    assert_close(camera, result.camera)


def test_the_gaze_follows(person):
    gaze = torch.tensor([[0.0, 0.0], [0.3, 0.0], [-0.3, 0.1]])
    source, driving = person(3, gaze=torch.tensor([[0.1, 0.0]])), person(4, gaze=gaze)
    result = retarget(source, driving_of(driving), RetargetOptions(**STILL)).params
    change = (result.gaze - source.gaze).mean(1)
    assert_close(change, (driving.gaze - driving.gaze[:1]).mean(1), atol=1e-4, rtol=0)
    iris = result.landmarks[:, 468, 0] - source.landmarks[:, 468, 0]
    assert iris[1] < -2  # positive yaw looks to the picture's left
    assert iris[2] > 2


def test_frames_one_by_one_are_the_clip(person, actor):
    source, driving = person(3), actor(5)
    whole = retarget(source, driving_of(driving), RetargetOptions(**STILL)).params
    mover = Retargeter(source, driving[0], shut_eye=shut_level(driving.eye_openness, driving_of(driving).times))
    assert_same(FaceParams.cat([mover.step(driving[i], first=i) for i in range(len(driving))]), whole, 1e-3)


def test_a_source_video_keeps_its_own_motion_where_nothing_drives(actor):
    source, driving = actor(3, t=5), actor(5, t=12)
    index = [0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2, 3]
    result = retarget(source, driving_of(driving), RetargetOptions(region="lips", **STILL)).params
    own = source[index]
    assert_close(result.rotation, own.rotation)
    assert_close(result.eye_openness, own.eye_openness)
    outside = lips_mask() == 0
    assert_close(result.landmarks[:, outside], own.landmarks[:, outside], atol=TOLERANCE_PX, rtol=0)
    assert len(retarget(source, driving_of(driving[:2]), RetargetOptions(**STILL)).params) == 2


def test_ping_pong():
    assert ping_pong(torch.arange(8), 4).tolist() == [0, 1, 2, 3, 2, 1, 0, 1]
    assert ping_pong(torch.arange(3), 1).tolist() == [0, 0, 0]


def test_frames_without_a_face_hold_the_nearest(person, actor):
    driving = actor(5)
    lost = driving.confidence.clone()
    lost[5:7] = 0
    broken = driving.replace(confidence=lost, landmarks=driving.landmarks * lost[:, None, None])
    result = retarget(person(3), driving_of(broken), RetargetOptions(**STILL)).params
    assert_close(result.landmarks[5], result.landmarks[4])
    assert_close(result.landmarks[6], result.landmarks[7])
    assert result.confidence[5:7].tolist() == [0, 0]
    with pytest.raises(InputError, match="no frame"):
        retarget(person(3), driving_of(driving.replace(confidence=0 * lost)))


def test_a_reference_outside_the_clip_is_refused(person, actor):
    with pytest.raises(InputError, match="12 frames"):
        retarget(person(3), driving_of(actor(5)), RetargetOptions(reference=12))


def test_tensors_of_a_system_pass_through(person, actor):
    @dataclass(frozen=True)
    class Coded(Driving):
        code: Tensor

    driving = Coded(actor(5), tuple(Fraction(i) for i in range(12)), torch.randn(12, 7))
    result = retarget(person(3), driving)
    assert isinstance(result, Coded)
    assert_close(result.code, driving.code)
    assert result.times == driving.times
