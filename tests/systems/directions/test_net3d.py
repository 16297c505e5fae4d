"""Net_3D on a real portrait: agrees with the tracker, follows a turned picture, gives gradients."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor

from portrayal.face.pose import rotation_to_angles
from portrayal.face.tracker import load_tracker
from portrayal.media.image import to_tensor
from portrayal.systems.directions.faces import frame_face
from portrayal.systems.directions.net3d import Net3d, pose_vector, turned_shape, wanted_shape


@pytest.fixture(scope="module")
def net() -> Net3d:
    return Net3d().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def framed() -> tuple[Tensor, np.ndarray]:
    """The portrait framed upright at 128, (1, 3, 128, 128) in [0, 1], and the tracker's landmarks of it."""
    picture = skimage.data.astronaut()
    landmarks = load_tracker("cpu").find(picture).landmarks[0].numpy()
    face = frame_face(picture, landmarks, size=128, upright=True)
    return to_tensor(np.ascontiguousarray(face.picture)), face.landmarks


@torch.no_grad()
def test_it_agrees_with_the_tracker(net: Net3d, framed: tuple[Tensor, np.ndarray]) -> None:
    image, landmarks = framed
    found = net(image).landmarks[0].numpy()
    apart = np.linalg.norm(found[:468, :2] - landmarks[:468, :2], axis=1)
    assert apart.mean() < 2, "pixels of 128"


@torch.no_grad()
def test_faces_do_not_depend_on_their_neighbours(net: Net3d, framed: tuple[Tensor, np.ndarray]) -> None:
    image, _ = framed
    both = net(torch.cat([image, image.flip(3)]))
    torch.testing.assert_close(both.identity[:1], net(image).identity, atol=2e-2, rtol=1e-2)
    yaw = rotation_to_angles(both.rotation)[:, 0]
    assert float(yaw.sum().abs()) < 0.12, "the mirrored head is turned the other way"


def test_the_wanted_shape_of_the_own_pose_is_the_shape(net: Net3d, framed: tuple[Tensor, np.ndarray]) -> None:
    params = net(framed[0])
    own = turned_shape(params)
    assert own.shape == (1, 468, 3)
    torch.testing.assert_close(wanted_shape(params, pose_vector(params, 12)), own, atol=1e-5, rtol=1e-4)
    rolled = pose_vector(params, 12)
    rolled[:, 2] += 0.3
    turned = wanted_shape(params, rolled)
    c, s = np.cos(0.3), np.sin(0.3)
    expected = own @ own.new_tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]]).mT
    torch.testing.assert_close(turned, expected, atol=1e-5, rtol=1e-4)


def test_pixels_get_gradients(net: Net3d, framed: tuple[Tensor, np.ndarray]) -> None:
    image = framed[0].clone().requires_grad_()
    pose_vector(net(image), 12).square().sum().backward()
    assert image.grad is not None
    assert bool(image.grad.isfinite().all())
    assert float(image.grad.abs().max()) > 0
