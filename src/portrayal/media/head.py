"""Where head and face are in a picture, from the landmarks alone: an ellipse around the face's oval, a convex hull."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portrayal.face.pose import rotation_to_angles
from portrayal.face.topology import FACE_OVAL
from portrayal.types import FaceParams

HEAD = (1.35, 1.5)
"""Half axes of the ellipse that stands for the head, in those of the face's oval: hair is beside and above it."""
HAIR = 0.3
"""How far the ellipse's centre lies above the oval's, in half heights of that."""
SOFT = 0.25
"""Width of the transition to the portrait, in half axes of the ellipse."""


def pixel_centres(size: torch.Size, device: torch.device) -> Tensor:
    """(h, w, 2) x and y in pixels."""
    y, x = (torch.arange(side, device=device) + 0.5 for side in size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def head_axes(params: FaceParams) -> Tensor:
    """(t, 2, 2): the directions in the picture along a head, to its side and down, of length 1."""
    roll = rotation_to_angles(params.rotation)[:, 2]
    return torch.stack([roll.cos(), roll.sin(), -roll.sin(), roll.cos()], -1).unflatten(-1, (2, 2))


def head_mask(
    params: FaceParams, places: Tensor, *, half_axes: tuple[float, float] = HEAD, hair: float = HAIR
) -> Tensor:
    """(t, h, w) in [0, 1]: 1 on the head, an ellipse around the face's oval, 0 away from it.

    Args:
        half_axes, hair: as `HEAD` and `HAIR`; smaller ones for the face alone.
    """
    oval = params.landmarks[:, list(FACE_OVAL), :2]
    axes = head_axes(params).unbind(1)
    half, middle = [], []
    for axis in axes:
        at = (oval * axis[:, None]).sum(-1)
        half.append((at.amax(1) - at.amin(1)) / 2)
        middle.append((at.amax(1) + at.amin(1)) / 2)
    middle[1] = middle[1] - hair * half[1]
    # A turned face is narrow, its head is not.
    half[0] = half[0].maximum(0.7 * half[1])
    radius = torch.stack(
        [
            ((places * axis[:, None, None]).sum(-1) - m[:, None, None]) / (factor * h)[:, None, None]
            for axis, m, h, factor in zip(axes, middle, half, half_axes, strict=True)
        ]
    ).norm(dim=0)
    share = ((1 + SOFT - radius) / SOFT).clamp(0, 1)
    return share * share * (3 - 2 * share)


def fill_hull(mask: NDArray[Any], points: NDArray[Any], value: float) -> None:
    """Fill the convex hull of points (n, 2) in a mask (h, w), in place."""
    hull: Any = cv2.convexHull(points.astype(np.float32))
    cv2.fillPoly(mask, [np.round(hull).astype(np.int32)], value)
