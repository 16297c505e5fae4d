"""Identity, landmarks, pose, expression, gaze and eyes of the generated face against a reference face.

Faces come from `View.params` and `View.points68`, identity from an embedding network. Pixels are counted on a picture
whose shorter side is `SIDE`, the papers' resolution, so that numbers of other resolutions compare.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from portrayal.evaluate.identity import IdentityNetwork
from portrayal.evaluate.metrics_base import FrameMetric
from portrayal.evaluate.view import View, points68, require_faces, require_lengths
from portrayal.face.camera import FACE_DEPTH, FOCAL
from portrayal.face.pose import rotation_to_angles
from portrayal.types import FaceParams

SIDE = 256
"""Pixels; MMFA, Export3D, directions and FOMM measure on 256 x 256."""
DECIMETRES_PER_HEAD_UNIT = 0.9
"""The distance of the outer eye corners; Deep3DFaceRecon's translations are in decimetres."""
DIRECTIONS_EXPRESSIONS = 12
"""Expression coefficients that the directions paper controls (its m_e)."""
Norm = Literal["euclidean", "mean_l1"]
"""Length of a difference, or the mean absolute value of its numbers."""


class Csim(FrameMetric):
    """Cosine similarity of identity embeddings."""

    higher_is_better = True

    def __init__(self, identity: IdentityNetwork) -> None:
        super().__init__()
        self.identity = identity

    def per_frame(self, generated: View, reference: View) -> Tensor:
        require_lengths(generated, reference)
        return (self.identity.embed(generated) * self.identity.embed(reference)).sum(1)


class AedIdentity(FrameMetric):
    """Average distance of identity embeddings of length 1 (MMFA's AED): Euclidean, or the mean over the numbers.

    FOMM's published script, which the papers before MMFA used, takes the mean absolute difference of the numbers; the
    magnitudes in MMFA's Table 1 (0.08 between two persons, where the Euclidean distance is about 1) are of that kind.
    """

    higher_is_better = False

    def __init__(self, identity: IdentityNetwork, norm: Norm = "euclidean") -> None:
        super().__init__()
        self.identity, self.norm = identity, norm

    def per_frame(self, generated: View, reference: View) -> Tensor:
        require_lengths(generated, reference)
        difference = self.identity.embed(generated) - self.identity.embed(reference)
        return _reduce(difference, self.norm)


class Akd(FrameMetric):
    """Average distance of 68 facial points in pixels at 256 x 256.

    euclidean: the mean over points of their distance. mean_l1: the mean over points and both coordinates of the
    absolute difference (FOMM's published script; Export3D: "L1 distance of 68 facial key-points").
    """

    higher_is_better = False

    def __init__(self, norm: Norm = "euclidean") -> None:
        super().__init__()
        self.norm = norm

    def per_frame(self, generated: View, reference: View) -> Tensor:
        require_lengths(generated, reference)
        points = _at_side(generated)
        difference = points - _at_side(reference).to(points)
        return difference.norm(dim=-1).mean(1) if self.norm == "euclidean" else difference.abs().mean((1, 2))


class Nme(FrameMetric):
    """Normalised mean error of 68 points (directions, Sec. 4.1): mean distance / sqrt(area of the reference's box).

    Times 1000. The box is the smallest upright rectangle around the reference's 68 points.
    """

    higher_is_better = False

    def per_frame(self, generated: View, reference: View) -> Tensor:
        require_lengths(generated, reference)
        points = _at_side(generated)
        truth = _at_side(reference).to(points)
        box = truth.amax(1) - truth.amin(1)
        return 1000 * (points - truth).norm(dim=-1).mean(1) / box.prod(1).sqrt()


class AngleError(FrameMetric):
    """Mean absolute difference of yaw, pitch and roll in degrees (directions: Pose), shortest way round."""

    higher_is_better = False

    def per_frame(self, generated: View, reference: View) -> Tensor:
        require_lengths(generated, reference)
        return torch.rad2deg(_angle_difference(generated, reference)).abs().mean(1)


