"""OTAvatar's camera labels from the head fit of its data, and the bias of intrinsics that inversion learns.

For checkpoints and data of the official code; our own training takes `face.camera.camera_from_pose`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from portrayal.face.camera import camera_label, split_camera
from portrayal.face.deep3d import CAMERA_DISTANCE, deep3d_rotation

UNIT = 0.27
"""World units per unit of the head fit."""
HEAD_OFFSET = (0.0, 0.015, 0.161)
"""Moves the fit's origin to EG3D's, before the distance is scaled."""
DISTANCE_SCALE = 2.7 / 4
FOCAL_OF_DATA, FOCAL_OF_EG3D = 1050.0, 2985.29 / 700
"""Pixels of the head fit, and the same in picture widths."""

Averaging = Literal["official", "rigid"]


def camera_from_condition(
    angles: Tensor, translation: Tensor, focal_px: Tensor, *, averaging: Averaging = "rigid"
) -> Tensor:
    """Cameras of the frames of one clip.

    Args:
        angles: (t, 3) radians about x, y, z. translation: (t, 3). focal_px: (t,). All of the head fit.
        averaging: the pose is the mean over the frames before and after. `official` as the published checkpoint was
            trained: the last frame of the clip never enters, and a mean of rotations is none. `rigid`: it enters, and
            the mean is made the nearest rotation.

    Returns:
        (t, 25), `face.camera`.

    Differs: the official code gives NaN for a clip of one frame; here that frame is its own mean.
    """
    turned = deep3d_rotation(angles * angles.new_tensor([-1, -1, 1]))
    count = len(angles) - 1 if averaging == "official" and len(angles) > 1 else len(angles)
    rotation, translation = neighbour_mean(turned, count), neighbour_mean(translation, count)
    if averaging == "rigid":
        rotation = nearest_rotation(rotation)
    back = translation - translation.new_tensor([0, 0, CAMERA_DISTANCE])
    centre = -(rotation @ back[..., None])[..., 0] * UNIT + translation.new_tensor(HEAD_OFFSET)
    cam2world = torch.zeros(len(angles), 4, 4).to(angles)
    cam2world[:, :3, :3] = rotation * rotation.new_tensor([1, -1, -1])
    cam2world[:, :3, 3] = centre * DISTANCE_SCALE
    cam2world[:, 3, 3] = 1
    return camera_label(cam2world, _intrinsics(focal_px))


def bias_intrinsics(camera: Tensor, bias: Tensor) -> Tensor:
    """Scale and move all nine intrinsics by what inversion has learned: K (1 + tanh s) + t.

    Args:
        camera: (b, 25). bias: (1, 18) or (b, 18), s then t; zeros change nothing.
    """
    cam2world, intrinsics = split_camera(camera)
    scale, shift = bias.unflatten(-1, (2, 3, 3)).unbind(-3)
    return camera_label(cam2world, intrinsics * (1 + scale.tanh()) + shift)


def neighbour_mean(values: Tensor, count: int) -> Tensor:
    """(t, ...) to the mean of each with the one before and the one after, of the first `count` alone."""
    total = len(values)
    spans = [values[max(i - 1, 0) : min(i + 2, count)] for i in range(total)]
    return torch.stack([span.mean(0) for span in spans])


def nearest_rotation(matrix: Tensor) -> Tensor:
    """(..., 3, 3) to the rotation nearest to it (orthogonal Procrustes)."""
    u, _, vh = torch.linalg.svd(matrix)
    sign = torch.ones_like(matrix[..., 0])
    sign[..., -1] = torch.linalg.det(u @ vh).sign()
    return (u * sign[..., None, :]) @ vh


def _intrinsics(focal_px: Tensor) -> Tensor:
    """(t,) to normalised (t, 3, 3)."""
    focal = FOCAL_OF_EG3D * focal_px / FOCAL_OF_DATA
    intrinsics = torch.eye(3).to(focal_px).repeat(len(focal_px), 1, 1)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
    intrinsics[:, :2, 2] = 0.5
    return intrinsics
