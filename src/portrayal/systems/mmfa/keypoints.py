"""Canonical keypoints, and equations 3 and 5, which move them into a picture.

Convention: keypoints are (x, y, z), normalised: x right, y down, [-1, 1] over the crop (`align_corners=False`), z in
the same unit, smaller is nearer. Rotations as in `face.pose`, acting on columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.antialias import AntialiasDownsample
from portrayal.nn.blocks import DownBlock, UpBlock, conv, hourglass_widths
from portrayal.nn.precision import in_float32
from portrayal.nn.volume import soft_argmax
from portrayal.systems.mmfa.config import DetectorConfig
from portrayal.types import FaceParams


@dataclass(frozen=True)
class Pose:
    """R, f, t of equation 5 in b pictures."""

    rotation: Tensor
    """(b, 3, 3) head to picture."""
    scale: Tensor
    """(b,) normalised units per unit of the canonical frame."""
    translation: Tensor
    """(b, 2) normalised; (b, 3) with equation 3."""


@dataclass(frozen=True)
class Motion:
    """What moves the canonical keypoints into b pictures."""

    pose: Pose
    expression: Tensor
    """(b, 256) the feature f_delta; with equation 3 the deformations themselves, (b, 3 k)."""


def tracked_pose(params: FaceParams, side: int) -> Pose:
    """R, f, t as the tracker measures them.

    Args:
        params: t frames in pixels of a square crop.
        side: of that crop in pixels.

    Returns:
        t poses; the unit of the canonical frame is then the head unit of `face.morphable`.
    """
    return Pose(params.rotation, params.scale * (2 / side), params.translation[:, :2] * (2 / side) - 1)


@dataclass(frozen=True)
class Detection:
    """Canonical keypoints with what they were read from."""

    keypoints: Tensor
    """(b, k, 3)."""
    logits: Tensor
    """(b, k, d, h, w) heatmaps before the softmax."""
    jacobians: Tensor | None
    """(b, k, 3, 3), for a detector with that head."""


class KeypointDetector(nn.Module):
    """p_C of equation 5: 2D encoder, features folded into depth, 3D decoder, soft-argmax (Sec. 3.2; face-vid2vid)."""

    def __init__(self, config: DetectorConfig, *, corners: bool = False) -> None:
        super().__init__()
        self.config, self.corners = config, corners
        c = hourglass_widths(config.first, config.largest, config.levels)
        steps = range(config.levels)
        factor = config.input_factor
        self.down = AntialiasDownsample(3, factor) if factor > 1 else nn.Identity()
        self.encoder = nn.Sequential(*(DownBlock(2, 3 if i == 0 else c[i], c[i + 1]) for i in steps))
        self.fold = conv(2, c[-1], c[-1] * config.depth, 1)
        self.decoder = nn.Sequential(*(UpBlock(3, c[i + 1], c[i]) for i in reversed(steps)))
        self.heatmap = conv(3, c[0], config.keypoints, 3)
        self.jacobian = conv(3, c[0], 9 * config.keypoints, 3) if config.jacobians else None

    def forward(self, image: Tensor) -> Tensor:
        """(b, 3, h, w) in [0, 1] to (b, k, 3)."""
        return self.detect(image).keypoints

    def detect(self, image: Tensor) -> Detection:
        """`forward` with the heatmaps."""
        x = self.fold(self.encoder(self.down(image)))
        x = self.decoder(rearrange(x, "b (c d) h w -> b c d h w", d=self.config.depth))
        logits = self.heatmap(x)
        keypoints, heat = soft_argmax(logits, temperature=self.config.temperature, corners=self.corners)
        jacobians = None
        if self.jacobian is not None:
            maps = rearrange(self.jacobian(x), "b (k n) d h w -> b k n d h w", n=9)
            jacobians = (maps * heat[:, :, None]).sum((3, 4, 5)).unflatten(2, (3, 3))
        return Detection(keypoints, logits, jacobians)


@in_float32
def transform_keypoints(
    canonical: Tensor, delta: Tensor, rotation: Tensor, scale: Tensor, translation: Tensor
) -> Tensor:
    """Equation 5: p = R f (p_C + delta) + t.

    Args:
        canonical: (b, k, 3) p_C. delta: (b, k, 3).
        rotation: (b, 3, 3). scale: (b,). translation: (b, 2); z is not translated (Sec. 3.2: t in R^2).

    Returns:
        (b, k, 3).
    """
    turned = scale[:, None, None] * (canonical + delta) @ rotation.mT
    return turned + F.pad(translation, (0, 1))[:, None]


@in_float32
def transform_keypoints_unscaled(canonical: Tensor, delta: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """Equation 3, face-vid2vid's: p = R p_C + t + delta.

    Args:
        canonical: (b, k, 3) p_C. delta: (b, k, 3). rotation: (b, 3, 3). translation: (b, 3).

    Returns:
        (b, k, 3).
    """
    return canonical @ rotation.mT + translation[:, None] + delta


def neutral_keypoints(canonical: Tensor, scale: Tensor) -> Tensor:
    """N of Fig. 3, from which Fig. 7 is drawn: equation 5 without rotation, translation and expression.

    Args:
        canonical: (b, k, 3) p_C. scale: (b,) of the pictures that they are from; 1 with equation 3.

    Returns:
        (b, k, 3) f p_C.
    """
    return scale[:, None, None] * canonical


def relative_jacobian(source: Pose, driving: Pose) -> Tensor:
    """J = J_S J_D^-1 of equation 1, with J the derivative of equation 5 with respect to p_C.

    Returns:
        (b, 3, 3) f_S / f_D R_S R_D^T, the same for all keypoints.
    """
    return _relative(source.rotation, driving.rotation, source.scale / driving.scale)


@in_float32
def _relative(source: Tensor, driving: Tensor, ratio: Tensor) -> Tensor:
    return ratio[:, None, None] * (source @ driving.mT)


def euler_xyz(angles: Tensor) -> Tensor:
    """R = Rx(pitch) Ry(yaw) Rz(roll), the order of face-vid2vid; `face.pose` has the project's own.

    Args:
        angles: (b, 3) yaw, pitch, roll in radians, right-handed about y, x, z.

    Returns:
        (b, 3, 3).
    """
    yaw, pitch, roll = angles.unbind(-1)
    return _about(pitch, 0) @ _about(yaw, 1) @ _about(roll, 2)


def _about(angle: Tensor, axis: int) -> Tensor:
    """(b,) to (b, 3, 3), right-handed."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = torch.zeros(*angle.shape, 3, 3, dtype=angle.dtype, device=angle.device)
    matrix[..., axis, axis] = 1
    matrix[..., i, i] = matrix[..., j, j] = angle.cos()
    matrix[..., j, i], matrix[..., i, j] = angle.sin(), -angle.sin()
    return matrix
