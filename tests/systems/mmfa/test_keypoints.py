"""Canonical keypoints and the equations that move them."""

from __future__ import annotations

import math

import torch

from portrayal.face.pose import angles_to_rotation, head_to_picture
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.keypoints import (
    KeypointDetector,
    Pose,
    euler_xyz,
    relative_jacobian,
    tracked_pose,
    transform_keypoints,
    transform_keypoints_unscaled,
)
from tests.systems.conftest import mean_params


def some(b: int = 2, k: int = 4) -> tuple[torch.Tensor, torch.Tensor, Pose]:
    torch.manual_seed(0)
    rotation = angles_to_rotation(torch.randn(b, 3) * 0.5)
    return torch.randn(b, k, 3), torch.randn(b, k, 3), Pose(rotation, torch.rand(b) + 0.5, torch.randn(b, 2))


def test_equation_5() -> None:
    canonical, delta, pose = some()
    found = transform_keypoints(canonical, delta, pose.rotation, pose.scale, pose.translation)
    for i in range(2):
        for k in range(4):
            t = torch.cat([pose.translation[i], torch.zeros(1)])
            expected = pose.rotation[i] @ (pose.scale[i] * (canonical[i, k] + delta[i, k])) + t
            torch.testing.assert_close(found[i, k], expected)


def test_equation_3() -> None:
    canonical, delta, pose = some()
    t = torch.randn(2, 3)
    found = transform_keypoints_unscaled(canonical, delta, pose.rotation, t)
    for i in range(2):
        for k in range(4):
            torch.testing.assert_close(found[i, k], pose.rotation[i] @ canonical[i, k] + t[i] + delta[i, k])


def test_the_jacobian_of_equation_1_is_the_derivative_of_equation_5() -> None:
    canonical, delta, pose = some(1, 1)
    _, _, other = some(1, 1)
    other = Pose(other.rotation.mT, other.scale * 2, other.translation)

    def at(pose: Pose, point: torch.Tensor) -> torch.Tensor:
        return transform_keypoints(point[None, None], delta, pose.rotation, pose.scale, pose.translation)[0, 0]

    derivative = [torch.autograd.functional.jacobian(lambda x, p=p: at(p, x), canonical[0, 0]) for p in (pose, other)]
    torch.testing.assert_close(relative_jacobian(pose, other)[0], derivative[0] @ derivative[1].inverse())


def test_tracked_pose_puts_head_points_where_the_landmarks_are() -> None:
    params = mean_params(200)
    shape = torch.randn(1, 5, 3) * 0.4
    pixels = head_to_picture(shape, params.scale, params.rotation, params.translation)
    pose = tracked_pose(params, 200)
    found = transform_keypoints(shape, torch.zeros_like(shape), pose.rotation, pose.scale, pose.translation)
    torch.testing.assert_close((found[..., :2] + 1) * 100, pixels[..., :2])
    torch.testing.assert_close(found[..., 2] * 100, pixels[..., 2] - params.translation[:, 2:])


def test_euler_order_and_signs() -> None:
    quarter = math.pi / 2
    x, y, z = torch.eye(3)
    yaw, pitch, roll = euler_xyz(torch.eye(3) * quarter)
    torch.testing.assert_close(yaw @ z, x, atol=1e-6, rtol=0)
    torch.testing.assert_close(pitch @ y, z, atol=1e-6, rtol=0)
    torch.testing.assert_close(roll @ x, y, atol=1e-6, rtol=0)
    angles = torch.tensor([[0.3, -0.2, 0.5]])
    only = [euler_xyz(angles * torch.eye(3)[i]) for i in range(3)]
    torch.testing.assert_close(euler_xyz(angles), only[1] @ only[0] @ only[2])


def test_detector_gives_points_in_the_crop_and_trains() -> None:
    config = Config.tiny()
    net = KeypointDetector(config.detector)
    image = torch.rand(2, 3, config.image_size, config.image_size)
    points = net(image)
    assert points.shape == (2, config.detector.keypoints, 3)
    assert float(points.detach().abs().max()) < 1
    points.square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())
