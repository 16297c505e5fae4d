"""The encoder trained along with the generator (AE-StyleGAN, Han et al. 2021), as `Config.autoencoding` asks for it.

The generator copies true pictures through the encoder while the discriminator judges its own pictures and these copies.
The mapping network learns to give codes distributed like the encoder's, so that random pictures are drawn from the same
space that pictures are inverted to.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.stylegan2 import MappingNetwork
from portrayal.nn.stylegan2_layers import full_precision
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.faces import as_input
from portrayal.systems.directions.features import load_perceptual, perceptual_of
from portrayal.systems.directions.parts import build_encoder, encoder_of, generator_of, offset_norms
from portrayal.train.state import TrainState

REMEMBERED = 512
"""Codes of true pictures that the mapping network is compared with."""
SLICES = 128
"""Random lines on which codes are compared."""


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
    return {"perceptual": load_perceptual(chosen.perceptual_network, config.image_size)}


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    """Adam, with the moments that are usual where there is no opponent."""
    if not is_on(config):
        return {}
    return {"encoder": torch.optim.Adam(modules["encoder"].parameters(), lr=config.autoencoding.encoder_rate)}


def codes(state: TrainState, images: Tensor) -> Tensor:
    """(b, 3, s, s) in [-1, 1] to w+ (b, layers, w_dim) by the encoder that learns."""
    return encoder_of(state.networks)(images).float()


def terms(state: TrainState, made: Tensor, images: Tensor, copied: Tensor) -> dict[str, Tensor]:
    """What the copies and the random codes cost, unweighted; the weights are `Config.autoencoding`.

    Args:
        made, images: (b, 3, s, s) in [-1, 1], the copies and what they copy. copied: (b, layers, w_dim) their codes.
    """
    remembered = cast(Remembered, state.networks["remembered"])
    remembered.add(copied[:, 0].detach())
    found = {"pixel": F.l1_loss(made, images), "delta": offset_norms(copied, copied.shape[1])}
    if "perceptual" in state.frozen:
        found["perceptual"] = perceptual_of(state)(made / 2 + 0.5, images / 2 + 0.5)
    found["latent"] = latent_distance(generator_of(state.networks).mapping, remembered.codes)
    return found


def latent_distance(mapping: MappingNetwork, codes: Tensor) -> Tensor:
    """() sliced Wasserstein distance (Bonneel et al. 2015), squared, between random w and codes (n, w_dim)."""
    with full_precision(codes):
        drawn = mapping(torch.randn(len(codes), mapping.z_dim, device=codes.device))
        lines = F.normalize(torch.randn(codes.shape[1], SLICES, device=codes.device), dim=0)
        ours, theirs = ((x @ lines).sort(0).values for x in (drawn, codes))
        return (ours - theirs).square().mean()


@torch.no_grad()
def copies(modules: nn.ModuleDict, images: Tensor, synthesis: nn.Module) -> Tensor:
    """(b, 3, s, s) uint8 pictures to their copies in [0, 1]."""
    return synthesis(encoder_of(modules)(as_input(images)).float()).float() / 2 + 0.5
