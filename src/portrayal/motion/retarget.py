"""Moving one person's motion onto another person's face.

Everything happens on the landmarks in the head frame, S = R^T (x - t) / s: they keep all detail of both persons, more
than the coefficients of the linear model, which follow from them at the end.

Convention: as in `portrayal.face.pose`. Rotations are combined by their angles (R = Rz(roll) Ry(yaw) Rx(pitch)): the
change of yaw, pitch and roll from the driving reference is added to the source's yaw, pitch and roll. Roll is the
outermost angle, so a roll of the driving picture rolls the result in its picture; pitch is the innermost, so a nod is
a nod about the source's own ears, whichever way the source looks. Multiplying the matrices, R_d R_ref^-1 R_s, would
turn about the picture's axes: a nod would tilt a source in three-quarter view, and a camera held at an angle would
turn every nod into a shake.

Relative motion adds the change since the driving reference frame to what the source shows. Absolute motion takes the
driving person's rotation, expression, eyelids, lips and gaze as they are, on the source's identity. Place and size stay
relative in both: they belong to the camera, not to the face. In a source video, what follows the driving face starts
from the source's own reference frame and rides on its place and size frame by frame; everything else keeps the
source's own motion frame by frame.

Tensors are float32 on the CPU.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from portrayal.errors import InputError
from portrayal.face.gaze import IRISES, gaze_to_irises
from portrayal.face.measure import eye_openness
from portrayal.face.morphable import load_face_model
from portrayal.face.pose import angles_to_rotation, rotation_to_angles
from portrayal.motion.compose import compose, head_shape
from portrayal.motion.openings import (
    CLOSED_EYE,
    CLOSED_LIPS,
    EYE_PAIRS,
    gaps,
    lid_gaps,
    set_gaps,
)
from portrayal.motion.options import RetargetOptions
from portrayal.motion.reference import hold_missing, reference_frame
from portrayal.motion.regions import (
    mouth_width,
    region_mask,
    size_ratios,
    smoothstep,
)
from portrayal.types import Driving, FaceParams

LARGEST_GAZE = 0.7
"""Radians that the eyes turn at most to a side, unless the source's do already."""
WIDEST_EYE = 0.6
"""Openness that no eye exceeds."""
DrivingT = TypeVar("DrivingT", bound=Driving)


def retarget(source: FaceParams, driving: DrivingT, options: RetargetOptions | None = None) -> DrivingT:
    """The driving motion on the source's face (see the module's docstring and `RetargetOptions`).

    Args:
        source: t = 1, the portrait in its crop; or a source video's t = n. A shorter source video is played
            forwards and backwards until the driving motion ends.
        driving: t frames; may be a system's own subclass, whose other tensors pass through as they are.

    Returns:
        t frames, times of `driving`; `params` in pixels of the source's crop, all fields consistent. Frames without a
        driving face hold the nearest one and keep their confidence 0.

    Raises:
        InputError: no driving frame has a face, or the reference is not a frame of the driving clip.
    """
    options = options or RetargetOptions()
    params = hold_missing(driving.params)
    index = reference_frame(params, source[0]) if options.reference is None else options.reference
    if not 0 <= index < len(params):
        raise InputError(
            f"reference frame {index} is not in the driving clip, which has {len(params)} frames (0 is the first)"
        )
    return replace(driving, params=Retargeter(source, params[index], options).step(params))


def ping_pong(index: Tensor, count: int) -> Tensor:
    """Frame numbers 0, 1, 2 ... on a clip of `count` frames played forwards and backwards; the ends come once."""
    if count == 1:
        return torch.zeros_like(index)
    phase = index % (2 * count - 2)
    return torch.minimum(phase, 2 * count - 2 - phase)


