"""OTAvatar's cameras: the official numbers, and that ours are rigid and exist for one frame."""

from __future__ import annotations

import torch

from portrayal.face.camera import RADIUS, split_camera
from portrayal.face.deep3d import deep3d_rotation
from portrayal.systems.otavatar.camera import bias_intrinsics, camera_from_condition, nearest_rotation, neighbour_mean
from tests.parity import parity_fixture


def test_parity() -> None:
    fixture = parity_fixture("otavatar_condition")
    angles, translation, focal = (fixture.inputs[name] for name in ("angles", "translation", "focal"))
    fixture.check("rotation", deep3d_rotation(angles * torch.tensor([-1, -1, 1])))
    labels = camera_from_condition(angles, translation, focal, averaging="official")
    fixture.check("labels_25", labels)
    bias = torch.from_numpy(fixture.arrays["out.intrinsic_bias"])
    fixture.check("labels_25_with_intrinsic_bias", bias_intrinsics(labels, bias))


def test_ours_is_rigid_and_looks_at_every_frame() -> None:
    random = torch.Generator().manual_seed(0)
    angles, translation = torch.randn(5, 3, generator=random) * 0.3, torch.randn(5, 3, generator=random) * 0.1
    camera = camera_from_condition(angles, translation, torch.full((5,), 1050.0))
    rotation = split_camera(camera)[0][:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand(5, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(5))
    other = camera_from_condition(torch.cat([angles[:4], -angles[4:]]), translation, torch.full((5,), 1050.0))
    assert not torch.allclose(other[3:], camera[3:], atol=1e-3)
    torch.testing.assert_close(other[:3], camera[:3])


def test_one_frame_is_its_own_mean() -> None:
    for averaging in ("official", "rigid"):
        camera = camera_from_condition(
            torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([1050.0]), averaging=averaging
        )
        cam2world, intrinsics = split_camera(camera)
        torch.testing.assert_close(cam2world[0, :3, :3], torch.diag(torch.tensor([1.0, -1, -1])))
        # Ten units of the fit are EG3D's distance, give or take the offset of the head.
        torch.testing.assert_close(cam2world[0, :3, 3], torch.tensor([0, 0.015 * 0.675, (2.7 + 0.161) * 0.675]))
        assert cam2world[0, 2, 3] < RADIUS
        torch.testing.assert_close(intrinsics[0, 0, 0], torch.tensor(2985.29 / 700))


def test_means_and_rotations() -> None:
    values = torch.arange(4.0)
    assert neighbour_mean(values, 4).tolist() == [0.5, 1, 2, 2.5]
    assert neighbour_mean(values, 3).tolist() == [0.5, 1, 1.5, 2]
    rotation = deep3d_rotation(torch.tensor([0.3, -0.2, 0.9]))
    torch.testing.assert_close(nearest_rotation(1.7 * rotation), rotation)


def test_no_bias_changes_nothing() -> None:
    camera = camera_from_condition(torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([1000.0]))
    torch.testing.assert_close(bias_intrinsics(camera, torch.zeros(1, 18)), camera)
