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
relative in both: they belong to the camera, not to the face. They are measured in head units and, when large,
bend towards a limit (`REACH`, `NEARER`), because a portrait's shoulders cannot follow a driver who walks about.

In a source video, what follows the driving face starts from the source's own reference frame and rides on its place
and size frame by frame; everything else keeps the source's own motion frame by frame.

Tensors are float32 on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from portrayal.errors import InputError
from portrayal.face.camera import picture_size
from portrayal.face.gaze import IRISES, gaze_to_irises
from portrayal.face.morphable import load_face_model
from portrayal.face.pose import angles_to_rotation, rotation_to_angles
from portrayal.face.smooth import smooth_params
from portrayal.motion.compose import compose, head_shape
from portrayal.motion.openings import CLOSED_EYE, CLOSED_LIPS, EYE_PAIRS, gaps, lids, set_gaps, shut_level
from portrayal.motion.options import RetargetOptions
from portrayal.motion.reference import hold_missing, reference_frame
from portrayal.motion.regions import (
    mouth_width,
    region_mask,
    size_ratios,
    smoothstep,
)
from portrayal.types import Driving, FaceParams

CHUNK = 500
"""Frames moved at once, to bound the memory that a long video takes."""
LARGEST_GAZE = 0.7
"""Radians that the eyes turn at most to a side, unless the source's do already."""
REACH = 1.0
"""Head units that a head moves at most to a side: its shoulders stay where the picture shows them."""
NEARER = 0.4
"""Logarithm of the largest change of size, for the same reason."""
WIDEST_EYE = 0.5
"""Openness that no eye exceeds, unless the source's does already."""
USUAL_EYE = 0.3
"""Openness of a usual open eye."""
NARROWEST_EYE = 0.1
"""A driving eye that is less open at its reference does not tell what open is."""
DrivingT = TypeVar("DrivingT", bound=Driving)


