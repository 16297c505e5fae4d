"""Changing a face by numbers: turn the head, smile, open the mouth, blink, look aside."""

from __future__ import annotations

from dataclasses import fields
from math import isfinite

import torch
from torch import Tensor

from portrayal.errors import InputError
from portrayal.face.camera import picture_size
from portrayal.face.measure import eye_openness
from portrayal.face.pose import angles_to_rotation, rotation_to_angles
from portrayal.motion.compose import compose, head_shape
from portrayal.motion.semantic import NECK, SQUINT, Action, act, follow_gaze
from portrayal.types import Edit, FaceParams


def apply_edit(params: FaceParams, edit: Edit) -> FaceParams:
    """The face after an edit.

    Args:
        params: t frames; every frame is changed alike, on top of what it shows.
        edit: see `Edit`; its defaults change nothing.

    Returns:
        t frames in the same picture, all fields consistent.

    Raises:
        InputError: a number that is not finite, or a zoom that is not positive.
    """
    _check(edit)
    own, t = head_shape(params), len(params)
    change = torch.tensor([edit.yaw, edit.pitch, edit.roll])
    rotation = params.rotation
    if bool((change != 0).any()):
        rotation = angles_to_rotation(rotation_to_angles(params.rotation) + change)
    scale = params.scale * edit.zoom
    neck = torch.tensor(NECK)
    shift = params.rotation @ neck - rotation @ neck + torch.tensor([*edit.shift, 0.0])
    translation = params.translation + params.scale[:, None] * shift

    turn = torch.tensor([-edit.gaze_x, edit.gaze_y]).expand(t, 2, 2)
    gaze = params.gaze + turn
    shape = own
    if expression_of(edit) or edit.blink or bool((turn != 0).any()):
        shape = act(
            own,
            {name: torch.tensor([value]) for name, value in expression_of(edit).items()},
            openness=_openness(eye_openness(own), edit, turn),
            gaze=(params.gaze, gaze),
        )
    return compose(
        params,
        own,
        shape=shape,
        rotation=rotation,
        scale=scale,
        translation=translation,
        gaze=gaze,
        eye_openness=_openness(params.eye_openness, edit, turn),
        confidence=params.confidence,
        size=picture_size(params.camera, params.scale),
    )


def expression_of(edit: Edit) -> dict[Action, float]:
    """The actions of the face that an edit asks for, without those that stay at 0."""
    brow: Action = "brow_raise" if edit.brow > 0 else "brow_frown"
    wanted: dict[Action, float] = {"smile": edit.smile, "jaw": edit.mouth_open, brow: abs(edit.brow)}
    return {name: value for name, value in wanted.items() if value}


def _openness(own: Tensor, edit: Edit, turn: Tensor) -> Tensor:
    """(t, 2) of the eyes after the edit: lids follow the gaze, a smile narrows the eyes, a blink shuts them."""
    narrowed = 1 - SQUINT * min(max(edit.smile, 0.0), 1.5)
    return follow_gaze(own * narrowed, turn) * min(max(1 - edit.blink, 0.0), 1.6)


def _check(edit: Edit) -> None:
    values = {f.name: getattr(edit, f.name) for f in fields(edit)}
    for name, value in values.items():
        if not all(isfinite(x) for x in (value if isinstance(value, tuple) else (value,))):
            raise InputError(f"{name} must be a finite number, got {value}")
    if edit.zoom <= 0:
        raise InputError(f"zoom must be above 0, got {edit.zoom}; 1 keeps the size")
