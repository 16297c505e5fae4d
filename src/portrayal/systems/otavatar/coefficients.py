"""What the controller reads of a clip: expression and pose of each frame, in windows (supplement, Sec. 1.4).

Rows of a frame: expression (64), yaw, pitch and roll in radians (3), place of the head's origin before the camera (3:
x right, y down, z the distance beyond EG3D's; world units), and, where there are 73, the square that is cut around the
face (3: logarithm of its side in sides of the picture, centre x and y in [-1, 1]). The paper's come from
Deep3DFaceRecon; these are the same quantities as our tracker has them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.data.expressions import mirror_signs
from portrayal.errors import InputError
from portrayal.face.camera import (
    FACE_DEPTH,
    FOCAL,
    RADIUS,
    WORLD_UNITS_PER_HEAD_UNIT,
    camera_from_pose,
    camera_label,
    picture_size,
    split_camera,
)
from portrayal.face.morphable import load_face_model
from portrayal.face.pose import rotation_to_angles
from portrayal.types import EXPRESSION_SIZE, FaceParams

SIDEWAYS = (0, 2, 3, 7)
"""Rows after the expression that a mirror turns round: yaw, roll, the place to the right, and that of the square."""


def face_coefficients(params: FaceParams, *, width: float, height: float, rows: int) -> Tensor:
    """The rows of each frame.

    Args:
        params: in pixels of a picture of `width` x `height`. rows: 70 or 73.

    Returns:
        (t, rows).
    """
    camera = camera_from_pose(params.rotation, params.translation, params.scale, width=width, height=height)
    cam2world, _ = split_camera(camera)
    place = -(cam2world[:, :3, :3].mT @ cam2world[:, :3, 3:])[..., 0] - camera.new_tensor([0, 0, RADIUS])
    parts = [params.expression, rotation_to_angles(params.rotation), place]
    if rows == 73:
        side, centre = face_square(params.rotation, params.translation, params.scale)
        picture = centre.new_tensor([width, height])
        parts.append(torch.cat([(side / max(width, height)).log()[:, None], 2 * centre / picture - 1], 1))
    return torch.cat(parts, 1)


def mirror_coefficients(coefficients: Tensor) -> Tensor:
    """(..., rows) of a face as a mirror shows it."""
    signs = torch.ones(coefficients.shape[-1])
    signs[:EXPRESSION_SIZE] = mirror_signs(load_face_model().expression_basis)
    signs[[i + EXPRESSION_SIZE for i in SIDEWAYS if i + EXPRESSION_SIZE < len(signs)]] = -1
    return coefficients * signs.to(coefficients)


def own_coefficients(params: FaceParams, *, rows: int) -> Tensor:
    """`face_coefficients` of faces whose cameras say how large their picture is, (t, rows).

    Raises:
        InputError: the cameras are empty.
    """
    size = picture_size(params.camera, params.scale)
    if size is None:
        raise InputError("the motion has no cameras, which otavatar needs; track its video again")
    # Pictures have whole pixels; so it does not matter which frames of a clip come together.
    return face_coefficients(params, width=round(size[0]), height=round(size[1]), rows=rows)


def face_square(rotation: Tensor, translation: Tensor, scale: Tensor, *, framing: float = 1.0) -> tuple[Tensor, Tensor]:
    """The square whose camera is as far from the head's origin as EG3D's are; the face is in its middle.

    Args:
        rotation: (t, 3, 3). translation: (t, 3) pixels. scale: (t,) pixels per head unit.
        framing: how many times as wide the square is, `GeneratorConfig.framing`.

    Returns:
        side (t,) and centre (t, 2), pixels.
    """
    depth = RADIUS - WORLD_UNITS_PER_HEAD_UNIT * FACE_DEPTH * rotation[:, 2, 2]  # of the middle of the face
    side = framing * depth * scale / (FOCAL * WORLD_UNITS_PER_HEAD_UNIT)
    centre = translation[:, :2] - FACE_DEPTH * scale[:, None] * rotation[:, :2, 2]
    return side, centre


def square_camera(rotation: Tensor, translation: Tensor, scale: Tensor, *, framing: float = 1.0) -> Tensor:
    """The camera that sees the head as the square around the face shows it, p of Algorithm 1.

    A wider square is seen from the same place with a shorter focal length.

    Args: as of `face_square`.

    Returns:
        (t, 25).
    """
    side, centre = face_square(rotation, translation, scale)
    place = (translation[:, :2] - centre) / side[:, None] + 0.5
    moved = torch.cat([place, translation[:, 2:] / side[:, None]], 1)
    camera = camera_from_pose(rotation, moved, scale / side, width=1, height=1)
    cam2world, intrinsics = split_camera(camera)
    return camera_label(cam2world, intrinsics / intrinsics.new_tensor([[framing, framing, 1]]))


def windows(coefficients: Tensor, *, frames: int = 27) -> Tensor:
    """(t, rows) to the windows around every frame, (t, rows, frames); the clip's ends are repeated."""
    around = frames // 2
    padded = F.pad(coefficients.T[None], (around, around), mode="replicate")[0]
    return padded.unfold(1, frames, 1).transpose(0, 1)


def window_frames(frame: int, count: int, *, frames: int = 27) -> list[int]:
    """Numbers of the frames in the window around `frame` of a clip of `count`."""
    around = frames // 2
    return [min(max(i, 0), count - 1) for i in range(frame - around, frame + around + 1)]
