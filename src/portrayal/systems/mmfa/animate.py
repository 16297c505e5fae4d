"""Encode a portrait once, a motion frame by frame, and render the portrait with it.

The driving face's place, size and turn come from `FaceParams`, which `motion.retarget` has moved onto the portrait. The
expression is a feature of the driving pictures, of which relative motion takes the change since the reference frame:
f = f_S + (f_D - f_reference). With equation 3 the pose is the network's too, and is treated in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.errors import InputError
from portrayal.motion.options import RetargetOptions
from portrayal.systems.mmfa import light_animate
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.driving import MmfaDriving
from portrayal.systems.mmfa.guided import GuidedMmfa
from portrayal.systems.mmfa.keypoints import Motion, Pose, euler_xyz, tracked_pose
from portrayal.systems.mmfa.light_animate import LightSource
from portrayal.systems.mmfa.model import Mmfa
from portrayal.types import FaceClip, Portrait, Source


@dataclass(frozen=True)
class MmfaSource(Source):
    """A portrait as the networks know it."""

    volume: Tensor
    """(1, c, d, h, w) appearance features."""
    canonical: Tensor
    """(1, k, 3) p_C."""
    pose: Pose
    """R, f, t of the portrait."""
    codes: tuple[Tensor, Tensor]
    """(1, n) expression and (1, 6 or 0) pose, as in `MmfaDriving`."""
    keypoints: Tensor
    """(1, k, 3) p_S."""


def build(config: Config) -> Mmfa | GuidedMmfa:
    """The model; weights are loaded separately."""
    return GuidedMmfa(config) if config.renderer == "light" else Mmfa(config)


def encode_source(model: Mmfa | GuidedMmfa, portrait: Portrait) -> MmfaSource | LightSource:
    """Features, canonical keypoints and motion of a portrait.

    Args:
        portrait: (1, 3, h, w) square crop of any size, scaled to `Config.image_size` here.

    Raises:
        ValueError: the portrait is not one square picture with one frame of parameters.
    """
    portrait.require_square()
    image = portrait.image
    if isinstance(model, GuidedMmfa):
        return light_animate.encode_source(model, portrait)
    tracked = tracked_pose(portrait.params, image.shape[-1])
    image = _resized(image, model.config.image_size)
    canonical = model.canonical(image)
    expression, pose_code = _codes(model, image)
    pose = tracked
    if model.affine is not None:
        pose = Pose(tracked.rotation, *model.affine(image))
    elif model.head_motion is not None:
        pose = _decoded_pose(pose_code)
    keypoints = model.keypoints(canonical, Motion(pose, expression))
    return MmfaSource(portrait, model.appearance(image), canonical, pose, (expression, pose_code), keypoints)


def driving_pixels(model: Mmfa | GuidedMmfa) -> int | None:
    """Side of the driving crops where the expression encoder reads pictures."""
    return None if isinstance(model, GuidedMmfa) else model.config.image_size


def encode_driving(model: Mmfa | GuidedMmfa, clip: FaceClip) -> MmfaDriving:
    """Codes of every frame, as absolute motion; `retarget_codes` makes them relative.

    Args:
        clip: square crops (t, 3, s, s) around the driving face.

    Raises:
        ValueError: the clip has no pixels.
    """
    if isinstance(model, GuidedMmfa):
        return light_animate.encode_driving(model, clip)
    if clip.images.numel() == 0 and len(clip.params):
        raise ValueError("mmfa reads the expression from the driving pictures, but this clip has no pixels")
    step = model.config.frames_per_batch
    parts = [_codes(model, _resized(chunk, model.config.image_size)) for chunk in clip.images.split(step)]
    expression, pose = (torch.cat(column) for column in zip(*parts, strict=True))
    nothing = expression.new_zeros(len(expression))
    return MmfaDriving(clip.params, clip.times, expression, nothing, pose, nothing)


def retarget_codes(driving: MmfaDriving, options: RetargetOptions) -> MmfaDriving:
    """Relative or absolute, strength and region, for the codes.

    Args:
        driving: absolute codes of a whole clip. options: `reference` is the number of a frame of it.

    Raises:
        InputError: a region smaller than the expression; the feature knows no parts of the face.
    """
    if not driving.expression.shape[1]:
        return driving  # the landmarks, which are moved already, say it all
    if options.region in ("eyes", "lips"):
        raise InputError(
            f"mmfa moves the expression as a whole and cannot move the {options.region} alone; "
            "choose --region all, pose or expression, or --system meshwarp."
        )
    moved: dict[str, Any] = {}
    for name in ("expression", "pose"):
        code = getattr(driving, name)
        strength = options.strength if options.region in ("all", name) else 0.0
        if options.motion == "relative":
            code, share = strength * (code - code[[options.reference or 0]]), 1.0
        else:
            code, share = strength * code, 1 - strength
        moved |= {name: code, f"{name}_share": code.new_full((len(code),), share)}
    return replace(driving, **moved)


def render(model: Mmfa | GuidedMmfa, source: MmfaSource | LightSource, driving: MmfaDriving) -> Iterator[Tensor]:
    """Draw the portrait with a motion that is already retargeted to it.

    Yields:
        (b, 3, h, w) float32 [0, 1], b up to `Config.frames_per_batch`.
    """
    if isinstance(model, GuidedMmfa):
        assert isinstance(source, LightSource)
        yield from light_animate.render(model, source, driving)
        return
    assert isinstance(source, MmfaSource)
    step = model.config.frames_per_batch
    for start in range(0, len(driving), step):
        yield _frames(model, source, driving[start : start + step])


def _frames(model: Mmfa, source: MmfaSource, driving: MmfaDriving) -> Tensor:
    pose, expression = driven(model, source, driving)
    keypoints = model.keypoints(source.canonical.expand(len(driving), -1, -1), Motion(pose, expression))
    return drawn(model, source, keypoints, pose)


def drawn(model: Mmfa, source: MmfaSource, keypoints: Tensor, pose: Pose) -> Tensor:
    """(n, 3, s, s) the portrait with its keypoints at `keypoints` (n, k, 3); `pose` is that of n frames."""
    n, side = len(keypoints), source.portrait.image.shape[-1]
    own = Pose(*(x.expand(n, *x.shape[1:]) for x in (source.pose.rotation, source.pose.scale, source.pose.translation)))
    generated = model.generate(
        source.volume.expand(n, -1, -1, -1, -1), source.keypoints.expand(n, -1, -1), keypoints, own, pose
    )
    return _resized(generated.picture.float(), side).clamp(0, 1)


def _codes(model: Mmfa, image: Tensor) -> tuple[Tensor, Tensor]:
    """(b, n) expression and (b, 6 or 0) pose of b pictures."""
    if model.head_motion is not None:
        found = model.head_motion(image)
        angles = found.angles_deg() / 180 * model.config.conventions.half_turn
        return found.deformation, torch.cat([angles, found.translation], 1)
    assert model.expression_encoder is not None
    return model.expression_encoder(image), image.new_empty(len(image), 0)


def driven(model: Mmfa, source: MmfaSource, driving: MmfaDriving) -> tuple[Pose, Tensor]:
    """Pose and expression of the frames to render."""
    own_expression, own_pose = source.codes
    expression = driving.expression_share[:, None] * own_expression + driving.expression
    if model.head_motion is not None:
        return _decoded_pose(driving.pose_share[:, None] * own_pose + driving.pose), expression
    side = source.portrait.image.shape[-1]
    before, now = tracked_pose(source.portrait.params, side), tracked_pose(driving.params, side)
    return carry_pose(source.pose, before, now), expression


def carry_pose(pose: Pose, before: Pose, now: Pose) -> Pose:
    """Move the source's pose as the tracker says that the head moves.

    The canonical frame of a learned f and t differs from the head frame in its unit and its origin. Both are fixed to
    the head: the unit keeps its ratio, the origin its place in the head (its depth is unknown and taken as the head's).

    Args:
        pose: of the source, from the estimator (1 frame). before: the tracker's, of the same frame.
        now: the tracker's, t frames.

    Returns:
        t frames; `now` itself where `pose` is `before`.
    """
    origin = F.pad(pose.translation - before.translation, (0, 1))[:, :, None]
    origin = before.rotation.mT @ origin / before.scale[:, None, None]
    shift = now.scale[:, None] * (now.rotation @ origin)[:, :2, 0]
    return Pose(now.rotation, pose.scale * now.scale / before.scale, now.translation + shift)


def _decoded_pose(code: Tensor) -> Pose:
    """(b, 6) of `MmfaDriving.pose` to R, f = 1, t."""
    return Pose(euler_xyz(code[:, :3]), code.new_ones(len(code)), code[:, 3:])


def _resized(image: Tensor, side: int) -> Tensor:
    """(b, 3, h, w) to (b, 3, side, side)."""
    if image.shape[2:] == (side, side):
        return image
    return F.interpolate(image, (side, side), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
