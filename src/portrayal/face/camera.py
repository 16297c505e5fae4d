"""Cameras of the tri-plane systems, and how a head's pose becomes one.

Convention (EG3D): a camera is 25 numbers, cam2world 4x4 row-major and intrinsics 3x3 row-major. Camera axes x right,
y down, z into the scene. World axes x right, y up, z towards the frontal camera, so the canonical head looks along +z
and world = diag(1, -1, -1) head. Intrinsics are normalised: x by the picture's width, y by its height, origin at the
picture's corner, so (0.5, 0.5) is the middle. A caller who takes the field of view for the vertical one would be off:
EG3D's 18.837 degrees span the diagonal.

A head that turns by R in front of a fixed camera is, for the renderer, a fixed head and a camera that orbits it by
R^-1. The world's origin is the head frame's origin (6 cm behind the face, see `morphable`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

FOCAL = 4.2647
"""EG3D's focal length in picture widths."""
RADIUS = 2.7
"""EG3D's distance of the camera from the world's origin."""
FOV_DEG = 18.837
WORLD_UNITS_PER_HEAD_UNIT = 0.243
"""The distance of the outer eye corners in the world: 0.9 decimetres at EG3D's 0.27 units per decimetre."""
METRES_PER_WORLD_UNIT = 0.09 / WORLD_UNITS_PER_HEAD_UNIT
"""The outer corners of the eyes of an adult are about 9 cm apart."""
FACE_DEPTH = 0.66
"""Head units from the head's origin forward to the middle of the face's surface, where `scale` holds."""


def fov_to_intrinsics(fov_deg: float) -> Tensor:
    """(3, 3) normalised intrinsics of a square picture from its diagonal field of view in degrees.

    The literals 3.14159 and 1.414 are EG3D's; released weights saw cameras made with them.
    """
    focal = 1 / (math.tan(fov_deg * 3.14159 / 360) * 1.414)
    return torch.tensor([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]], dtype=torch.float32)


def look_at(origin: Tensor, target: Tensor) -> Tensor:
    """Camera at `origin` that looks at `target`, upright in the world.

    Args:
        origin: (..., 3) world. target: (..., 3) world, not straight above or below `origin`.

    Returns:
        (..., 4, 4) cam2world.
    """
    forward = torch.nn.functional.normalize(target - origin, dim=-1)
    up = torch.zeros_like(forward)
    up[..., 1] = 1
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up), dim=-1)
    down = torch.linalg.cross(forward, right)
    return _cam2world(torch.stack([right, down, forward], -1), origin.expand_as(forward))


def orbit(azimuth: Tensor, elevation: Tensor, *, radius: float = RADIUS, target: Tensor | None = None) -> Tensor:
    """Cameras on a sphere around the world's origin.

    Args:
        azimuth: (b,) radians; pi/2 is frontal, larger moves the camera towards +x of the world.
        elevation: (b,) EG3D's v in (0, pi): pi/2 is level, smaller is above. Even steps of v are even areas of the
            sphere, so v is not the polar angle except at 0, pi/2 and pi.
        radius: world units.
        target: (3,) what they look at; None is (0, 0, 0.2), EG3D's for portraits.

    Returns:
        (b, 4, 4) cam2world.
    """
    polar = torch.arccos(1 - 2 * elevation.clamp(1e-5, math.pi - 1e-5) / math.pi)
    turn = math.pi - azimuth
    origin = radius * torch.stack([polar.sin() * turn.cos(), polar.cos(), polar.sin() * turn.sin()], -1)
    return look_at(origin, origin.new_tensor([0, 0, 0.2]) if target is None else target)


def camera_label(cam2world: Tensor, intrinsics: Tensor) -> Tensor:
    """(..., 4, 4) and (3, 3) or (..., 3, 3) to the (..., 25) numbers of a camera."""
    intrinsics = intrinsics.to(cam2world).expand(*cam2world.shape[:-2], 3, 3)
    return torch.cat([cam2world.flatten(-2), intrinsics.flatten(-2)], -1)


