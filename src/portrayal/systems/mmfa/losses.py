"""The terms of equation 14: tensors in, one number out, unweighted; the weights are `Config.loss`.

Where the paper sums over keypoints we take the mean, as the public code of FOMM and face-vid2vid does, so that their
weights hold for any number of keypoints. Every term is the mean over the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.face.topology import FACE_120, MOUTH_20, PUPIL_PAIRS
from portrayal.systems.mmfa.deform import Deformation
from portrayal.systems.mmfa.features import FeatureNetwork, resize


def multi_scale_perceptual(
    outputs: Mapping[int, Tensor], driving: Tensor, landmarks: Tensor, network: FeatureNetwork
) -> Tensor:
    """L_P,multi-scale (equation 6): L_P(D_64, G_64) + L_P(D_128, G_128) + L_P(D, G).

    Args:
        outputs: side -> (b, 3, side, side) in [0, 1].
        driving: D, (b, 3, h, w) in [0, 1]; resized to each output.
        landmarks: (b, 478, 3) of D, pixels of D.
    """
    sides = [max(outputs)] if network.finest_only else sorted(outputs)
    scale = {side: side / driving.shape[-1] for side in sides}
    terms = [
        perceptual(outputs[side].float(), resize(driving, side), landmarks * scale[side], network) for side in sides
    ]
    return torch.stack(terms).sum()


def perceptual(images: Tensor, targets: Tensor, landmarks: Tensor, network: FeatureNetwork) -> Tensor:
    """L_P (A.2, after Johnson et al. 2016): mean absolute difference of the features, summed over the maps."""
    with torch.no_grad():
        wanted = network(targets, landmarks)
    pairs = zip(network(images, landmarks), wanted, strict=True)
    return torch.stack([(mine - theirs).float().abs().mean() for mine, theirs in pairs]).sum()


def multi_scale_pixel(outputs: Mapping[int, Tensor], driving: Tensor) -> Tensor:
    """Mean absolute difference of the pixels at each output's size, summed. Not in the paper: for presets without
    a feature network."""
    terms = [(image.float() - resize(driving, side)).abs().mean() for side, image in outputs.items()]
    return torch.stack(terms).sum()


def generator_adversarial(fake_logits: Sequence[Tensor]) -> Tensor:
    """Least squares (Mao et al. 2017): the discriminator should say 1 of G. One tensor per scale."""
    return torch.stack([(1 - logits.float()).square().mean() for logits in fake_logits]).sum()


def discriminator_adversarial(real_logits: Sequence[Tensor], fake_logits: Sequence[Tensor]) -> Tensor:
    """Least squares: 1 of D, 0 of G."""
    pairs = zip(real_logits, fake_logits, strict=True)
    terms = [(1 - real.float()).square().mean() + fake.float().square().mean() for real, fake in pairs]
    return torch.stack(terms).sum()


def feature_matching(real_features: Sequence[Tensor], fake_features: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of the discriminator's intermediate maps (A.2, after Wang et al. 2018), summed."""
    pairs = zip(real_features, fake_features, strict=True)
    return torch.stack([(real.detach() - fake).float().abs().mean() for real, fake in pairs]).sum()


def equivariance(keypoints: Tensor, deformed_keypoints: Tensor, deformation: Deformation) -> Tensor:
    """L_E (equation 15): |p_X - T^-1(p_T(X))|_1 in 2D, the mean over keypoints and axes.

    Args:
        keypoints: (b, K, 3) of X. deformed_keypoints: (b, K, 3) estimated anew from T(X).
    """
    back = deformation.deformed_to_original(deformed_keypoints[..., :2].float())
    return (keypoints[..., :2].float() - back).abs().mean()


def keypoint_prior(keypoints: Tensor, *, distance: float, depth: float) -> Tensor:
    """L_L (A.2): sum over pairs of max(0, D_t - |p_i - p_j|^2), and |mean depth - z_t| (face-vid2vid, supplement).

    Both orders of a pair count, as in face-vid2vid's double sum; a point with itself does not, it would only add the
    constant K D_t.

    Args:
        keypoints: (b, K, 3). distance: D_t. depth: z_t.
    """
    points = keypoints.float()
    squared = (points[:, :, None] - points[:, None]).square().sum(-1)
    other = ~torch.eye(points.shape[1], dtype=torch.bool, device=points.device)
    close = (distance - squared).clamp_min(0) * other
    return close.sum((1, 2)).mean() + (points[..., 2].mean(1) - depth).abs().mean()


def deformation_prior(deformation: Tensor) -> Tensor:
    """L_Delta (A.2): the L1 norm of each keypoint's delta (b, K, 3), the mean over keypoints."""
    return deformation.float().abs().sum(-1).mean()


def expression_similarity(feature: Tensor, augmented_feature: Tensor) -> Tensor:
    """L_Exp (equation 7): 1 - cosine of f_delta and f'_delta, each (b, 256)."""
    return (1 - F.cosine_similarity(feature.float(), augmented_feature.float(), dim=-1)).mean()


def identity_consistency(source_canonical: Tensor, driving_canonical: Tensor) -> Tensor:
    """L_C (equation 8): distance of the canonical keypoints (b, K, 3) of S and D, the mean over keypoints."""
    return distances(source_canonical, driving_canonical).mean()


def landmark_consistency(generated: Tensor, driving: Tensor) -> dict[str, Tensor]:
    """The three terms of L_M (equation 9): distances of 120 + 20 + 5 landmarks in 2D.

    The paper does not say which points they are, nor the unit: `face.topology` has our choice, and a distance is
    measured in half pictures and averaged over the points. The five of the pupils are the middles of corresponding
    points of the two irises.

    Args:
        generated, driving: (b, 478, >= 2) landmarks of G and D, unit coordinates [-1, 1].

    Returns:
        landmarks_face, landmarks_mouth, landmarks_pupil; L_M is their sum with the lambdas.
    """
    mine, theirs = generated[..., :2].float(), driving[..., :2].float()
    return {
        "landmarks_face": distances(mine[:, list(FACE_120)], theirs[:, list(FACE_120)]).mean(),
        "landmarks_mouth": distances(mine[:, list(MOUTH_20)], theirs[:, list(MOUTH_20)]).mean(),
        "landmarks_pupil": distances(pupils(mine), pupils(theirs)).mean(),
    }


def head_pose(rotation: Tensor, tracked: Tensor) -> Tensor:
    """L_H of face-vid2vid, for equation 3: mean absolute difference of the learned and the tracker's R, (b, 3, 3).

    Differs: face-vid2vid compares Euler angles; matrices have no seam and no order of axes.
    """
    return (rotation - tracked).float().abs().mean()


def pupils(landmarks: Tensor) -> Tensor:
    """(b, 478, 2) to the five points (b, 5, 2) that stand for the gaze."""
    right, left = (list(side) for side in zip(*PUPIL_PAIRS, strict=True))
    return (landmarks[:, right] + landmarks[:, left]) / 2


def distances(points: Tensor, others: Tensor) -> Tensor:
    """Euclidean, (..., n, d) to (..., n); the gradient stays finite where both are the same."""
    return ((points - others).float().square().sum(-1) + 1e-12).sqrt()
