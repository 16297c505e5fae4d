"""What whoever gets an animation should know about its photo and its motion."""

from __future__ import annotations

import torch
from torch import Tensor

from portrayal.face.pose import rotation_to_angles
from portrayal.motion.preflight import TINY_FACE_PX
from portrayal.motion.remarks import UNSURE, turned_frames, unsure_frames
from portrayal.types import FaceParams

FURTHEST_DEG = (45, 30)
"""Yaw and pitch of a head to both sides, beyond which videos of talking people, which these models are trained on, show
next to nothing."""


def photo_remarks(params: FaceParams) -> tuple[str, ...]:
    """What will limit the avatar of a photo.

    Args:
        params: t = 1, in pixels of the photo or of a crop that is not enlarged.
    """
    told = []
    yaw, pitch = rotation_to_angles(params.rotation)[0, :2].rad2deg().round().int().tolist()
    if bool(beyond(params.rotation)[0]):
        told.append(
            f"The photo shows the head turned too far aside (yaw {yaw}, pitch {pitch} degrees) for an avatar of all "
            "its sides; a frontal one works best."
        )
    points = params.landmarks[0, :, 0]
    width = float(points.amax() - points.amin())
    if width < TINY_FACE_PX:
        told.append(f"The face in the photo is only {width:.0f} pixels wide; its avatar will be a blur.")
    if float(params.confidence[0]) < UNSURE:
        told.append("The face in the photo is hard to make out: covered, or no face; its avatar may be nobody's.")
    return tuple(told)


def motion_remarks(params: FaceParams) -> tuple[str, ...]:
    """What is to be said of a motion that is on its source already."""
    furthest = torch.tensor(FURTHEST_DEG).deg2rad()
    turned = turned_frames(beyond(params.rotation), torch.stack([-furthest, furthest]))
    return (*turned, *unsure_frames(params))


def beyond(rotation: Tensor) -> Tensor:
    """(t,) bool: heads (t, 3, 3) that turn further than `FURTHEST_DEG`."""
    angles = rotation_to_angles(rotation)[:, :2].rad2deg().abs()
    return (angles > angles.new_tensor(FURTHEST_DEG)).any(-1)
