"""Camera and light of Deep3DFaceRecon (Deng et al. 2019), whose coefficients OTAvatar's checkpoints are driven by.

Convention: not the project's. Points are row vectors; x right, y up, z towards the camera, which stands at z = 10 and
looks along -z. Picture points have y up too: the row of a picture is height - 1 - y.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

FOCAL_PX = 1015.0
CENTRE_PX = 112.0
"""Of pictures of 224 x 224."""
CAMERA_DISTANCE = 10.0
AMBIENT = 0.8
"""Added to the first spherical harmonic of every colour."""


def deep3d_rotation(angles: Tensor) -> Tensor:
    """(..., 3) pitch, yaw, roll in radians about x, y, z to the (..., 3, 3) R of `points @ R`.

    That is (Rz Ry Rx)^T of right-handed elementary rotations.
    """
    x, y, z = angles.unbind(-1)
    cx, sx, cy, sy, cz, sz = x.cos(), x.sin(), y.cos(), y.sin(), z.cos(), z.sin()
    columns = [
        torch.stack([cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx], -1),
        torch.stack([sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx], -1),
        torch.stack([-sy, cy * sx, cy * cx], -1),
    ]
    return torch.stack(columns, -1)


def deep3d_transform(points: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """(b, n, 3) points turned by (b, 3, 3) and moved by (b, 3)."""
    return points @ rotation + translation[:, None]


def deep3d_to_camera(points: Tensor) -> Tensor:
    """(..., 3) to camera axes: z is the distance from the camera."""
    x, y, z = points.unbind(-1)
    return torch.stack([x, y, CAMERA_DISTANCE - z], -1)


def deep3d_project(seen: Tensor) -> Tensor:
    """(..., 3) in camera axes to pixels (..., 2) of a 224 x 224 picture, y up."""
    return FOCAL_PX * seen[..., :2] / seen[..., 2:] + CENTRE_PX


def deep3d_shade(texture: Tensor, normals: Tensor, gamma: Tensor) -> Tensor:
    """Light the texture with nine spherical harmonics for each colour (Deep3DFaceRecon, Sec. 3.1).

    Args:
        texture: (b, n, 3) albedo. normals: (b, n, 3) of unit length. gamma: (b, 27), colour by colour.

    Returns:
        (b, n, 3), not limited.
    """
    light = rearrange(gamma, "b (colour basis) -> b colour basis", colour=3)
    light = torch.cat([light[..., :1] + AMBIENT, light[..., 1:]], -1)
    return texture * torch.einsum("bnk,bck->bnc", spherical_harmonics(normals), light)


def spherical_harmonics(normals: Tensor) -> Tensor:
    """(..., 3) unit normals to the first nine harmonics (..., 9), times the Lambertian kernel of their band."""
    x, y, z = normals.unbind(-1)
    band0 = math.pi / math.sqrt(4 * math.pi)
    band1 = 2 * math.pi / math.sqrt(3) * math.sqrt(3) / math.sqrt(4 * math.pi)
    band2 = 2 * math.pi / math.sqrt(8) * 3 * math.sqrt(5) / math.sqrt(12 * math.pi)
    return torch.stack(
        [
            band0 * torch.ones_like(x),
            -band1 * y,
            band1 * z,
            -band1 * x,
            band2 * x * y,
            -band2 * y * z,
            band2 / (2 * math.sqrt(3)) * (3 * z * z - 1),
            -band2 * x * z,
            band2 / 2 * (x * x - y * y),
        ],
        -1,
    )
