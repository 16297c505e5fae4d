"""L of Algorithm 1: unweighted terms of pictures and densities, as the official recipe has them.

Pictures are (b, 3, h, w) in [-1, 1], landmarks (b, 478, 2) pixels of the true picture at its full size.

Differs from the official code: the eyes of the generated picture are cut from the generated picture (there from the
true one, so that their terms are always 0); points for the density lie where the planes are; identity is judged by
IR-SE-50 or MobileFaceNet instead of a grey ResNet-18.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.errors import InputError
from portrayal.face.align import FIVE_POINTS, align
from portrayal.face.features import TrackerMaps
from portrayal.face.landmark_reader import LandmarkReader
from portrayal.face.topology import LEFT_EYE, LIPS_OUTER, RIGHT_EYE
from portrayal.nn import arcface, mobilefacenet
from portrayal.nn.arcface import identity_distance
from portrayal.nn.pretrained import DEV_WEIGHTS, development_weights, load_arcface, load_mobilefacenet, load_vgg19
from portrayal.nn.rendering.density import density_monotonicity, density_variation, random_points
from portrayal.nn.stylegan2_layers import full_precision
from portrayal.systems.otavatar.generator import TriplaneGenerator, View
from portrayal.systems.otavatar.pairs import Faces
from portrayal.systems.otavatar.reading import openings
from portrayal.systems.otavatar.training_config import DecoupleConfig, IdentityName, LossWeights

SCALES_OF_RAW, SCALES_OF_PICTURE = 2, 4
"""Of the perceptual term; each halves the size."""
REGIONS = ((LIPS_OUTER, 120 / 512, 10 / 512), (RIGHT_EYE, 80 / 512, 20 / 512), (LEFT_EYE, 80 / 512, 20 / 512))
"""Landmarks, side to which they are cut out, margin around them; in sides of the picture."""


def feature_networks(config: DecoupleConfig) -> dict[str, nn.Module]:
    """The networks that the terms ask for.

    Raises:
        InputError: their weights are not here; says how to get them.
    """
    chosen: dict[str, nn.Module] = {}
    if config.losses.perceptual:
        chosen["perceptual"] = (
            load_vgg19() if config.perceptual_network == "vgg19" else TrackerMaps(config.tracker_side)
        )
    if config.losses.identity:
        chosen["identity"] = identity_network(config.identity_network)
    if config.losses.openings:
        chosen["openings"] = LandmarkReader()
    return chosen


def identity_network(name: IdentityName) -> nn.Module:
    """
    Raises:
        InputError: its weights are not here; says how to get them.
    """
    if name == "arcface":
        return load_arcface()
    path = development_weights()
    if path is None:
        raise InputError(
            f"the identity term needs MobileFaceNet's weights; set {DEV_WEIGHTS} to the folder with its "
            "mobilefacenet.npz, or decouple.losses.identity to 0 (in the stage eg3d: autoencoding.identity)"
        )
    return load_mobilefacenet(path)


def view_loss(view: View, faces: Faces, networks: Mapping[str, nn.Module], weights: LossWeights) -> Tensor:
    """The weighted sum of `picture_terms` of what was rendered and, where it is there, of the final picture, whose
    `openings` count, too."""
    total = view.raw.new_zeros(())
    if weights.openings and view.picture is not None:
        total = total + weights.openings * openings(networks["openings"], view.picture, faces.landmarks)
    for made, scales in ((view.raw, SCALES_OF_RAW), (view.picture, SCALES_OF_PICTURE)):
        if made is not None:
            terms = picture_terms(made, faces, networks, weights, scales=scales)
            total = total + torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
    return total


def picture_terms(
    made: Tensor, faces: Faces, networks: Mapping[str, nn.Module], weights: LossWeights, *, scales: int
) -> dict[str, Tensor]:
    """Terms with a weight, by its name in `LossWeights`; each a scalar, 0 for equal pictures."""
    made = made.float()
    truth = F.interpolate(faces.picture, made.shape[-2:], mode="area")
    landmarks = faces.landmarks * (made.shape[-1] / faces.picture.shape[-1])
    terms: dict[str, Tensor] = {}
    if weights.perceptual:
        terms["perceptual"] = perceptual(networks["perceptual"], made, truth, scales=scales, gram=weights.gram)
    if weights.local:
        terms["local"] = local(made, truth, landmarks)
    if weights.pixel:
        terms["pixel"] = F.smooth_l1_loss(made, truth)
    if weights.identity:
        terms["identity"] = identity(networks["identity"], made, truth, landmarks)
    return terms


def perceptual(network: nn.Module, made: Tensor, truth: Tensor, *, scales: int, gram: float) -> Tensor:
    """Mean absolute differences of feature maps at several sizes; of the first also `gram` x their Gram matrices'."""
    total = made.new_zeros(())
    for scale in range(scales):
        with torch.no_grad():
            wanted = feature_maps(network, truth)
        for mine, theirs in zip(feature_maps(network, made), wanted, strict=True):
            total = total + (mine - theirs).abs().mean()
            if scale == 0 and gram:
                total = total + gram * (gram_matrix(mine) - gram_matrix(theirs)).abs().mean()
        made, truth = (F.interpolate(x, scale_factor=0.5, mode="bilinear") for x in (made, truth))
    return total


