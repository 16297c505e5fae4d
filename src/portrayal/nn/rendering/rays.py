"""Rays from a camera, and where they meet the cube of the planes. Frames and intrinsics as in `face.camera`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.face.camera import split_camera


def camera_rays(camera: Tensor, *, height: int, width: int) -> tuple[Tensor, Tensor]:
    """One ray through every pixel's centre.

    Args:
        camera: (b, 25), `face.camera.camera_label`; the intrinsics may have skew and any principal point.
        height, width: of the picture in pixels; `intrinsics` count x in widths and y in heights.

    Returns:
        Origins and unit directions, both (b, r, 3) world; r = height * width, x fastest.
    """
    cam2world, intrinsics = split_camera(camera)
    fx, skew, cx = intrinsics[:, 0].unbind(-1)
    fy, cy = intrinsics[:, 1, 1], intrinsics[:, 1, 2]
    v, u = torch.meshgrid(_centres(height, camera), _centres(width, camera), indexing="ij")
    y = (v.flatten() - cy[:, None]) / fy[:, None]
    x = (u.flatten() - cx[:, None] - skew[:, None] * y) / fx[:, None]
    seen = torch.stack([x, y, torch.ones_like(x)], -1)  # (b, r, 3) camera axes
    directions = F.normalize(seen @ cam2world[:, :3, :3].mT, dim=-1)
    return cam2world[:, None, :3, 3].expand_as(directions), directions


def box_limits(origins: Tensor, directions: Tensor, *, box_size: float) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays enter and leave the cube of side `box_size` around the world's origin (slab method).

    Args:
        origins, directions: (b, r, 3).

    Returns:
        near and far (b, r), not negative, in lengths of `directions`; hit (b, r), false where the ray misses the cube
        or the cube is behind it. There near and far mean nothing, though they are finite.
    """
    safe = torch.where(directions.abs() < 1e-12, 1e-12, directions)
    a, b = (-box_size / 2 - origins) / safe, (box_size / 2 - origins) / safe
    near = torch.minimum(a, b).amax(-1)
    far = torch.maximum(a, b).amin(-1)
    return near.clamp_min(0), far.clamp_min(0), far > near.clamp_min(0)


def points_on_rays(origins: Tensor, directions: Tensor, depths: Tensor) -> Tensor:
    """(..., 3), (..., 3) and depths (..., s) to points (..., s, 3)."""
    return origins[..., None, :] + depths[..., None] * directions[..., None, :]


def _centres(count: int, like: Tensor) -> Tensor:
    return (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count