def split_camera(camera: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 25) to cam2world (..., 4, 4) and normalised intrinsics (..., 3, 3)."""
    return camera[..., :16].unflatten(-1, (4, 4)), camera[..., 16:].unflatten(-1, (3, 3))


def mirror_camera(camera: Tensor) -> Tensor:
    """(..., 25) to the camera that sees the mirrored world (x turned around) as the mirrored picture shows it."""
    cam2world, intrinsics = split_camera(camera)
    flip = camera.new_tensor([-1, 1, 1, 1])
    mirrored = intrinsics.clone()
    mirrored[..., 0, 2] = 1 - intrinsics[..., 0, 2]  # the middle, from the picture's other border
    mirrored[..., 0, 1] = -intrinsics[..., 0, 1]
    return camera_label(cam2world * flip[:, None] * flip, mirrored)


def camera_from_pose(
    rotation: Tensor, translation: Tensor, scale: Tensor, *, width: float, height: float, radius: float | None = None
) -> Tensor:
    """The perspective camera that sees the canonical head as the picture shows it.

    The pose is a scaled orthographic one; the camera agrees with it in the plane through the middle of the face's
    surface. The focal length is `FOCAL` times the longer side.

    Args:
        rotation: (t, 3, 3) head to picture. translation: (t, 3) pixels. scale: (t,) pixels per head unit.
        width, height: of the picture in pixels.
        radius: None keeps the distance and the place that the picture shows; a number puts the camera at that
            distance in the same direction, as EG3D's data preparation does (the crop then must fit).

    Returns:
        (t, 25).
    """
    unit, side = WORLD_UNITS_PER_HEAD_UNIT, float(max(width, height))
    face = -unit * FACE_DEPTH * rotation[..., 2]  # (t, 3): middle of the face from the head's origin, camera axes
    face_px = translation[..., :2] + scale[..., None] * face[..., :2] / unit
    middle = translation.new_tensor([width / 2, height / 2])
    depth = FOCAL * unit * side / scale
    seen_at = torch.cat([(face_px - middle) / (FOCAL * side) * depth[..., None], depth[..., None]], -1)
    head_at = seen_at - face  # the head's origin, camera axes
    to_world = rotation.mT * rotation.new_tensor([1, -1, -1])[:, None]  # diag(1, -1, -1) R^T
    origin = -(to_world @ head_at[..., None])[..., 0]
    if radius is not None:
        origin = radius * torch.nn.functional.normalize(origin, dim=-1)
    fx, fy = FOCAL * side / width, FOCAL * side / height
    intrinsics = torch.tensor([[fx, 0, 0.5], [0, fy, 0.5], [0, 0, 1]])
    return camera_label(_cam2world(to_world, origin), intrinsics)


def picture_size(camera: Tensor, scale: Tensor) -> tuple[float, float] | None:
    """Width and height in pixels for which `camera_from_pose` made these cameras; None for empty ones (zeros).

    Args:
        camera: (t, 25), made without `radius`. scale: (t,) as given to `camera_from_pose`.
    """
    cam2world, intrinsics = split_camera(camera)
    face = -FACE_DEPTH * head_to_world(camera.new_tensor([[0, 0, 1]]))
    depth = ((face - cam2world[:, :3, 3]) * cam2world[:, :3, 2]).sum(-1)
    side = float((depth * scale).median()) / (FOCAL * WORLD_UNITS_PER_HEAD_UNIT)
    fx, fy = float(intrinsics[0, 0, 0]), float(intrinsics[0, 1, 1])
    return (FOCAL * side / fx, FOCAL * side / fy) if fx > 0 < fy else None


def world_to_picture(points: Tensor, camera: Tensor, *, width: float, height: float) -> Tensor:
    """Project world points.

    Args:
        points: (t, n, 3) world. camera: (t, 25). width, height: of the picture in pixels.

    Returns:
        (t, n, 2) pixels.
    """
    cam2world, intrinsics = split_camera(camera)
    seen = (points - cam2world[:, None, :3, 3]) @ cam2world[:, :3, :3]
    projected = seen @ intrinsics.mT
    return projected[..., :2] / projected[..., 2:] * points.new_tensor([width, height])


def head_to_world(points: Tensor) -> Tensor:
    """(..., 3) head units to the world of the tri-plane systems."""
    return points * points.new_tensor([1, -1, -1]) * WORLD_UNITS_PER_HEAD_UNIT


def _cam2world(rotation: Tensor, origin: Tensor) -> Tensor:
    """(..., 3, 3) and (..., 3) to (..., 4, 4)."""
    top = torch.cat([rotation, origin[..., None]], -1)
    bottom = top.new_tensor([0, 0, 0, 1]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], -2)
