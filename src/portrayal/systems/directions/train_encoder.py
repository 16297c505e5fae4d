"""The stage `encoder` (Sec. 3.2, "Real image inversion"): e4e (Tov et al. 2021) for a generator that stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, default_collate

from portrayal.media.image import to_uint8
from portrayal.nn.arcface import identity_distance
from portrayal.nn.e4e import StyleHead
from portrayal.nn.gan_losses import discriminator_loss, generator_loss
from portrayal.nn.stylegan2_layers import EqualLinear, full_precision
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.faces import FramedFaces, as_input, held_out
from portrayal.systems.directions.features import identity_of, load_identity, load_perceptual, perceptual_of
from portrayal.systems.directions.parts import (
    build_encoder,
    build_generator,
    encoder_of,
    generator_of,
    load_parts,
    offset_norms,
    require_generator,
    save_parts,
)
from portrayal.train.schedule import Schedule
from portrayal.train.stage import Batch, Stage
from portrayal.train.state import TrainState

PREVIEWED, VALIDATED, AT_ONCE = 6, 32, 8
DISCRIMINATOR_LAYERS = 4


class LatentDiscriminator(nn.Module):
    """Codes w to how much they look like the mapping network's (e4e, section 4.2)."""

    def __init__(self, w_dim: int) -> None:
        super().__init__()
        hidden = (EqualLinear(w_dim, w_dim, active=True) for _ in range(DISCRIMINATOR_LAYERS))
        self.layers = nn.Sequential(*hidden, EqualLinear(w_dim, 1))

    def forward(self, w: Tensor) -> Tensor:
        """(n, w_dim) to (n,) logits."""
        return self.layers(w)[:, 0]


def networks(config: Config) -> dict[str, nn.Module]:
    return {
        "generator": build_generator(config).requires_grad_(False),
        "encoder": build_encoder(config),
        "latent_discriminator": LatentDiscriminator(config.generator.w_dim),
    }


def frozen(config: Config) -> dict[str, nn.Module]:
    """The networks of the losses that have a weight.

    Raises:
        InputError: the weights of one are not installed.
    """
    inversion, chosen = config.inversion, cast(dict[str, nn.Module], {})
    if inversion.perceptual:
        chosen["perceptual"] = load_perceptual(inversion.perceptual_network)
    if inversion.identity:
        chosen["identity"] = load_identity(inversion.identity_network)
    return chosen


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    """Adam. Differs: e4e trains its encoder with Ranger."""
    rates = {"encoder": config.learning_rate, "latent_discriminator": config.inversion.discriminator_rate}
    return {name: torch.optim.Adam(modules[name].parameters(), lr=rate) for name, rate in rates.items()}


def schedule(_: Config) -> Schedule:
    """Constant, as in e4e."""
    return Schedule("constant", warmup_steps=0)


def dataset(root: Path, config: Config, seed: int, samples: int) -> Dataset[Batch]:
    return FramedFaces(root, "train", config, seed=seed, samples=samples)