class Retargeter:
    """Moves motion onto one source, with a fixed reference frame: for whole clips and, frame by frame, for a camera.

    Holds only what does not change from frame to frame; `step` keeps no state.
    """

    def __init__(self, source: FaceParams, reference: FaceParams, options: RetargetOptions | None = None) -> None:
        """
        Args:
            source: t = 1 for a picture, t = n for a video; in pixels of the source's crop.
            reference: t = 1, the driving face at rest; in pixels of the driving picture.
            options: `smooth` and `reference` are not used here.
        """
        self.options = options or RetargetOptions()
        self.model = load_face_model()
        self.source = hold_missing(source)
        self.reference = reference
        rest = reference_frame(source) if len(source) > 1 else 0
        self.rest = self.source[rest]
        self.own_shapes = head_shape(self.source)
        self.rest_shape = self.own_shapes[rest : rest + 1]
        self.reference_shape = head_shape(reference)
        self.rest_angles = rotation_to_angles(self.rest.rotation)
        self.reference_angles = rotation_to_angles(reference.rotation)
        self.ratio = size_ratios(self.rest_shape, self.reference_shape)[:, None]
        self.mask = region_mask(self.options.region)[:, None]
        if self.options.motion == "absolute":
            basis = self.model.expression_basis
            driving_rest = torch.einsum("tc,cnd->tnd", reference.expression, basis)
            own_rest = torch.einsum("tc,cnd->tnd", self.rest.expression, basis)
            self.reference_shape = self.reference_shape - driving_rest + own_rest / self.ratio
            self.reference_angles = self.rest_angles

    def step(self, params: FaceParams, first: int = 0) -> FaceParams:
        """The motion of some driving frames on the source.

        Args:
            params: t frames of the driving face, every one with a face in it.
            first: number of the first of them in the driving clip: says which frames of a source video they meet.

        Returns:
            t frames in pixels of the source's crop.
        """
        index = ping_pong(first + torch.arange(len(params)), len(self.source))
        own, own_shape = self.source[index], self.own_shapes[index]
        rotation, scale, translation = self._pose(own, params)
        shape, eyes, gaze = self._expression(own, own_shape, params)
        return compose(
            own,
            own_shape,
            shape=shape,
            rotation=rotation,
            scale=scale,
            translation=translation,
            gaze=gaze.expand(len(params), -1, -1),
            eye_openness=eyes,
            confidence=params.confidence,
        )

    def _pose(self, own: FaceParams, params: FaceParams) -> tuple[Tensor, Tensor, Tensor]:
        """Rotation, scale, translation of the result."""
        if self.options.region not in ("all", "pose") or self.options.strength == 0:
            return own.rotation, own.scale, own.translation
        strength, reference = self.options.strength, self.reference
        turn = rotation_to_angles(params.rotation) - self.reference_angles
        turn = torch.remainder(turn + torch.pi, 2 * torch.pi) - torch.pi
        rotation = angles_to_rotation(self.rest_angles + strength * turn)
        scale = own.scale * (params.scale / reference.scale) ** strength
        shift = (params.translation - reference.translation) / reference.scale[:, None]
        return rotation, scale, own.translation + strength * own.scale[:, None] * shift

    def _expression(self, own: FaceParams, own_shape: Tensor, params: FaceParams) -> tuple[Tensor, Tensor, Tensor]:
        """Head-frame shape, eye openness and gaze of the result."""
        if self.options.region == "pose" or self.options.strength == 0:
            return own_shape.expand(len(params), -1, -1), own.eye_openness, own.gaze
        shape = head_shape(params)
        driven = self.rest_shape + self.options.strength * self.ratio * (shape - self.reference_shape)
        driven, gaze = self._look(driven, params)
        wanted = torch.cat(
            [
                lid_gaps(self.rest_shape, self._openness(eye_openness(self.rest_shape), params)),
                self._lip_gaps(driven, shape),
            ],
            1,
        )
        driven = set_gaps(driven, wanted)
        result = own_shape + self.mask * (driven - own_shape)
        if self.options.region == "lips":
            return result, own.eye_openness, own.gaze
        return result, self._openness(self.rest.eye_openness, params), gaze

    def _openness(self, rest: Tensor, params: FaceParams) -> Tensor:
        """(t, 2) eye openness of the result, where the source's own is `rest` (1, 2): shut when the driving eye is."""
        strength, now, reference = self.options.strength, params.eye_openness, self.reference.eye_openness
        if self.options.motion == "absolute":
            open_by = (now - CLOSED_EYE).clamp_min(0) * 0.3 / (0.3 - CLOSED_EYE)  # 0.3 stays 0.3
            return (rest + strength * (open_by - rest)).clamp(0, WIDEST_EYE)
        closed = (0.35 * reference).clamp(0, CLOSED_EYE)
        factor = 1 + (now - reference) / (reference - closed).clamp_min(0.06)
        factor = (1 + strength * (factor.clamp(0, 1.6) - 1)).clamp_min(0)
        return torch.minimum(rest * factor, rest.clamp_min(WIDEST_EYE))

    def _lip_gaps(self, driven: Tensor, shape: Tensor) -> Tensor:
        """(t, 9, 3) gaps of the inner-lip pairs of the result: opened by as much as the driving lips (in proportion
        to the mouth), closed in proportion, so that lips that close in the driving frame close here."""
        strength = self.options.strength
        closed = CLOSED_LIPS * mouth_width(self.reference_shape)[:, None]
        now, reference, own = (gaps(s)[:, EYE_PAIRS:, 1] for s in (shape, self.reference_shape, self.rest_shape))
        ratio = mouth_width(self.rest_shape)[:, None] / mouth_width(self.reference_shape)[:, None]
        if self.options.motion == "absolute":
            wider = ratio * (now - closed).clamp_min(0) - own
        else:
            opened = ratio * (now - reference).clamp_min(0)
            shut = ((reference - now) / (reference - closed).clamp_min(3 * closed)).clamp(0, 1)
            wider = opened - shut * own.clamp_min(0)
        y = torch.maximum(own + strength * wider, own.clamp_max(0))
        current = gaps(driven)[:, EYE_PAIRS:]
        aside = (y.clamp_min(0) + 0.01) / (current[..., 1].clamp_min(0) + 0.01)
        return torch.stack([current[..., 0] * aside.clamp(0, 1), y, current[..., 2] * aside.clamp(0, 1)], -1)

    def _look(self, driven: Tensor, params: FaceParams) -> tuple[Tensor, Tensor]:
        """Irises carried over the eyeballs by the driving gaze, both alike; not while the driving eyes are shut."""
        rest_gaze, offsets = self.rest.gaze, self.model.iris_offsets
        reference = rest_gaze if self.options.motion == "absolute" else self.reference.gaze
        seen = smoothstep(params.eye_openness, CLOSED_EYE, 2 * CLOSED_EYE)[..., None]
        gaze = rest_gaze + self.options.strength * _of_both(params.gaze - reference, seen)
        gaze = gaze.clamp(rest_gaze.clamp_max(-LARGEST_GAZE), rest_gaze.clamp_min(LARGEST_GAZE))
        moved = gaze_to_irises(driven, gaze, offsets) - gaze_to_irises(self.rest_shape, rest_gaze, offsets)
        irises = self.rest_shape[:, list(IRISES)] + moved
        return torch.cat([driven[:, : IRISES[0]], irises], 1), gaze


def _of_both(change: Tensor, seen: Tensor) -> Tensor:
    """(t, 2, c) of each eye to (t, 1, c), weighted by how well each is seen; 0 if neither is."""
    return (change * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp_min(1e-6) * seen.amax(1, keepdim=True)