def feature_maps(network: nn.Module, images: Tensor) -> list[Tensor]:
    found = network(images / 2 + 0.5)
    return list(found.values()) if isinstance(found, dict) else found


def gram_matrix(maps: Tensor) -> Tensor:
    """(b, c, h, w) to (b, c, c), divided by c h w."""
    flat = maps.flatten(2)
    return flat @ flat.mT / flat[0].numel()


def local(made: Tensor, truth: Tensor, landmarks: Tensor) -> Tensor:
    """Mean absolute difference of the mouth and of both eyes, each cut out and brought to one size."""
    parts = []
    for points, side, margin in REGIONS:
        grid = region_grid(landmarks[:, list(points)], made.shape[-1], side=side, margin=margin)
        mine, theirs = (F.grid_sample(x, grid, align_corners=False) for x in (made, truth))
        parts.append((mine - theirs).abs().mean())
    return torch.stack(parts).sum()


def region_grid(points: Tensor, size: int, *, side: float, margin: float) -> Tensor:
    """Where to read the box around points (b, n, 2): (b, k, k, 2) in [-1, 1], k = `side` of the picture's."""
    low, high = points.amin(1) - margin * size, points.amax(1) + margin * size  # (b, 2)
    count = max(round(side * size), 2)
    steps = (torch.arange(count, device=points.device, dtype=points.dtype) + 0.5) / count
    along = low[:, None] + steps[:, None] * (high - low)[:, None]  # (b, k, 2)
    x, y = along[..., 0][:, None].expand(-1, count, -1), along[..., 1][:, :, None].expand(-1, -1, count)
    return torch.stack([x, y], -1) * (2 / size) - 1


def identity(network: nn.Module, made: Tensor, truth: Tensor, landmarks: Tensor) -> Tensor:
    """1 - cosine of the embeddings of the aligned faces."""
    points = landmarks[:, list(FIVE_POINTS)]
    if isinstance(network, mobilefacenet.MobileFaceNet):
        targets, size = points.new_tensor(mobilefacenet.ALIGNED_POINTS), mobilefacenet.INPUT_SIZE
    else:
        targets, size = points.new_tensor(arcface.ALIGNED_POINTS), (arcface.INPUT_SIDE, arcface.INPUT_SIDE)
    with full_precision(made):  # the fit of the places
        mine, theirs = (align(x / 2 + 0.5, points, targets, size) for x in (made, truth))
    return identity_distance(network(mine), network(theirs).detach()).mean()


def density_loss(generator: TriplaneGenerator, planes: Tensor, weights: LossWeights) -> Tensor:
    """The weighted sum of both regularisers of the density; only in training."""
    total = planes.new_zeros(())
    if not (weights.variation or weights.monotonic):
        return total
    half = generator.config.rays.box_size / 2
    points = random_points(len(planes), weights.density_points, half_extent=half, like=planes)

    def density(at: Tensor) -> Tensor:
        return generator.density(planes, at)

    if weights.variation:
        total = total + weights.variation * density_variation(density, points)
    if weights.monotonic:
        total = total + weights.monotonic * density_monotonicity(density, points)
    return total
