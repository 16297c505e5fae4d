"""Net_3D (Sec. 3.1): pictures to the coefficients of a linear 3D face model, differentiable.

Here the embedded tracker and face model; the paper uses DECA.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from portrayal.face.align import ffhq_square
from portrayal.face.box import box_of_landmarks, boxes_of_landmarks
from portrayal.face.embedded_tracker import fresh_embedded_tracker
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.pose import angles_to_rotation, rotation_to_angles
from portrayal.nn.precision import in_float32
from portrayal.types import FaceParams


class Net3d(nn.Module):
    """Faces framed as `faces.frame_face` frames them, to what the face model says about them."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = fresh_embedded_tracker(torch.device("cpu"))
        self.net = self.tracker.net
        mean = load_face_model().mean.numpy()
        (x, y, side, _), box = ffhq_square(mean), box_of_landmarks(mean)
        # Where the face lies in a framed picture of side 1, before anything is measured.
        self.expected = np.array([(box[0] - x) / side + 0.5, (box[1] - y) / side + 0.5, box[2] / side, 0.0])

    def train(self, mode: bool = True) -> Net3d:
        """Stays in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor) -> FaceParams:
        """
        Args:
            images: (b, 3, s, s) in [0, 1].

        Returns:
            Of each picture its face, in pixels of it; nothing is shared between them.
        """
        return _measured(images, self)

    def landmarks(self, images: Tensor) -> Tensor:
        """(b, 478, 3) pixels, read twice: where the face is expected, then where it was found."""
        side = images.shape[-1]
        expected = self.expected * np.array([side, side, side, 1])
        with torch.no_grad():
            first = self.tracker.estimate(images, np.repeat(expected[None], len(images), 0))[0]
        return self.tracker.estimate(images, boxes_of_landmarks(first))[0]


@in_float32
def _measured(images: Tensor, net: Net3d) -> FaceParams:
    side = images.shape[-1]
    model = load_face_model(images.device.type)
    return fit_params(model, net.landmarks(images), width=side, height=side, shared_identity=False)


def pose_vector(params: FaceParams, expressions: int) -> Tensor:
    """p = (yaw, pitch, roll, the first expression coefficients), (b, 3 + expressions); angles in radians."""
    return torch.cat([rotation_to_angles(params.rotation), params.expression[:, :expressions]], 1)


def turned_shape(params: FaceParams) -> Tensor:
    """(b, 468, 3) the shape of equation 1, turned as the head is, head units.

    Differs: equation 1 itself has no rotation, but the loss on it is what teaches yaw, pitch and roll. The irises are
    left out: the gaze is no part of p.
    """
    return _turned(params.identity, params.expression, params.rotation)


def wanted_shape(source: FaceParams, wanted: Tensor) -> Tensor:
    """(b, 468, 3) S_gt: the identity of the source with the pose vector `wanted` (b, 3 + m_e).

    Expression coefficients beyond m_e stay the source's: A has no direction for them.
    """
    angles, coefficients = wanted[:, :3], wanted[:, 3:]
    expression = torch.cat([coefficients, source.expression[:, coefficients.shape[1] :]], 1)
    return _turned(source.identity, expression, angles_to_rotation(angles))


@in_float32
def _turned(identity: Tensor, expression: Tensor, rotation: Tensor) -> Tensor:
    shape = load_face_model(identity.device.type).shape(identity, expression)[:, :468]
    return shape @ rotation.mT
