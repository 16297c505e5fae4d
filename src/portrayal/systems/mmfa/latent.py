"""What editing asks for: expressions out of the latent space (Sec. 3.3, 4.4) and the canonical face (Fig. 7).

The latent space holds the feature f_delta as a whole where it is read from a picture: L_Exp and L_C keep the identity
out of it (Sec. 3.4). Landmarks hold both; there it holds the part of f_delta that the linear face model's expression
makes up, and what is left of the source's own feature stays as it is.
"""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Generator, Tensor

from portrayal.errors import InputError
from portrayal.motion.compose import head_shape
from portrayal.systems.mmfa import animate, light_animate
from portrayal.systems.mmfa.animate import MmfaSource
from portrayal.systems.mmfa.driving import MmfaDriving
from portrayal.systems.mmfa.guided import GuidedMmfa
from portrayal.systems.mmfa.keypoints import Pose, neutral_keypoints
from portrayal.systems.mmfa.light_animate import LightSource
from portrayal.systems.mmfa.model import Mmfa
from portrayal.systems.mmfa.vae import ExpressionVae
from portrayal.types import FaceParams


def sample_expressions(
    model: Mmfa | GuidedMmfa, source: MmfaSource | LightSource, count: int, generator: Generator
) -> MmfaDriving:
    """`count` expressions of z ~ N(0, I) in the source's own pose (`capabilities.ExpressionSampler`).

    Raises:
        InputError: the weights have no latent space.
    """
    vae = latent_space(model)
    if vae is None:
        raise InputError(
            "these weights of mmfa have no latent space of expressions to draw from; "
            "train it with: portrayal train mmfa vae --init WEIGHTS (not for decomposition face-vid2vid)."
        )
    feature, varying = _own_feature(model, source)
    pose = _own_pose(source)
    still = pose.new_ones(count)
    return _motion(source, feature - varying + vae.sample(count, generator), pose.expand(count, -1) * 0, still)


def interpolate_expressions(
    model: Mmfa | GuidedMmfa, source: MmfaSource | LightSource, driving: MmfaDriving, shares: Tensor
) -> MmfaDriving:
    """From the source's expression to that of `driving` on the way z_S + share * d, d = z_D - z_S (Fig. 8, 15).

    What the VAE loses of the two expressions is added in proportion, so that the ends are the pictures' own, as the
    first and the last picture of Fig. 8. Weights without a latent space go straight from feature to feature. With
    equation 3 the pose goes the same way: it is in the codes.

    Args:
        driving: t = 1, as `encode_driving` gives it. shares: (n,)

    Returns:
        n frames.
    """
    share, vae = shares[:, None], latent_space(model)
    (start, varying), (end, varying_end) = _own_feature(model, source), _feature(model, source, driving)
    expression = start + share * (end - start)
    if vae is not None:
        ends = shares.new_tensor([0, 1])
        way = vae.interpolate(varying[0], varying_end[0], torch.cat([ends, shares]))
        expression = expression + way[2:] - (way[:1] + share * (way[1:2] - way[:1]))
    return _motion(source, expression, share * driving.pose, 1 - shares)


def render_canonical(model: Mmfa | GuidedMmfa, source: MmfaSource | LightSource) -> Tensor:
    """Fig. 7: (1, 3, s, s), the portrait drawn with R = I, t = 0, delta = 0 and its own f."""
    own = source.pose
    upright = torch.eye(3).to(own.rotation)[None]
    pose = Pose(upright, own.scale, torch.zeros_like(own.translation))
    keypoints = neutral_keypoints(source.canonical, own.scale)
    if isinstance(model, GuidedMmfa):
        assert isinstance(source, LightSource)
        return light_animate.drawn(model, source, keypoints, pose)
    assert isinstance(source, MmfaSource)
    return animate.drawn(model, source, keypoints, pose)


def latent_space(model: Mmfa | GuidedMmfa) -> ExpressionVae | None:
    """The model's trained latent space, if it has one."""
    return model.vae if model.vae is not None and model.vae.trained else None


def _own_feature(model: Mmfa | GuidedMmfa, source: MmfaSource | LightSource) -> tuple[Tensor, Tensor]:
    """f_delta of the source (1, 256), and the part of it that the latent space holds."""
    if isinstance(model, GuidedMmfa):
        return _read_feature(model, source.portrait.params)
    assert isinstance(source, MmfaSource)
    return source.codes[0], source.codes[0]


def _feature(model: Mmfa | GuidedMmfa, source: MmfaSource | LightSource, driving: MmfaDriving) -> tuple[Tensor, Tensor]:
    """The same of a motion of one frame."""
    if isinstance(model, GuidedMmfa):
        return _read_feature(model, driving.params)
    assert isinstance(source, MmfaSource)
    expression = animate.driven(model, source, driving)[1]
    return expression, expression


def _read_feature(model: GuidedMmfa, params: FaceParams) -> tuple[Tensor, Tensor]:
    return model.expression_encoder(head_shape(params)), model.expression_change(params.expression)


def _own_pose(source: MmfaSource | LightSource) -> Tensor:
    """(1, 6 or 0) as in `MmfaDriving`."""
    return source.codes[1] if isinstance(source, MmfaSource) else source.portrait.params.scale.new_zeros(1, 0)


def _motion(source: MmfaSource | LightSource, expression: Tensor, pose: Tensor, pose_share: Tensor) -> MmfaDriving:
    """These features in the source's pose."""
    n = len(expression)
    params, times = source.portrait.params[[0] * n], tuple(Fraction(i, 25) for i in range(n))
    return MmfaDriving(params, times, expression, torch.zeros_like(pose_share), pose, pose_share)
