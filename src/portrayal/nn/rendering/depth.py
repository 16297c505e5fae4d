"""Depths along rays as maps of how near a head is, which are the same whatever the camera's distance."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.face.camera import split_camera
from portrayal.nn.rendering.rays import camera_rays
from portrayal.types import Depth

SOME = 1e-4
"""Opacity from which on a depth is known."""


def depth_map(depth: Tensor, opacity: Tensor, camera: Tensor) -> Depth:
    """What the rays of square pictures met.

    Args:
        depth: (b, n, n) world units along the rays. opacity: (b, n, n) in [0, 1].
        camera: (b, 25); the origin of its world is the head's.

    Returns:
        (b, 1, n, n), float32.
    """
    side, camera = depth.shape[-1], camera.float()
    origins, directions = camera_rays(camera, height=side, width=side)
    points = origins + depth.float().flatten(1)[..., None] * directions
    return Depth(nearness(points, camera).unflatten(1, (1, side, side)), opacity.float()[:, None])


def nearness(points: Tensor, camera: Tensor) -> Tensor:
    """(b, n) how much nearer to cameras (b, 25) than the world's origin points (b, n, 3) are, world units."""
    forward = split_camera(camera)[0][:, None, :3, 2]
    return -(points * forward).sum(-1)


def resample_depth(seen: Depth, places: Tensor) -> Depth:
    """Bilinear; half transparent pixels count half, so that borders do not mix what is seen with what is not.

    Args:
        seen: (b, 1, n, n). places: (b, h, w, 2) x, y in [-1, 1]; further out the border is repeated.

    Returns:
        (b, 1, h, w).
    """
    both = torch.cat([seen.nearness * seen.opacity, seen.opacity], 1)
    weighted, opacity = F.grid_sample(both, places, padding_mode="border", align_corners=False).split(1, 1)
    return Depth(torch.where(opacity > SOME, weighted / opacity.clamp_min(SOME), 0), opacity)


def enlarge_depth(seen: Depth, side: int) -> Depth:
    """`resample_depth` of (b, 1, n, n) to the pixels of a picture of another side, (b, 1, side, side)."""
    steps = (torch.arange(side, device=seen.opacity.device) + 0.5) * 2 / side - 1
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
    return resample_depth(seen, grid.expand(len(seen.opacity), -1, -1, -1))
