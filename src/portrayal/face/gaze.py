"""Gaze: an eyeball behind each eye's corners carries its iris.

Convention: axes and signs as in `pose`, relative to the head: yaw > 0 looks to the picture's left, pitch > 0 looks
down, (0, 0) is the average gaze of the training faces, straight ahead. Lengths in eye widths (outer to inner corner);
an eye's origin is the middle between its corners. The eyeball's centre lies `EYEBALL_RADIUS` behind the iris of the
mean face. Right eye before left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from portrayal.face.pose import angles_to_rotation
from portrayal.face.topology import LEFT_EYE_CORNERS, LEFT_IRIS, RIGHT_EYE_CORNERS, RIGHT_IRIS

EYEBALL_RADIUS = 0.36
"""Eyeball centre to iris centre in eye widths: 10 mm at an eye width of 28 mm."""
IRISES = RIGHT_IRIS + LEFT_IRIS
LARGEST_SINE = 0.9
"""An iris that seems farther from the eyeball's centre (in eyeball radii) is taken as this far: 64 degrees."""


def eye_frames(points: Tensor) -> tuple[Tensor, Tensor]:
    """Middle between the corners (..., 2, 3) and eye width (..., 2) of both eyes of (..., 478, 3)."""
    corners = points[..., RIGHT_EYE_CORNERS + LEFT_EYE_CORNERS, :].unflatten(-2, (2, 2))
    return corners.mean(-2), (corners[..., 0, :] - corners[..., 1, :]).norm(dim=-1)


def iris_offsets(mean: Tensor) -> Tensor:
    """(2, 5, 3) of the mean face (478, 3): iris points from each eye's origin in eye widths, looking straight ahead."""
    middle, width = eye_frames(mean)
    irises: Tensor = mean[list(IRISES)].unflatten(0, (2, 5))
    return (irises - middle[:, None]) / width[:, None, None]


def gaze_to_irises(shape: Tensor, gaze: Tensor, offsets: Tensor) -> Tensor:
    """Place the irises on their eyeballs.

    Args:
        shape: (t, 478, 3) head frame; only the eye corners are read.
        gaze: (t, 2, 2) (right, left) x (yaw, pitch).
        offsets: (2, 5, 3) of `iris_offsets`.

    Returns:
        (t, 10, 3) head frame, in the order of `IRISES`.
    """
    middle, width = eye_frames(shape)
    centre = _eyeball_centre(offsets)  # (2, 3)
    turn = angles_to_rotation(torch.cat([gaze, torch.zeros_like(gaze[..., :1])], -1))  # (t, 2, 3, 3)
    points = centre[:, None] + (offsets - centre[:, None]) @ turn.mT  # (t, 2, 5, 3)
    return (middle[:, :, None] + width[:, :, None, None] * points).flatten(1, 2)


def landmarks_to_gaze(landmarks: Tensor, shape: Tensor, scale: Tensor, rotation: Tensor, offsets: Tensor) -> Tensor:
    """The gaze under which the iris centres lie where they are seen; their depth is not read.

    Args:
        landmarks: (t, 478, 3) pixels. shape: (t, 478, 3) the face's shape in the head frame.
        scale: (t,) pixels per head unit. rotation: (t, 3, 3) head to picture.
        offsets: (2, 5, 3) of `iris_offsets`.

    Returns:
        (t, 2, 2) (right, left) x (yaw, pitch).
    """
    middle, _ = eye_frames(landmarks)
    width = scale[:, None] * eye_frames(shape)[1]
    iris = (landmarks[:, [RIGHT_IRIS[0], LEFT_IRIS[0]]] - middle) / width[..., None]
    centre = _eyeball_centre(offsets) @ rotation.mT  # (t, 2, 3)
    seen = (iris - centre)[..., :2] / EYEBALL_RADIUS
    seen = seen * (LARGEST_SINE / seen.norm(dim=-1, keepdim=True).clamp_min(LARGEST_SINE))
    towards = torch.cat([seen, -(1 - seen.square().sum(-1, keepdim=True)).sqrt()], -1)  # picture frame, unit length
    x, y, z = (towards @ rotation).unbind(-1)  # head frame
    return torch.stack([torch.atan2(-x, -z), torch.asin(y.clamp(-0.999, 0.999))], -1)


def _eyeball_centre(offsets: Tensor) -> Tensor:
    """(2, 3) eyeball centres from each eye's origin in eye widths."""
    return offsets[:, 0] + offsets.new_tensor([0, 0, EYEBALL_RADIUS])
