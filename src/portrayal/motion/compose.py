"""Putting a face together again from its parts, so that all fields of `FaceParams` say the same."""

from __future__ import annotations

from torch import Tensor

from portrayal.face.camera import FACE_DEPTH, WORLD_UNITS_PER_HEAD_UNIT, camera_from_pose, split_camera
from portrayal.face.morphable import load_face_model
from portrayal.face.pose import head_to_picture, picture_to_head
from portrayal.types import FaceParams


def head_shape(params: FaceParams) -> Tensor:
    """(t, 478, 3) landmarks in the head frame, head units: identity and expression without pose."""
    return picture_to_head(params.landmarks, params.scale, params.rotation, params.translation)


def compose(
    own: FaceParams,
    own_shape: Tensor,
    *,
    shape: Tensor,
    rotation: Tensor,
    scale: Tensor,
    translation: Tensor,
    gaze: Tensor,
    eye_openness: Tensor,
    confidence: Tensor,
    size: tuple[int, int],
) -> FaceParams:
    """A face like `own` with another shape and pose.

    Args:
        own: t frames. own_shape: (t, 478, 3) its `head_shape`.
        shape: (t, 478, 3) head frame. The rest: as in `FaceParams`, in pixels of the picture of `own`.
        size: (width, height) of that picture, see `picture_size`.

    Returns:
        t frames: landmarks, expression coefficients and camera follow from shape and pose.
    """
    return FaceParams(
        landmarks=head_to_picture(shape, scale, rotation, translation),
        identity=own.identity,
        expression=own.expression + load_face_model().solver.solve_expression((shape - own_shape).flatten(1)),
        rotation=rotation,
        translation=translation,
        scale=scale,
        gaze=gaze,
        camera=camera_from_pose(rotation, translation, scale, width=size[0], height=size[1]),
        eye_openness=eye_openness,
        confidence=confidence,
    )


def picture_size(params: FaceParams) -> tuple[int, int]:
    """(width, height) in pixels of the picture that `params` was measured in, read off its first camera.

    Undoes `portrayal.face.camera.camera_from_pose`, which puts the middle of the face at a depth that tells the size.
    """
    cam2world, intrinsics = split_camera(params.camera[0])
    unit = WORLD_UNITS_PER_HEAD_UNIT
    head_depth = -(cam2world[:3, 2] @ cam2world[:3, 3])
    depth = head_depth - unit * FACE_DEPTH * params.rotation[0, 2, 2]
    side = depth * params.scale[0] / unit  # focal length in pixels
    return round(float(side / intrinsics[0, 0])), round(float(side / intrinsics[1, 1]))
