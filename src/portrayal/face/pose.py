"""Head pose: rotations, and the similarity that carries one point set onto another.

Convention: axes x right, y down, z into the scene; R = Rz(roll) @ Ry(yaw) @ Rx(pitch), right-handed elementary
rotations, column vectors. Positive yaw turns the nose to the picture's left (the person's right), positive pitch looks
down, positive roll is clockwise in the picture. Turning a picture clockwise by r adds exactly r to roll.
"""

from __future__ import annotations

import torch
from torch import Tensor

from portrayal.nn.precision import in_float32


def angles_to_rotation(angles: Tensor) -> Tensor:
    """Yaw, pitch, roll to rotation matrices.

    Args:
        angles: (..., 3) yaw, pitch, roll in radians.

    Returns:
        (..., 3, 3) head to picture.
    """
    yaw, pitch, roll = angles.unbind(-1)
    cy, sy, cp, sp, cr, sr = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin(), roll.cos(), roll.sin()
    rows = [
        torch.stack([cr * cy, cr * sy * sp - sr * cp, cr * sy * cp + sr * sp], -1),
        torch.stack([sr * cy, sr * sy * sp + cr * cp, sr * sy * cp - cr * sp], -1),
        torch.stack([-sy, cy * sp, cy * cp], -1),
    ]
    return torch.stack(rows, -2)


def rotation_to_angles(rotation: Tensor) -> Tensor:
    """The inverse of `angles_to_rotation`; yaw in [-pi/2, pi/2].

    Args:
        rotation: (..., 3, 3).

    Returns:
        (..., 3) yaw, pitch, roll in radians.
    """
    yaw = torch.asin((-rotation[..., 2, 0]).clamp(-1, 1))
    pitch = torch.atan2(rotation[..., 2, 1], rotation[..., 2, 2])
    roll = torch.atan2(rotation[..., 1, 0], rotation[..., 0, 0])
    return torch.stack([yaw, pitch, roll], -1)


@in_float32
def fit_similarity(points: Tensor, targets: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Scale, rotation and translation with targets = scale * R @ points + translation, least squares (Umeyama 1991).

    Args:
        points: (..., n, d), d = 2 or 3.
        targets: (..., n, d).
        weights: (n,) or (..., n), not negative; None weighs all points alike.

    Returns:
        scale (...,), rotation (..., d, d) without reflection, translation (..., d).
    """
    points, targets = torch.broadcast_tensors(points, targets)
    w = torch.ones(points.shape[:-1]).to(points) if weights is None else weights.to(points).expand(points.shape[:-1])
    w = (w / w.sum(-1, keepdim=True))[..., None]
    mean_p, mean_t = (w * points).sum(-2, keepdim=True), (w * targets).sum(-2, keepdim=True)
    p, q = points - mean_p, targets - mean_t
    u, s, vh = torch.linalg.svd((w * q).mT @ p)
    sign = torch.ones_like(s)
    sign[..., -1] = torch.linalg.det(u @ vh).sign()
    rotation = (u * sign[..., None, :]) @ vh
    scale = (s * sign).sum(-1) / (w * p.square()).sum((-2, -1)).clamp_min(1e-12)
    translation = mean_t[..., 0, :] - scale[..., None] * (rotation @ mean_p[..., 0, :, None])[..., 0]
    return scale, rotation, translation


def head_to_picture(shape: Tensor, scale: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """Head-frame points to pixels: scale * R @ S + translation.

    Args:
        shape: (t, n, 3) head units.
        scale: (t,). rotation: (t, 3, 3). translation: (t, 3).

    Returns:
        (t, n, 3) pixels.
    """
    return scale[:, None, None] * shape @ rotation.mT + translation[:, None]


def picture_to_head(points: Tensor, scale: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """The inverse of `head_to_picture`: (t, n, 3) pixels to head units."""
    return (points - translation[:, None]) @ rotation / scale[:, None, None]
