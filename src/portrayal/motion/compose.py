"""Putting a face together again from its parts, so that all fields of `FaceParams` say the same."""

from __future__ import annotations

import torch
from torch import Tensor

from portrayal.face.camera import camera_from_pose, picture_size
from portrayal.face.morphable import load_face_model
from portrayal.face.pose import head_to_picture, picture_to_head
from portrayal.types import FaceParams


def head_shape(params: FaceParams) -> Tensor:
    """(t, 478, 3) landmarks in the head frame, head units: identity and expression without pose."""
    return picture_to_head(params.landmarks, params.scale, params.rotation, params.translation)


def moved_shape(params: FaceParams, by: Tensor) -> Tensor:
    """`head_shape` with the first k expression coefficients changed by (t, k)."""
    basis = load_face_model(by.device.type).expression_basis[: by.shape[1]]
    return head_shape(params) + torch.einsum("tk,knd->tnd", by, basis)


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
    size: tuple[float, float] | None,
) -> FaceParams:
    """A face like `own` with another shape and pose.

    Args:
        own: t frames. own_shape: (t, 478, 3) its `head_shape`.
        shape: (t, 478, 3) head frame. The rest: as in `FaceParams`, in pixels of the picture of `own`.
        size: (width, height) of that picture, see `portrayal.face.camera.picture_size`; None keeps the camera of `own`.

    Returns:
        t frames: landmarks, expression coefficients and camera follow from shape and pose.
    """
    camera = own.camera
    if size is not None:
        camera = camera_from_pose(rotation, translation, scale, width=size[0], height=size[1])
    return FaceParams(
        landmarks=head_to_picture(shape, scale, rotation, translation),
        identity=own.identity,
        expression=own.expression + load_face_model().solver.solve_expression((shape - own_shape).flatten(1)),
        rotation=rotation,
        translation=translation,
        scale=scale,
        gaze=gaze,
        camera=camera,
        eye_openness=eye_openness,
        confidence=confidence,
    )


def recompose(own: FaceParams, **parts: Tensor) -> FaceParams:
    """`own` with other parts (shape, rotation, scale, translation, gaze, eye_openness, as of `compose`), in the same
    picture; what is not given stays."""
    own_shape = head_shape(own)
    kept = {name: getattr(own, name) for name in ("rotation", "scale", "translation", "gaze", "eye_openness")}
    size = picture_size(own.camera, own.scale)
    changed = {"shape": own_shape, **kept, **parts}
    return compose(own, own_shape, confidence=own.confidence, size=size, **changed)