def open_layers(step: int, config: Config) -> int:
    """How many layers have an offset of their own after `step` steps, the first, w itself, included."""
    start, every = config.inversion.progressive_start, config.inversion.progressive_every
    if step < start:
        return 1
    return min(2 + (step - start) // every, config.layers) if every else config.layers


def train_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    """One step of the encoder, then one of the latent discriminator.

    Returns:
        pixel, perceptual, identity, delta, adversarial, as far as they have a weight; discriminator; on its steps r1.

    Raises:
        InputError: the generator has never learned anything.
    """
    generator, inversion = generator_of(state.networks), config.inversion
    require_generator(generator, "encoder")
    images, layers = as_input(batch["image"]), open_layers(state.step, config)
    with state.only("encoder"):
        w_plus = encoder_of(state.networks)(images, layers=layers).float()
        terms = picture_terms(state, generator.synthesis(w_plus), images, batch["landmarks"], config)
        terms["delta"] = offset_norms(w_plus, layers)
        if inversion.adversarial:
            terms["adversarial"] = generator_loss(discriminator_of(state)(codes_of(w_plus, layers)))
        state.backward(torch.stack([getattr(inversion, name) * term for name, term in terms.items()]).sum())
        state.step_optimizer("encoder")
    if inversion.adversarial:
        terms |= discriminator_step(state, codes_of(w_plus.detach(), layers), config)
    return {name: term.detach() for name, term in terms.items()}


def picture_terms(
    state: TrainState, made: Tensor, images: Tensor, landmarks: Tensor, config: Config
) -> dict[str, Tensor]:
    """L_dist of e4e: pixels, perception, identity.

    Args:
        made, images: (b, 3, s, s) in [-1, 1]. landmarks: (b, 478, 3) pixels of both.
    """
    inversion, terms = config.inversion, {"pixel": F.mse_loss(made, images)}
    ours, theirs = made / 2 + 0.5, images / 2 + 0.5
    if inversion.perceptual:
        terms["perceptual"] = perceptual_of(state)(ours, theirs)
    if inversion.identity:
        identity = identity_of(state)
        terms["identity"] = identity_distance(identity(ours, landmarks), identity(theirs, landmarks)).mean()
    return terms


def codes_of(w_plus: Tensor, layers: int) -> Tensor:
    """(b * layers, w_dim): every code that is open, on its own."""
    return w_plus[:, :layers].flatten(0, 1)


def discriminator_step(state: TrainState, fake: Tensor, config: Config) -> dict[str, Tensor]:
    """The latent discriminator learns to tell w of the mapping network from the encoder's, with R1."""
    mapping, inversion = generator_of(state.networks).mapping, config.inversion
    with torch.no_grad(), full_precision(fake):
        real = mapping(torch.randn(len(fake), mapping.z_dim, device=fake.device))
    with state.only("latent_discriminator"):
        discriminator = discriminator_of(state)
        terms = {"discriminator": discriminator_loss(discriminator(real), discriminator(fake))}
        loss = terms["discriminator"]
        if state.step % inversion.r1_interval == 0:
            terms["r1"] = code_r1(discriminator, real)
            loss = loss + terms["r1"] * (inversion.r1 / 2 * inversion.r1_interval)
        state.backward(loss)
        state.step_optimizer("latent_discriminator")
    return terms


def code_r1(discriminator: LatentDiscriminator, real: Tensor) -> Tensor:
    """() R1 at codes (n, w_dim)."""
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return slope.square().sum(1).mean()


@torch.no_grad()
def preview(state: TrainState, batch: Batch, config: Config) -> NDArray[np.uint8]:
    """Faces, and what the averaged encoder makes of them."""
    images = as_input(batch["image"][:PREVIEWED])
    made = invert(state.averaged, images, open_layers(state.step, config))
    rows = [torch.cat(list(part / 2 + 0.5), -1) for part in (images, made)]
    return to_uint8(torch.cat(rows, -2)[None])[0]


def preview_batch(root: Path, config: Config) -> Batch:
    return held_out(root, config, PREVIEWED)


@torch.no_grad()
def validate(state: TrainState, config: Config, root: Path) -> dict[str, float]:
    """Mean absolute difference in [0, 1] (`loss`), PSNR in dB and, where that network is used, identity similarity of
    held-out faces and their inversions by the averaged encoder."""
    batch, numbers = held_out(root, config, VALIDATED), cast(dict[str, list[Tensor]], {})
    device = generator_of(state.averaged).mapping.w_mean.device
    for start in range(0, len(batch["image"]), AT_ONCE):
        part = {name: value[start : start + AT_ONCE].to(device) for name, value in batch.items()}
        images = as_input(part["image"])
        ours = invert(state.averaged, images, open_layers(state.step, config)).clamp(-1, 1) / 2 + 0.5
        theirs = images / 2 + 0.5
        error = ours - theirs
        numbers.setdefault("loss", []).append(error.abs().mean((1, 2, 3)))
        numbers.setdefault("psnr", []).append(-10 * error.square().mean((1, 2, 3)).clamp_min(1e-10).log10())
        if "identity" in state.frozen:
            network, points = identity_of(state), part["landmarks"]
            numbers.setdefault("csim", []).append(1 - identity_distance(network(ours, points), network(theirs, points)))
    return {name: float(torch.cat(values).mean()) for name, values in numbers.items()}


def invert(modules: nn.ModuleDict, images: Tensor, layers: int) -> Tensor:
    """(b, 3, s, s) in [-1, 1], faces to the generator's pictures of them."""
    return generator_of(modules).synthesis(encoder_of(modules)(images, layers=layers).float()).float()


def save_weights(path: Path, state: TrainState, config: Config, metadata: dict[str, str]) -> None:
    save_parts(path, state, ("generator", "encoder"), metadata, stage="encoder")


def load_weights(path: Path, state: TrainState) -> None:
    """Start from the weights of the stage `stylegan`, or of this one.

    An encoder that starts anew gives the mean w (pSp): the bias of its first head is set to that.

    Raises:
        InputError: as `load_parts`.
    """
    if "encoder" in load_parts(path, state, needed=("generator",), optional=("encoder",)):
        return
    with torch.no_grad():
        for modules in (state.networks, state.averaged):
            mean = generator_of(modules).mapping.w_mean
            cast(StyleHead, encoder_of(modules).styles[0]).linear.bias.copy_(mean)


def discriminator_of(state: TrainState) -> LatentDiscriminator:
    return cast(LatentDiscriminator, state.networks["latent_discriminator"])


STAGE = Stage(
    configure=lambda config: config.of_stage("encoder"),
    networks=networks,
    optimizers=optimizers,
    dataset=dataset,
    collate=default_collate,
    train_step=train_step,
    preview=preview,
    save_weights=save_weights,
    load_weights=load_weights,
    frozen=frozen,
    schedule=schedule,
    preview_batch=preview_batch,
    validate=validate,
)
