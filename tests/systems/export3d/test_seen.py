"""What the model has seen: expressions bend outside of it, cameras are named."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from portrayal.face.camera import camera_from_pose
from portrayal.face.pose import angles_to_rotation
from portrayal.systems.export3d.seen import BEYOND, Seen, camera_angles


def pose_camera(yaw, pitch, roll=0.0):
    rotation = angles_to_rotation(torch.tensor([[yaw, pitch, roll]]))
    return camera_from_pose(rotation, torch.tensor([[64.0, 60, 0]]), torch.tensor([30.0]), width=128, height=128)


def seen() -> Seen:
    known = Seen(64, 10)
    expression = torch.cat([torch.full((1, 64), -2.0), torch.full((1, 64), 1.0)])
    known.add(expression[:1], torch.zeros(1, 10), pose_camera(-0.5, -0.2))
    known.add(expression[1:], torch.ones(1, 10), pose_camera(0.4, 0.3))
    return known


@given(st.floats(-3.1, 3.1), st.floats(-1.2, 1.2), st.floats(-1.2, 1.2))
def test_a_camera_tells_the_heads_angles(roll, yaw, pitch):
    found = camera_angles(pose_camera(yaw, pitch, roll))
    torch.testing.assert_close(found, torch.tensor([[yaw, pitch]]), atol=1e-4, rtol=0)


@given(st.floats(-50, 50))
def test_expressions_bend_outside_the_range_and_stay_inside_a_larger_one(value):
    known = seen()
    limited, _ = known.limited(torch.full((1, 64), value))
    assert (limited >= -2 - 3 * BEYOND - 1e-4).all()
    assert (limited <= 1 + 3 * BEYOND + 1e-4).all()
    if -2 <= value <= 1:
        torch.testing.assert_close(limited, torch.full((1, 64), value))


def test_what_is_held_back_is_told_frame_by_frame():
    expression = torch.zeros(3, 64)
    expression[1, 5] = 9
    assert seen().limited(expression)[1].tolist() == [False, True, False]


def test_cameras_outside_the_range():
    cameras = torch.cat([pose_camera(0.3, 0.0), pose_camera(0.6, 0.0), pose_camera(0.0, -0.4)])
    assert seen().outside(cameras).tolist() == [False, True, True]


def test_nothing_is_limited_before_training():
    empty, expression = Seen(64, 10), torch.randn(2, 64) * 100
    assert torch.equal(empty.limited(expression)[0], expression)
    assert not empty.outside(pose_camera(1.5, 0.0)).any()


def test_it_comes_back_from_half_precision():
    kept = {name: value.half().float() for name, value in seen().state_dict().items()}
    back = Seen(64, 10)
    back.load_state_dict(kept)
    assert back.known
    assert back.outside(pose_camera(0.6, 0.0)).all()
