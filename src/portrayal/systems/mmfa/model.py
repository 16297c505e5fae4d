"""MMFA as one module (Fig. 2): what a picture's face is, how it moves, and the picture that both give."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from portrayal.nn.volume import sample_volume
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.dense_motion import DenseField, DenseMotion
from portrayal.systems.mmfa.estimators import (
    AffineEstimator,
    ExpressionDecoder,
    ExpressionEncoder,
    HeadMotion,
    HeadMotionEstimator,
)
from portrayal.systems.mmfa.generator import AppearanceEncoder, build_generator
from portrayal.systems.mmfa.keypoints import (
    KeypointDetector,
    Motion,
    Pose,
    relative_jacobian,
    transform_keypoints,
    transform_keypoints_unscaled,
)
from portrayal.systems.mmfa.vae import ExpressionVae


@dataclass(frozen=True)
class Generated:
    """What the renderer makes of b pairs."""

    pictures: dict[int, Tensor]
    """Side -> (b, 3, side, side) in [0, 1]; the largest side is `Config.image_size`."""
    field: DenseField

    @property
    def picture(self) -> Tensor:
        """The largest picture."""
        return self.pictures[max(self.pictures)]


class Mmfa(nn.Module):
    """All networks but the discriminators. Pictures are (b, 3, s, s) in [0, 1], s `image_size`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        corners, count = config.conventions.corners, config.detector.keypoints
        self.detector = KeypointDetector(config.detector, corners=corners)
        self.head_motion: HeadMotionEstimator | None = None
        self.affine: AffineEstimator | None = None
        self.expression_encoder: ExpressionEncoder | None = None
        self.expression_decoder: ExpressionDecoder | None = None
        self.vae: ExpressionVae | None = None
        if config.decomposition == "face-vid2vid":
            self.head_motion = HeadMotionEstimator(config.affine_encoder, keypoints=count)
        else:
            self.affine = AffineEstimator(config.affine_encoder) if config.affine == "network" else None
            self.expression_encoder = ExpressionEncoder(config.expression)
            self.expression_decoder = ExpressionDecoder(config.expression, keypoints=count)
            v = config.vae
            self.vae = ExpressionVae(features=config.expression.feature, latent=v.latent, hidden=v.hidden)
        a = config.appearance
        self.appearance = AppearanceEncoder(a)
        self.dense_motion = DenseMotion(
            config.motion, keypoints=count, channels=a.channels, depth=a.depth, corners=corners
        )
        self.generator = build_generator(config.generator, a, config.image_size)

    def canonical(self, image: Tensor) -> Tensor:
        """p_C, (b, k, 3)."""
        return self.detector(image)

    def motion(self, image: Tensor, pose: Pose | None = None) -> Motion:
        """R, f, t and expression of b pictures.

        Args:
            pose: the tracker's (`tracked_pose`). Equation 5 takes R from it, and f and t with `affine` tracker;
                equation 3 does not look at it.
        """
        if self.head_motion is not None:
            found: HeadMotion = self.head_motion(image)
            return Motion(found.pose(half_turn=self.config.conventions.half_turn), found.deformation)
        assert self.expression_encoder is not None
        if pose is None:
            raise ValueError("decomposition mmfa needs the tracker's pose: the rotation comes from it")
        if self.affine is not None:
            pose = Pose(pose.rotation, *self.affine(image))
        return Motion(pose, self.expression_encoder(image))

    def deformation(self, canonical: Tensor, expression: Tensor) -> Tensor:
        """delta, (b, k, 3): equation 4's decoder; with equation 3 `Motion.expression` holds it already."""
        if self.expression_decoder is None:
            return expression.unflatten(1, (-1, 3))
        return self.expression_decoder(expression, canonical)

    def keypoints(self, canonical: Tensor, motion: Motion) -> Tensor:
        """p of equation 5 (or 3), (b, k, 3)."""
        delta, pose = self.deformation(canonical, motion.expression), motion.pose
        if self.config.decomposition == "face-vid2vid":
            return transform_keypoints_unscaled(canonical, delta, pose.rotation, pose.translation)
        return transform_keypoints(canonical, delta, pose.rotation, pose.scale, pose.translation)

    def generate(
        self,
        volume: Tensor,
        source_keypoints: Tensor,
        driving_keypoints: Tensor,
        source_pose: Pose,
        driving_pose: Pose,
    ) -> Generated:
        """The source in the driving pose.

        Args:
            volume: (b, c, d, h, w) of `appearance`.
            source_keypoints: (b, k, 3). driving_keypoints: (b, k, 3).
            source_pose, driving_pose: for the Jacobian of equation 1.
        """
        affine = self.config.motion.jacobian == "affine"
        jacobians = relative_jacobian(source_pose, driving_pose) if affine else None
        field = self.dense_motion(volume, driving_keypoints, source_keypoints, jacobians)
        moved = sample_volume(volume, field.deformation)
        return Generated(self.generator(moved, field.occlusion), field)
