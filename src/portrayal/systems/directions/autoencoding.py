"""The encoder trained along with the generator (AE-StyleGAN, Han et al. 2021), as `Config.autoencoding` asks for it.

The generator copies true pictures through the encoder while the discriminator judges its own pictures and these copies.
The mapping network learns to give codes like the encoder's, so that random pictures are drawn from the same space that
pictures are inverted to.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.gan_losses import discriminator_loss, generator_loss
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.faces import as_input
from portrayal.systems.directions.features import load_perceptual, perceptual_of
from portrayal.systems.directions.parts import (
    LatentDiscriminator,
    build_encoder,
    encoder_of,
    latent_discriminator_of,
    offset_norms,
)
from portrayal.train.state import TrainState


def is_on(config: Config) -> bool:
    return config.autoencoding.pixel > 0


def networks(config: Config) -> dict[str, nn.Module]:
    """What the stage trains beside generator and discriminator."""
    if not is_on(config):
        return {}
    return {"encoder": build_encoder(config), "latent_discriminator": LatentDiscriminator(config.generator.w_dim)}


def frozen(config: Config) -> dict[str, nn.Module]:
    """The network of the perceptual loss, where that has a weight. Raises as `load_perceptual`."""
    chosen = config.autoencoding
    if not (is_on(config) and chosen.perceptual):
        return {}
    return {"perceptual": load_perceptual(chosen.perceptual_network, config.image_size)}


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    """Adam, with the moments that are usual where there is no opponent."""
    rate = config.autoencoding.encoder_rate
    return {name: torch.optim.Adam(modules[name].parameters(), lr=rate) for name in networks(config)}


def codes(state: TrainState, images: Tensor) -> Tensor:
    """(b, 3, s, s) in [-1, 1] to w+ (b, layers, w_dim) by the encoder that learns."""
    return encoder_of(state.networks)(images).float()


def terms(state: TrainState, made: Tensor, images: Tensor, copied: Tensor, drawn: Tensor) -> dict[str, Tensor]:
    """What the copies and the random codes cost, unweighted; the weights are `Config.autoencoding`.

    Args:
        made, images: (b, 3, s, s) in [-1, 1], the copies and what they copy.
        copied: (b, layers, w_dim) their codes. drawn: (n, layers, w_dim) of random z.
    """
    found = {"pixel": F.l1_loss(made, images), "delta": offset_norms(copied, copied.shape[1])}
    if "perceptual" in state.frozen:
        found["perceptual"] = perceptual_of(state)(made / 2 + 0.5, images / 2 + 0.5)
    found["latent"] = generator_loss(latent_discriminator_of(state.networks)(drawn[:, 0]))
    return found


def latent_step(state: TrainState, copied: Tensor, drawn: Tensor) -> dict[str, Tensor]:
    """One step of the latent discriminator: w of pictures against w of the mapping network."""
    with state.only("latent_discriminator"):
        judge = latent_discriminator_of(state.networks)
        loss = discriminator_loss(judge(copied[:, 0].detach()), judge(drawn[:, 0].detach()))
        state.backward(loss)
        state.step_optimizer("latent_discriminator")
    return {"latent_discriminator": loss}


@torch.no_grad()
def copies(modules: nn.ModuleDict, images: Tensor, synthesis: nn.Module) -> Tensor:
    """(b, 3, s, s) uint8 pictures to their copies in [0, 1]."""
    return synthesis(encoder_of(modules)(as_input(images)).float()).float() / 2 + 0.5
