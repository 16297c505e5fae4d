"""Keypoints that stand for landmarks: which ones, and pose in the keypoints' coordinates.

The paper's keypoints are unsupervised; those of the compact model are guided by the tracker, as LivePortrait guides its
own: keypoint k learns to lie on landmark `GUIDES[k]`. About 60 people are too few to find keypoints without a guide.

Coordinates: normalised, x right, y down, [-1, 1] over the crop (`align_corners=False`), z in the same unit, smaller is
nearer. Canonical keypoints and deformations are in head units of `face.morphable`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.face.morphable import load_face_model
from portrayal.nn.precision import in_float32
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.estimators import ExpressionDecoder
from portrayal.systems.mmfa.keypoints import KeypointDetector, Pose, transform_keypoints
from portrayal.systems.mmfa.light import LightRenderer
from portrayal.systems.mmfa.vae import ExpressionVae

GUIDES = (
    10, 127, 356, 93, 323, 172, 397, 152,              # outline: forehead, temples, cheeks, jaw, chin
    70, 105, 107, 336, 334, 300,                       # brows
    33, 159, 133, 145, 362, 386, 263, 374, 468, 473,   # lids and irises
    168, 1, 2, 129, 358,                               # nose
    61, 291, 0, 17, 39, 269, 181, 405,                 # outer lips
    13, 14, 81, 311, 178, 402,                         # inner lips
    50, 280, 205, 425,                                 # cheeks
)  # fmt: skip
"""Landmark of each of the 47 keypoints."""
EYES = slice(14, 24)
MOUTH = slice(29, 43)


class LandmarkExpressionEncoder(nn.Module):
    """E_e of equation 4 on the tracker's landmarks in the head frame instead of the picture: one linear layer.

    R, f and t are out of them already, so what L_Exp (equation 7) asks for holds by construction.
    """

    def __init__(self, feature: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.register_buffer("mean", load_face_model().mean.flatten().clone(), persistent=False)
        self.linear = nn.Linear(len(self.mean), feature)

    @in_float32
    def forward(self, shape: Tensor) -> Tensor:
        """(b, 478, 3) landmarks in the head frame to f_delta (b, 256)."""
        return self.linear((shape.flatten(1) - self.mean) * 10)

    def change(self, difference: Tensor) -> Tensor:
        """What f_delta changes by, (b, 256), when the shape changes by `difference` (b, 478, 3), head units."""
        return F.linear(difference.flatten(1) * 10, self.linear.weight)


class GuidedMmfa(nn.Module):
    """MMFA with guided keypoints and the light renderer. Pictures are (b, 3, 256, 256) in [0, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        count = config.detector.keypoints
        if count != len(GUIDES):
            raise ValueError(f"detector.keypoints must be {len(GUIDES)} with the light renderer, got {count}")
        self.detector = KeypointDetector(config.detector)
        self.expression_encoder = LandmarkExpressionEncoder(config.expression.feature)
        self.expression_decoder = ExpressionDecoder(config.expression, keypoints=count)
        self.renderer = LightRenderer(config.light, keypoints=count)
        v = config.vae
        self.vae = ExpressionVae(features=config.expression.feature, latent=v.latent, hidden=v.hidden)

    def expression_change(self, expression: Tensor) -> Tensor:
        """The part of f_delta (b, 256) that coefficients b (b, 64) of the linear face model make up.

        The rest of the feature tells whose head it is: the landmarks hold both.
        """
        basis = load_face_model(expression.device.type).expression_basis
        return self.expression_encoder.change((expression @ basis.flatten(1)).unflatten(1, basis.shape[1:]))

    def canonical(self, image: Tensor) -> Tensor:
        """p_C, (b, k, 3) in head units."""
        return self.detector(image)

    @in_float32
    def deformation(self, canonical: Tensor, expression: Tensor) -> Tensor:
        """delta of equation 4, (b, k, 3) in head units, from p_C and f_delta (b, 256)."""
        return self.expression_decoder(expression, canonical)

    def keypoints(self, canonical: Tensor, expression: Tensor, pose: Pose) -> Tensor:
        """p of equation 5, (b, k, 3)."""
        delta = self.deformation(canonical, expression)
        return transform_keypoints(canonical, delta, pose.rotation, pose.scale, pose.translation)


def guided_keypoints(shape: Tensor, pose: Pose) -> Tensor:
    """Where keypoints shall be, (b, k, 3): the guides of `shape` (b, 478, 3), head frame, in the picture."""
    points = shape[:, list(GUIDES)]
    return transform_keypoints(points, torch.zeros_like(points), pose.rotation, pose.scale, pose.translation)
