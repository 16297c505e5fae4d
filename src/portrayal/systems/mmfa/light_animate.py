"""Encode a portrait and render it with the light renderer.

The network works at 256 x 256; the pixels that it moves are read from the portrait in its own resolution, so that a
portrait of 1024 pixels stays as sharp as it is, and only what is painted has the network's resolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.motion.compose import head_shape
from portrayal.nn.precision import quick_precision
from portrayal.systems.mmfa.driving import MmfaDriving
from portrayal.systems.mmfa.far import FarHead
from portrayal.systems.mmfa.guided import GuidedMmfa
from portrayal.systems.mmfa.keypoints import Pose, tracked_pose
from portrayal.systems.mmfa.light import Appearance, enlarge, resize, sample
from portrayal.systems.openings import Openings
from portrayal.systems.portrait_mesh import PortraitMesh
from portrayal.types import FaceClip, Portrait, Source

BODY = (0.03, 0.12)
"""Head units that a neck moves: up to which neck and shoulders are the network's, and from which on the mesh's."""


@dataclass(frozen=True)
class LightSource(Source):
    """A portrait as the networks know it."""

    appearance: Appearance
    canonical: Tensor
    """(1, k, 3) p_C, head units."""
    pose: Pose
    keypoints: Tensor
    """(1, k, 3) p_S."""


def encode_source(model: GuidedMmfa, portrait: Portrait) -> LightSource:
    """Features, canonical keypoints and keypoints of a square portrait (`animate.encode_source` has checked it)."""
    side = portrait.image.shape[-1]
    image = _resized(portrait.image, model.config.image_size).contiguous(memory_format=torch.channels_last)
    pose = tracked_pose(portrait.params, side)
    with quick_precision(image):
        canonical = model.canonical(image).float()
        appearance = model.renderer.appearance(image)
    expression = model.expression_encoder(head_shape(portrait.params))
    keypoints = model.keypoints(canonical, expression, pose)
    return LightSource(portrait, appearance, canonical, pose, keypoints)


def encode_driving(model: GuidedMmfa, clip: FaceClip) -> MmfaDriving:
    """The motion of a clip; its pixels are not looked at."""
    empty, whole = clip.params.scale.new_zeros(len(clip.params), 0), torch.ones_like(clip.params.scale)
    return MmfaDriving(clip.params, clip.times, empty, whole, empty, whole)


def render(model: GuidedMmfa, source: LightSource, driving: MmfaDriving) -> Iterator[Tensor]:
    """As `animate.render`; what a head that moves or turns far uncovers is meshwarp's (`portrait_mesh`), and with
    `LightConfig.openings` the inside of the mouth.

    Not where the expression comes out of the latent space: nothing says where the lips are that it draws.
    """
    step, openings, mesh = model.config.frames_per_batch, None, PortraitMesh(source.portrait)
    far = FarHead(mesh)
    if model.config.light.openings and not driving.expression.shape[1]:
        openings = Openings.of(source.portrait, open_eyes=False)
    for start in range(0, len(driving), step):
        part = driving[start : start + step]
        near, by = far.split(part.params)
        faces = far.carry(frames(model, source, replace(part, params=near)), near, by)
        faces = mesh.lay_over(faces, part.params, within=BODY)
        yield faces if openings is None else openings.fill(faces, part.params)


def frames(model: GuidedMmfa, source: LightSource, driving: MmfaDriving) -> Tensor:
    """(n, 3, s, s) what the networks draw of a few frames."""
    pose, expression = driven(model, source, driving)
    return drawn(model, source, model.keypoints(source.canonical.expand(len(driving), -1, -1), expression, pose), pose)


def driven(model: GuidedMmfa, source: LightSource, driving: MmfaDriving) -> tuple[Pose, Tensor]:
    """Pose and f_delta (n, 256) of the frames to render."""
    expression = driving.expression_share[:, None] * model.expression_encoder(head_shape(driving.params))
    if driving.expression.shape[1]:
        expression = expression + driving.expression
    return tracked_pose(driving.params, source.portrait.image.shape[-1]), expression


def drawn(model: GuidedMmfa, source: LightSource, points: Tensor, pose: Pose) -> Tensor:
    """(n, 3, s, s) the portrait with its keypoints at `points` (n, k, 3); `pose` is that of n frames."""
    n, side = len(points), source.portrait.image.shape[-1]
    appearance = Appearance(*(x.expand(n, *x.shape[1:]) for x in vars(source.appearance).values()))
    own = Pose(*(x.expand(n, *x.shape[1:]) for x in vars(source.pose).values()))
    with quick_precision(points):
        motion = model.renderer.motion(appearance, source.keypoints.expand(n, -1, -1), points, own, pose)
        painted = model.renderer.generator(appearance, motion)[model.config.image_size]
    if side == model.config.image_size:
        return painted.picture.clamp(0, 1)
    moved = sample(source.portrait.image.expand(n, -1, -1, -1), enlarge(motion.flow, (side, side)))
    rest = resize(painted.painted, (side, side))
    share = resize(painted.share, (side, side))
    return torch.lerp(rest, moved, share).clamp(0, 1)


def _resized(image: Tensor, side: int) -> Tensor:
    if image.shape[2:] == (side, side):
        return image
    return F.interpolate(image, (side, side), mode="bilinear", align_corners=False, antialias=True)
