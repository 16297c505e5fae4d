"""A head's rough shape, in the world of the tri-plane: where a picture shows it, and a first guess of the density.

No paper's: Export3D and OTAvatar use it where they have little to learn from. The numbers are those of an adult's head
with hair (about 17 x 24 x 19 cm) around the origin of `face.camera`'s world, 6 cm behind the face.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.face.camera import split_camera, world_to_picture
from portrayal.nn.precision import in_float32
from portrayal.nn.rendering.rays import camera_rays
from portrayal.nn.triplane import PLANE_COORDINATES

MIDDLE = (0.0, 0.05, -0.06)
"""World units, x y z."""
HALF_AXES = (0.24, 0.33, 0.26)
FACE = (0.0, 0.0, 0.17)
"""Middle of the face's surface."""
FACE_SIDE = 0.55
"""Side of a square around the face, world units."""
FEATURES = (((-0.086, 0.077, 0.173), 0.06), ((0.086, 0.077, 0.173), 0.06), ((0.0, -0.11, 0.196), 0.1))
"""Place and radius of an average person's eyes and mouth."""
SHARPNESS = 8.0
"""Of the silhouette's border, in squared radii."""
STEEPNESS, HEIGHT, FLOOR = 8.0, 3.0, -3.0
"""A first guess of the raw density, floor + height softplus(steepness (1 - r^2)): 21 in the middle of the head, -1 on
its surface, -3 away from it."""


@in_float32
def silhouette(camera: Tensor, *, side: int, grown: float = 1.2) -> Tensor:
    """Where cameras see the head: 1 on it, 0 away from it.

    Args:
        camera: (b, 25). side: of the picture in pixels. grown: factor on the half axes.

    Returns:
        (b, 1, side, side).
    """
    return torch.sigmoid(SHARPNESS * (1 - head_distance(camera, side=side) / grown**2))


@in_float32
def head_distance(camera: Tensor, *, side: int) -> Tensor:
    """How near rays come to the head's middle, in its half axes, squared: 1 on its rim. (b, 1, side, side)."""
    origins, directions = camera_rays(camera, height=side, width=side)
    axes = origins.new_tensor(HALF_AXES)
    start, along = (origins - origins.new_tensor(MIDDLE)) / axes, directions / axes
    nearest = start.square().sum(-1) - (start * along).sum(-1).square() / along.square().sum(-1)
    return nearest.unflatten(-1, (side, side))[:, None]


@in_float32
def face_crop(pictures: Tensor, camera: Tensor, *, size: int, zoom: Tensor, shift: Tensor) -> Tensor:
    """The face alone, at its own scale.

    Args:
        pictures: (n, 3, s, s). camera: (n, 25). zoom: (n,) and shift: (n, 2), in halves of the crop, to vary the crop.

    Returns:
        (n, 3, size, size).
    """
    middle, unit = seen_from(camera, camera.new_tensor([FACE]))  # (n, 1, 2) and (n, 1) in sides of the picture
    half = (FACE_SIDE / 2 * unit / zoom[:, None])[..., None]  # (n, 1, 1)
    steps = (torch.arange(size, device=camera.device) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    grid = torch.stack([x, y], -1).flatten(0, 1) + shift[:, None]  # (n, size^2, 2)
    places = 2 * (middle + half * grid) - 1
    return F.grid_sample(
        pictures, places.unflatten(1, (size, size)), mode="bilinear", padding_mode="border", align_corners=False
    )


@in_float32
def feature_mask(camera: Tensor, *, side: int) -> Tensor:
    """Where cameras see an average person's eyes and mouth: 1 there, 0 away from them. (n, 1, side, side)."""
    places, unit = seen_from(camera, camera.new_tensor([place for place, _ in FEATURES]))
    radii = camera.new_tensor([radius for _, radius in FEATURES]) * unit
    steps = (torch.arange(side, device=camera.device) + 0.5) / side
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    away = (torch.stack([x, y], -1)[None, None] - places[:, :, None, None]).square().sum(-1)
    return torch.exp(-(away / radii[..., None, None].square())).amax(1, keepdim=True)


def seen_from(camera: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Where cameras (n, 25) see points (m, 3): (n, m, 2), and how long a world unit is there: (n, m). In sides."""
    points = points.expand(len(camera), -1, -1)
    cam2world, intrinsics = split_camera(camera)
    depth = ((points - cam2world[:, None, :3, 3]) * cam2world[:, None, :3, 2]).sum(-1)
    return world_to_picture(points, camera, width=1, height=1), intrinsics[:, None, 0, 0] / depth


def front_points(side: int, *, box_size: float) -> tuple[Tensor, Tensor]:
    """The head's surface as the xy plane sees it from the front.

    Returns:
        (side^2, 3) world points, one for each texel of the plane, x fastest; beside the head they lie at its middle's
        depth. (side^2,) 1 on the head, 0 beside it.
    """
    steps = ((torch.arange(side) + 0.5) / side - 0.5) * box_size
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    inside = 1 - ((x - MIDDLE[0]) / HALF_AXES[0]).square() - ((y - MIDDLE[1]) / HALF_AXES[1]).square()
    z = MIDDLE[2] + HALF_AXES[2] * inside.clamp_min(0).sqrt()
    return torch.stack([x, y, z], -1).flatten(0, 1), torch.sigmoid(SHARPNESS * inside).flatten()


def ellipsoid_planes(channels: int, side: int, *, box_size: float) -> Tensor:
    """Planes (3, channels, side, side) whose mean feature is, in channel 0, 1 - r^2: 1 in the middle of the head, 0 on
    its surface; and 0 in all others. r^2 is a sum over the axes, which planes can hold."""
    steps = ((torch.arange(side) + 0.5) / side - 0.5) * box_size
    squared = [((steps - m) / a).square() for m, a in zip(MIDDLE, HALF_AXES, strict=True)]
    planes = torch.zeros(3, channels, side, side)
    xy, xz, _ = PLANE_COORDINATES["orthogonal"]
    planes[0, 0] = 3 * (1 - squared[xy[0]][None] - squared[xy[1]][:, None])
    planes[1, 0] = -3 * squared[xz[1]][:, None].expand(side, side)
    return planes
