"""The encoder trained along with the generator (AE-StyleGAN, Han et al. 2021), as `Config.autoencoding` asks for it.

The generator copies true pictures through the encoder while the discriminator judges its own pictures and these copies.
The mapping network learns to give codes distributed as the encoder's are, so that random pictures are drawn from the
same space that pictures are inverted to.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from portrayal.face.topology import LEFT_EYE, LIPS_INNER, LIPS_OUTER, RIGHT_EYE
from portrayal.nn.stylegan2 import MappingNetwork
from portrayal.nn.stylegan2_layers import full_precision, normalise
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.faces import as_input
from portrayal.systems.directions.features import load_perceptual, perceptual_of
from portrayal.systems.directions.parts import build_encoder, encoder_of, generator_of, offset_norms
from portrayal.train.state import TrainState

REMEMBERED = 512
"""Codes of true pictures that the mapping network is compared with."""
EXPRESSIVE = [*LEFT_EYE, *RIGHT_EYE, *LIPS_OUTER, *LIPS_INNER]
MARGIN = 0.035
"""How far around these landmarks eyes and mouth reach, as a share of the picture's side."""


class Remembered(nn.Module):
    """The newest w of true pictures; a buffer, so that checkpoints hold it."""

    codes: Tensor
    """(`REMEMBERED`, w_dim), the newest last."""

    def __init__(self, w_dim: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(REMEMBERED, w_dim))

    @torch.no_grad()
    def add(self, codes: Tensor) -> None:
        """Forget the oldest instead."""
        self.codes.copy_(torch.cat([self.codes, codes])[-REMEMBERED:])


def is_on(config: Config) -> bool:
    return config.autoencoding.pixel > 0


def mapping_factor(config: Config) -> float:
    """How many times the generator's learning rate the mapping network has."""
    return config.autoencoding.mapping_factor if is_on(config) else 1.0


def networks(config: Config) -> dict[str, nn.Module]:
    """What the stage trains beside generator and discriminator."""
    if not is_on(config):
        return {}
    return {"encoder": build_encoder(config), "remembered": Remembered(config.generator.w_dim)}


def frozen(config: Config) -> dict[str, nn.Module]:
    """The network of the perceptual loss, where that has a weight. Raises as `load_perceptual`."""
    chosen = config.autoencoding
    if not (is_on(config) and chosen.perceptual):
        return {}
    return {"perceptual": load_perceptual(chosen.perceptual_network)}


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    """Adam, with the moments that are usual where there is no opponent."""
    if not is_on(config):
        return {}
    return {"encoder": torch.optim.Adam(modules["encoder"].parameters(), lr=config.autoencoding.encoder_rate)}


def codes(state: TrainState, images: Tensor) -> Tensor:
    """(b, 3, s, s) in [-1, 1] to w+ (b, layers, w_dim) by the encoder that learns."""
    return encoder_of(state.networks)(images).float()


def terms(
    state: TrainState, made: Tensor, images: Tensor, copied: Tensor, landmarks: Tensor, config: Config
) -> dict[str, Tensor]:
    """What the copies and the random codes cost, unweighted; the weights are `Config.autoencoding`.

    Args:
        made, images: (b, 3, s, s) in [-1, 1], the copies and what they copy. copied: (b, layers, w_dim) their codes.
        landmarks: (b, 478, 3) pixels of the pictures.
    """
    remembered = cast(Remembered, state.networks["remembered"])
    remembered.add(copied[:, 0].detach())
    weight = 1 + config.autoencoding.parts * expressive(landmarks, images.shape[-1])
    found = {"pixel": (weight * (made - images).abs()).mean(), "delta": offset_norms(copied, copied.shape[1])}
    if "perceptual" in state.frozen:
        found["perceptual"] = perceptual_of(state)(made / 2 + 0.5, images / 2 + 0.5)
    found["latent"] = latent_distance(generator_of(state.networks).mapping, remembered.codes)
    return found


def expressive(landmarks: Tensor, side: int) -> Tensor:
    """(b, 1, side, side): 1 on eyes and mouth, 0 elsewhere; (b, 478, 3) pixels."""
    at = torch.arange(side, device=landmarks.device) + 0.5
    points = landmarks[:, EXPRESSIVE]
    dx, dy = points[..., 0, None] - at, points[..., 1, None] - at  # (b, n, side)
    near = dy[..., :, None].square() + dx[..., None, :].square() < (MARGIN * side) ** 2
    return near.any(1, keepdim=True).float()


def latent_distance(mapping: MappingNetwork, codes: Tensor) -> Tensor:
    """() how far w of random z are from where a normal distribution like that of codes (n, w_dim) has them.

    W is nearly normal here, and far from round: the variance lies in few of its many directions. With C the covariance
    of the codes and m their mean, z belongs to m + C^(1/2) z. Squared, relative to the variance of the codes.
    """
    with full_precision(codes):
        z = torch.randn(len(codes), mapping.z_dim, device=codes.device)
        variances, axes = torch.linalg.eigh(codes.mT.cov())
        root = (axes * variances.clamp_min(0).sqrt()) @ axes.mT
        wanted = codes.mean(0) + normalise(z) @ root
        return (mapping(z) - wanted).square().sum(1).mean() / (variances.clamp_min(0).sum() + 1e-8)


@torch.no_grad()
def copies(modules: nn.ModuleDict, images: Tensor, synthesis: nn.Module) -> Tensor:
    """(b, 3, s, s) uint8 pictures to their copies in [0, 1]."""
    return synthesis(encoder_of(modules)(as_input(images)).float()).float() / 2 + 0.5
