"""Configuration of the losses: equation 14, and the latent space of expressions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LossConfig:
    """Weights and numbers of equation 14; a term with weight 0 is not computed. The fields from `perceptual` to
    `head_pose` are the terms' names in the log.

    The paper gives no weights: those of the terms that it takes over are face-vid2vid's (its supplement), the others
    are ours.
    """

    perceptual_networks: tuple[Literal["vgg19", "vgg-face", "identity", "tracker"], ...] = ("vgg19", "vgg-face")
    """Whose features equation 6 compares (A.2: the first two). identity: MobileFaceNet; tracker: the embedded one."""
    perceptual: float = 10.0
    """Equation 6."""
    pixel: float = 0.0
    """Not in the paper: for presets that do without feature networks."""
    adversarial: float = 1.0
    """Least squares; 0 leaves the discriminator out."""
    feature_matching: float = 10.0
    equivariance: float = 20.0
    """Equation 15."""
    keypoint: float = 10.0
    """Keypoint prior."""
    deformation: float = 5.0
    """L1 norm of delta."""
    expression: float = 1.0
    """Equation 7; equation 3 has no expression feature and so not this term."""
    identity: float = 5.0
    """Equation 8."""
    landmarks_face: float = 10.0
    """lambda_face of equation 9."""
    landmarks_mouth: float = 20.0
    landmarks_pupil: float = 20.0
    head_pose: float = 0.0
    """Equation 3 only, whose rotation is learned: distance to the tracker's."""
    keypoint_distance: float = 0.1
    """D_t, squared distance below which keypoints repel each other (face-vid2vid)."""
    keypoint_depth: float = -0.33
    """z_t (face-vid2vid: 0.33, with an axis that points the other way: here what is nearer has the smaller z)."""
    deformation_affine: float = 0.05
    """Equation 15: standard deviation of the six affine numbers (FOMM)."""
    deformation_spline: float = 0.005
    """Of the thin-plate spline's weights (FOMM)."""
    deformation_points: int = 5
    """Control points per side (FOMM)."""
    augmentation_angle: float = 0.35
    """D' of equation 7: largest rotation, radians."""
    augmentation_zoom: float = 1.2
    """Largest enlargement; the strongest reduction is its inverse."""
    augmentation_shift: float = 0.2
    """Largest translation along each axis."""

    @property
    def landmarks(self) -> bool:
        """Some term of equation 9 counts."""
        return max(self.landmarks_face, self.landmarks_mouth, self.landmarks_pupil) > 0


@dataclass(frozen=True)
class VaeConfig:
    """The latent space of expressions (Sec. 3.3). The paper names no size and no weight: all are ours."""

    latent: int = 64
    """Length of z."""
    hidden: int = 512
    """Width of the two hidden layers of E_f, G_f and the discriminator."""
    feature: float = 1.0
    """lambda_f of equation 13."""
    kl: float = 1.0
    """lambda_kl."""
    adversarial: float = 1.0
    """lambda_adv."""
    learning_rate: float = 2e-4