class Apd(FrameMetric):
    """Average pose distance (MMFA, Export3D): mean absolute difference of the six pose numbers of a 3DMM.

    Three angles in radians and the face's place in decimetres in front of a camera: right, down and away, as
    Deep3DFaceRecon counts them. `angles_only` leaves the place out, for systems whose pictures are framed otherwise;
    the Euclidean norm instead of the mean fits the magnitudes that OTAvatar publishes.
    """

    higher_is_better = False

    def __init__(self, norm: Norm = "mean_l1", *, angles_only: bool = False) -> None:
        super().__init__()
        self.norm, self.angles_only = norm, angles_only

    def per_frame(self, generated: View, reference: View) -> Tensor:
        require_lengths(generated, reference)
        difference = _angle_difference(generated, reference)
        if not self.angles_only:
            place, other = (
                face_place(require_faces(view), height=view.size[0], width=view.size[1])
                for view in (generated, reference)
            )
            difference = torch.cat([difference, place - other], 1)
        return _reduce(difference, self.norm)


def face_place(params: FaceParams, *, height: int, width: int) -> Tensor:
    """(t, 3) decimetres: right and down of the picture's middle, and away, as a camera of `camera.FOCAL` sees it.

    The place is the middle of the face's surface, as in `camera.camera_from_pose`; the distance follows from the size.
    """
    to_decimetres = DECIMETRES_PER_HEAD_UNIT / params.scale[:, None]
    surface = params.translation[:, :2] - FACE_DEPTH * params.scale[:, None] * params.rotation[:, :2, 2]
    middle = surface.new_tensor([width / 2, height / 2])
    return torch.cat([(surface - middle) * to_decimetres, FOCAL * max(width, height) * to_decimetres], 1)


class AedExpression(FrameMetric):
    """Average expression distance: mean absolute difference of the first expression coefficients.

    All 64 are Export3D's AED; the Euclidean norm instead of the mean fits the magnitudes that OTAvatar publishes. 12
    are the directions paper's Exp., whose numbers are the jaw and 11 coefficients of DECA; with our model they are
    those of the 12 strongest directions.
    """

    higher_is_better = False

    def __init__(self, coefficients: int = 64, norm: Norm = "mean_l1") -> None:
        super().__init__()
        self.coefficients, self.norm = coefficients, norm

    def per_frame(self, generated: View, reference: View) -> Tensor:
        require_lengths(generated, reference)
        a, b = require_faces(generated).expression, require_faces(reference).expression
        return _reduce((a - b)[:, : self.coefficients], self.norm)


class GazeError(FrameMetric):
    """Angle between the directions in which each eye looks, relative to the head, in degrees; mean of both eyes."""

    higher_is_better = False

    def per_frame(self, generated: View, reference: View) -> Tensor:
        require_lengths(generated, reference)
        a, b = (gaze_directions(require_faces(view).gaze) for view in (generated, reference))
        # The half-angle form stays accurate where the two nearly agree.
        angle = 2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))
        return torch.rad2deg(angle).mean(1)


def gaze_directions(gaze: Tensor) -> Tensor:
    """(..., 2) yaw, pitch in radians to unit vectors (..., 3) of the head frame (see `face.gaze`)."""
    yaw, pitch = gaze.unbind(-1)
    return torch.stack([-yaw.sin() * pitch.cos(), pitch.sin(), -yaw.cos() * pitch.cos()], -1)


class EyeOpennessError(FrameMetric):
    """Absolute difference of lid distance / eye width, mean of both eyes (0 shut, about 0.3 open)."""

    higher_is_better = False

    def per_frame(self, generated: View, reference: View) -> Tensor:
        require_lengths(generated, reference)
        return (require_faces(generated).eye_openness - require_faces(reference).eye_openness).abs().mean(1)


def _reduce(difference: Tensor, norm: Norm) -> Tensor:
    """(t, n) to (t,)."""
    return difference.norm(dim=1) if norm == "euclidean" else difference.abs().mean(1)


def _at_side(view: View) -> Tensor:
    """(t, 68, 2) as if the shorter side had `SIDE` pixels."""
    return points68(view) * (SIDE / min(view.size))


def _angle_difference(generated: View, reference: View) -> Tensor:
    """(t, 3) yaw, pitch, roll in radians, in [-pi, pi]."""
    a, b = (rotation_to_angles(require_faces(view).rotation) for view in (generated, reference))
    return torch.remainder(a - b + math.pi, 2 * math.pi) - math.pi