def retarget(source: FaceParams, driving: DrivingT, options: RetargetOptions | None = None) -> DrivingT:
    """The driving motion on the source's face (see the module's docstring and `RetargetOptions`).

    The driving motion is first smoothed over time by `options.smooth`; give 0 if that is done already.

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
    if options.smooth > 0:
        params = smooth_params(params, driving.times, options.smooth)
    index = options.reference
    if index is None:
        index = reference_frame(params, source[reference_frame(source)])
    if not 0 <= index < len(params):
        raise InputError(
            f"reference frame {index} is not in the driving clip, which has {len(params)} frames (0 is the first)"
        )
    mover = Retargeter(source, params[index], options, shut_eye=shut_level(params.eye_openness, driving.times))
    parts = [mover.step(params[start : start + CHUNK], first=start) for start in range(0, len(params), CHUNK)]
    return replace(driving, params=FaceParams.cat(parts))


def ping_pong(index: Tensor, count: int) -> Tensor:
    """Frame numbers 0, 1, 2 ... on a clip of `count` frames played forwards and backwards; the ends come once."""
    if count == 1:
        return torch.zeros_like(index)
    phase = index % (2 * count - 2)
    return torch.minimum(phase, 2 * count - 2 - phase)


class Retargeter:
    """Moves motion onto one source, with a fixed reference frame: for whole clips and, frame by frame, for a camera.

    Everything that does not change from frame to frame is worked out once; `step` keeps no state.
    """

    def __init__(
        self,
        source: FaceParams,
        reference: FaceParams,
        options: RetargetOptions | None = None,
        *,
        shut_eye: float | None = None,
    ) -> None:
        """
        Args:
            source: t = 1 for a picture, t = n for a video; in pixels of the source's crop.
            reference: t = 1, the driving face at rest; in pixels of the driving picture.
            options: `smooth` and `reference` are not used here.
            shut_eye: openness up to which a driving eye counts as shut, see `shut_level`; None is `CLOSED_EYE`, or less
                for narrow eyes.
        """
        self.options = options or RetargetOptions()
        self.absolute = self.options.motion == "absolute"
        self.model, self.reference = load_face_model(), reference
        self.source, self.size = hold_missing(source), picture_size(source.camera, source.scale)
        self.own_shapes = head_shape(self.source)
        rest = reference_frame(source) if len(source) > 1 else 0
        self.rest, self.rest_shape = self.source[rest], self.own_shapes[rest : rest + 1]
        self.reference_shape = head_shape(reference)
        self.ratio = size_ratios(self.rest_shape, self.reference_shape)[:, None]
        self.mask = region_mask(self.options.region)[:, None]
        self.from_shape = self.reference_shape
        if self.absolute:  # the driving face at rest becomes the source's identity with the driving expression
            basis = self.model.expression_basis
            driving_rest, own_rest = (torch.einsum("tc,cnd->tnd", p.expression, basis) for p in (reference, self.rest))
            self.from_shape = self.reference_shape - driving_rest + own_rest / self.ratio
        self.rest_angles = rotation_to_angles(self.rest.rotation)
        self.from_angles = self.rest_angles if self.absolute else rotation_to_angles(reference.rotation)
        self.from_gaze = self.rest.gaze if self.absolute else reference.gaze
        usual = torch.full((1, 2), USUAL_EYE) if self.absolute else reference.eye_openness
        self.usual_eye = usual.clamp_min(NARROWEST_EYE)
        shut = self.usual_eye.new_tensor(CLOSED_EYE if shut_eye is None else shut_eye)
        self.shut_eye = torch.minimum(shut, (0.35 if shut_eye is None else 0.8) * self.usual_eye)
        self.lids, self.lips = lids(self.rest_shape), _Lips.prepare(self.rest_shape, self.reference_shape)
        straight = gaze_to_irises(self.rest_shape, self.rest.gaze, self.model.iris_offsets)
        self.iris_details = self.rest_shape[:, list(IRISES)] - straight

    def step(self, params: FaceParams, first: int = 0) -> FaceParams:
        """The motion of some driving frames on the source.

        Args:
            params: t frames of the driving face, every one with a face in it.
            first: number of the first of them in the driving clip: says which frames of a source video they meet.

        Returns:
            t frames in pixels of the source's crop.
        """
        own, own_shape = self.source, self.own_shapes
        if len(params) > 1 or len(own) > 1:
            index = ping_pong(first + torch.arange(len(params)), len(own))
            own, own_shape = own[index], own_shape[index]
        rotation, scale, translation = self._pose(own, params)
        shape, eyes, gaze = self._expression(own, own_shape, params)
        return compose(
            own,
            own_shape,
            shape=shape,
            rotation=rotation,
            scale=scale,
            translation=translation,
            gaze=gaze,
            eye_openness=eyes,
            confidence=params.confidence,
            size=self.size,
        )

    def _pose(self, own: FaceParams, params: FaceParams) -> tuple[Tensor, Tensor, Tensor]:
        """Rotation, scale, translation of the result."""
        if self.options.region not in ("all", "pose") or self.options.strength == 0:
            return own.rotation, own.scale, own.translation
        strength, reference = self.options.strength, self.reference
        turn = rotation_to_angles(params.rotation) - self.from_angles
        turn = torch.remainder(turn + torch.pi, 2 * torch.pi) - torch.pi
        rotation = angles_to_rotation(self.rest_angles + strength * turn)
        nearer = at_most((params.scale / reference.scale).log() * strength, NEARER)
        shift = (params.translation - reference.translation) / reference.scale[:, None]
        shift = at_most(strength * shift, REACH)
        return rotation, own.scale * nearer.exp(), own.translation + own.scale[:, None] * shift

    def _expression(self, own: FaceParams, own_shape: Tensor, params: FaceParams) -> tuple[Tensor, Tensor, Tensor]:
        """Head-frame shape, eye openness and gaze of the result."""
        if self.options.region == "pose" or self.options.strength == 0:
            return own_shape, own.eye_openness, own.gaze
        shape, strength = head_shape(params), self.options.strength
        driven = self.rest_shape + (strength * self.ratio) * (shape - self.from_shape)
        gaze = self._gaze(params)
        irises = gaze_to_irises(driven, gaze, self.model.iris_offsets) + self.iris_details
        driven = torch.cat([driven[:, : IRISES[0]], irises], 1)
        eyes, measured_eyes = self._openness(params)
        lip_gaps = self.lips.gaps(gaps(driven), gaps(shape), strength=strength, absolute=self.absolute)
        driven = set_gaps(driven, torch.cat([self.lids.gaps(eyes), lip_gaps], 1))
        result = own_shape + self.mask * (driven - own_shape)
        if self.options.region == "lips":
            return result, own.eye_openness, own.gaze
        return result, measured_eyes, gaze

    def _openness(self, params: FaceParams) -> tuple[Tensor, Tensor]:
        """(t, 2) eye openness of the result: by its landmarks, and as the tracker would measure it."""
        strength, now, reference = self.options.strength, params.eye_openness, self.reference.eye_openness
        rest = torch.stack([self.lids.openness, self.rest.eye_openness])
        if self.absolute:
            result = (rest + strength * (self._lifted(now) - rest)).clamp_min(0)
        else:
            factor = 1 + (self._lifted(now) - self._lifted(reference)) / self.usual_eye
            result = rest * (1 + strength * (factor.clamp(0, 1.4) - 1)).clamp_min(0)
        result = torch.minimum(result, rest.clamp_min(WIDEST_EYE))
        by_landmarks, measured = result.unbind(0)
        return by_landmarks, measured

    def _lifted(self, openness: Tensor) -> Tensor:
        """(t, 2) driving openness without what a tracker leaves to shut eyes: 0 if shut, itself if clearly open."""
        clear = self.shut_eye + 0.55 * (self.usual_eye - self.shut_eye)
        return openness * smoothstep(openness, self.shut_eye, clear)

    def _gaze(self, params: FaceParams) -> Tensor:
        """(t, 2, 2) gaze of the result: both eyes follow the driving eyes alike, but not while those are shut."""
        half = (self.shut_eye + self.usual_eye) / 2
        seen = smoothstep(params.eye_openness, self.shut_eye, half)[..., None]
        turn = ((params.gaze - self.from_gaze) * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp_min(1e-6)
        rest = self.rest.gaze
        gaze = rest + self.options.strength * seen.amax(1, keepdim=True) * turn
        return gaze.clamp(rest.clamp_max(-LARGEST_GAZE), rest.clamp_min(LARGEST_GAZE))


def at_most(x: Tensor, limit: float) -> Tensor:
    """`x` up to half of `limit` in size; beyond it bends so that it never exceeds `limit`."""
    free = limit / 2
    beyond = (x.abs() - free).clamp_min(0)
    return x.clamp(-free, free) + x.sign() * free * (beyond / free).tanh()


@dataclass(frozen=True)
class _Lips:
    """The inner lips of the source and of the driving face at rest."""

    own: Tensor
    """(1, 9) y of the source's gaps."""
    reference: Tensor
    """(1, 9) y of the driving face's."""
    closed: Tensor
    """(1, 1) gap up to which driving lips touch."""
    ratio: Tensor
    """(1, 1) width of the source's mouth / the driving one's."""

    @classmethod
    def prepare(cls, rest_shape: Tensor, reference_shape: Tensor) -> _Lips:
        own, reference = (gaps(shape)[:, EYE_PAIRS:, 1] for shape in (rest_shape, reference_shape))
        width = mouth_width(reference_shape)[:, None]
        return cls(own, reference, CLOSED_LIPS * width, mouth_width(rest_shape)[:, None] / width)

    def gaps(self, driven: Tensor, driving: Tensor, *, strength: float, absolute: bool) -> Tensor:
        """Gaps of the inner-lip pairs of the result.

        Opened by as much as the driving lips, in proportion to the mouth; closed in proportion to what the driving
        lips had to close, so that lips that were open in both touch together.

        Args:
            driven: (t, 23, 3) gaps of the moved source so far. driving: (t, 23, 3) of the driving face.

        Returns:
            (t, 9, 3); never less than touching, or than the source has itself.
        """
        now = driving[:, EYE_PAIRS:, 1]
        if absolute:
            wider = self.ratio * (now - self.closed).clamp_min(0) - self.own
        else:
            shut = ((self.reference - now) / (self.reference - self.closed).clamp_min(3 * self.closed)).clamp(0, 1)
            wider = self.ratio * (now - self.reference).clamp_min(0) - shut * self.own.clamp_min(0)
        y = torch.maximum(self.own + strength * wider, self.own.clamp_max(0))
        across, before, along = driven[:, EYE_PAIRS:].unbind(-1)
        aligned = ((y.clamp_min(0) + 0.01) / (before.clamp_min(0) + 0.01)).clamp_max(
            1
        )  # lips that touch face each other
        return torch.stack([across * aligned, y, along * aligned], -1)
