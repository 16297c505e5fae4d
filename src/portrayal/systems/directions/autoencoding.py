"""The encoder trained along with the generator (AE-StyleGAN, Han et al. 2021), as `Config.autoencoding` asks for it.

The generator copies true pictures through the encoder while the discriminator judges its own pictures and these copies;
`nn.autoencoding` has what is not of this system alone.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from portrayal.face.expressive import expressive
from portrayal.nn.arcface import identity_distance
from portrayal.nn.autoencoding import Remembered, latent_distance
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.faces import as_input
from portrayal.systems.directions.features import identity_of, load_identity, load_perceptual, perceptual_of
from portrayal.systems.directions.parts import build_encoder, encoder_of, generator_of, offset_norms
from portrayal.train.state import TrainState


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
    """The networks of the perceptual and identity losses, where those have a weight. Raises as `load_perceptual`."""
    chosen, networks = config.autoencoding, cast(dict[str, nn.Module], {})
    if is_on(config) and chosen.perceptual:
        networks["perceptual"] = load_perceptual(chosen.perceptual_network)
    if is_on(config) and chosen.identity:
        networks["identity"] = load_identity(chosen.identity_network)
    return networks


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
    ours, theirs = made / 2 + 0.5, images / 2 + 0.5
    if "perceptual" in state.frozen:
        found["perceptual"] = perceptual_of(state)(ours, theirs)
    if "identity" in state.frozen:
        network = identity_of(state)
        found["identity"] = identity_distance(network(ours, landmarks), network(theirs, landmarks)).mean()
    found["latent"] = latent_distance(generator_of(state.networks).mapping, remembered.codes)
    return found


@torch.no_grad()
def copies(modules: nn.ModuleDict, images: Tensor, synthesis: nn.Module) -> Tensor:
    """(b, 3, s, s) uint8 pictures to their copies in [0, 1]."""
    return synthesis(encoder_of(modules)(as_input(images)).float()).float() / 2 + 0.5
