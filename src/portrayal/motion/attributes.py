"""Motion attributes one by one: rotation, translation, scale or expression of another face (MMFA 4.3, Fig. 6, 11).

What is not taken stays as the source has it, because the parts of `FaceParams` are put together anew.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

from portrayal.face.pose import angles_to_rotation, rotation_to_angles
from portrayal.motion.compose import head_shape, recompose
from portrayal.motion.options import RetargetOptions
from portrayal.motion.retarget import NEARER, REACH, at_most, retarget
from portrayal.types import Driving, FaceParams

Attribute = Literal["all", "rotation", "translation", "scale", "expression"]


def take_attributes(
    own: FaceParams, other: FaceParams, *, take: Attribute, reference: FaceParams | None = None
) -> FaceParams:
    """The source with one motion attribute, or all, of another face.

    Place and size change at most as far as in an animation (`retarget.REACH`, `retarget.NEARER`).

    Args:
        own: t = 1. other: t = 1, in the same pixels.
        take: expression stands for the face's shape beyond its identity, its gaze and its eyelids.
        reference: None copies what `other` shows; else t = 1 of that person, and the change from it is added.

    Returns:
        t = 1 in the same pixels.
    """
    frames = other if reference is None else FaceParams.cat([reference, other])
    options = RetargetOptions(motion="absolute" if reference is None else "relative", smooth=0.0, reference=0)
    moved = retarget(own, Driving(frames, tuple(Fraction(i) for i in range(len(frames)))), options).params
    moved = moved[len(frames) - 1]
    scale, translation = moved.scale, moved.translation
    if reference is None:  # absolute motion leaves place and size alone
        scale = own.scale * at_most((other.scale / own.scale).log(), NEARER).exp()
        shift = at_most((other.translation - own.translation) / own.scale[:, None], REACH)
        depth = own.translation[:, 2:]  # says nothing in one picture
        translation = torch.cat([(own.translation + own.scale[:, None] * shift)[:, :2], depth], 1)
    expressed = moved if take in ("all", "expression") else own
    return recompose(
        own,
        shape=head_shape(expressed),
        rotation=moved.rotation if take in ("all", "rotation") else own.rotation,
        scale=scale if take in ("all", "scale") else own.scale,
        translation=translation if take in ("all", "translation") else own.translation,
        gaze=expressed.gaze,
        eye_openness=expressed.eye_openness,
    )


def in_pose(own: FaceParams, other: FaceParams) -> FaceParams:
    """The expression of `own` with rotation, scale and translation of `other`: t = 1 each, in the same pixels."""
    return recompose(own, rotation=other.rotation, scale=other.scale, translation=other.translation)


def between(start: FaceParams, end: FaceParams, shares: Tensor) -> FaceParams:
    """The way from one pose and expression of a face to another of the same face.

    Angles, logarithms of sizes, places and shapes in the head frame change in proportion.

    Args:
        start, end: t = 1 in the same pixels. shares: (n,) 0 is `start`, 1 is `end`.

    Returns:
        n frames.
    """
    own = start[[0] * len(shares)]
    angles = rotation_to_angles(start.rotation)
    turn = torch.remainder(rotation_to_angles(end.rotation) - angles + torch.pi, 2 * torch.pi) - torch.pi

    def mix(a: Tensor, b: Tensor) -> Tensor:
        share = shares.to(a).reshape(-1, *[1] * (a.ndim - 1))
        return a + share * (b - a)

    return recompose(
        own,
        shape=mix(head_shape(start), head_shape(end)),
        rotation=angles_to_rotation(mix(angles, angles + turn)),
        scale=mix(start.scale.log(), end.scale.log()).exp(),
        translation=mix(start.translation, end.translation),
        gaze=mix(start.gaze, end.gaze),
        eye_openness=mix(start.eye_openness, end.eye_openness),
    )
