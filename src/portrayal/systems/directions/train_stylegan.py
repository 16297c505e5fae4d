"""The stage `stylegan` (Sec. 3.1): StyleGAN2 on framed faces, from nothing or from the weights of another data set.

The training of StyleGAN2 (Karras et al. 2020 a) with adaptive discriminator augmentation (ADA, Karras et al. 2020 b).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from portrayal.errors import InputError
from portrayal.evaluate.distances import frechet_distance, kernel_distance
from portrayal.evaluate.networks import Networks
from portrayal.media.image import to_uint8
from portrayal.nn.ada import adjust_probability, augment
from portrayal.nn.gan_losses import (
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)
from portrayal.nn.pretrained import development_weights
from portrayal.nn.stylegan2 import Generator, draw_crossovers, mix_styles
from portrayal.nn.stylegan2_discriminator import Discriminator
from portrayal.nn.stylegan2_layers import full_precision
from portrayal.systems.directions import autoencoding
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.faces import FramedFaces, as_input, first_faces, held_out
from portrayal.systems.directions.parts import (
    build_discriminator,
    build_generator,
    generator_of,
    load_parts,
    save_parts,
)
from portrayal.train.schedule import Schedule
from portrayal.train.stage import Batch, Stage
from portrayal.train.state import Gradients, TrainState

BETA2 = 0.99
"""Of Adam (StyleGAN2, appendix B)."""
SHEET = (4, 6)
"""Rows and columns of the preview."""
GENERATED_AT_ONCE = 16
SEED = 0
"""Of the pictures that previews show and `validate` measures."""


class Progress(nn.Module):
    """What the regularisations know from the steps before; buffers, so that checkpoints hold it."""

    probability: Tensor
    """() ADA's p."""
    signs: Tensor
    """() sum of the signs of the real pictures' logits since p was last changed, and"""
    pictures: Tensor
    """() of how many pictures; both as means over the processes."""
    path_length: Tensor
    """() the running mean a of the path lengths."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("probability", "signs", "pictures", "path_length"):
            self.register_buffer(name, torch.zeros(()))


def networks(config: Config) -> dict[str, nn.Module]:
    return {
        "generator": build_generator(config),
        "discriminator": build_discriminator(config),
        "progress": Progress(),
        **autoencoding.networks(config),
    }


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    """Adam (StyleGAN2, appendix B).

    Differs: there the optimizer takes a step of its own for a regularisation, and is slowed down to make up for the
    additional steps. Here the gradients of the loss and of the regularisation make one step.
    """
    rate, betas = config.learning_rate, (config.gan.beta1, BETA2)
    generator = generator_of(modules)
    groups: list[dict[str, Any]] = [
        {"params": generator.synthesis.parameters()},
        {"params": generator.mapping.parameters(), "lr": rate * autoencoding.mapping_factor(config)},
    ]
    chosen: dict[str, torch.optim.Optimizer] = {
        "generator": torch.optim.Adam(groups, lr=rate, betas=betas),
        "discriminator": torch.optim.Adam(modules["discriminator"].parameters(), lr=rate, betas=betas),
    }
    return chosen | autoencoding.optimizers(modules, config)


def schedule(_: Config) -> Schedule:
    """Constant, as in StyleGAN2."""
    return Schedule("constant", warmup_steps=0)


def dataset(root: Path, config: Config, seed: int, samples: int) -> Dataset[Batch]:
    return FramedFaces(root, "train", config, seed=seed, samples=samples)


def train_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    """One step of the discriminator, then one of the generator; each with its regularisation when that is due.

    Returns:
        discriminator, generator, probability (ADA's p), signs (r_t); on their steps r1, path_length and path_penalty;
        with an encoder that learns along the terms of `autoencoding.terms`.
    """
    real, progress = as_input(batch["image"]), progress_of(state.networks)
    terms = discriminator_step(state, real, config) if judged(state, config) else {}
    terms |= generator_step(state, real, config, landmarks=batch.get("landmarks"))
    if progress.pictures and state.gradients.complete and (state.step + 1) % config.gan.adjust_interval == 0:
        adjust(progress, state.gradients, config)
    return {name: term.detach() for name, term in terms.items()} | {"probability": progress.probability.clone()}


def judged(state: TrainState, config: Config) -> bool:
    """Whether the discriminator has begun."""
    return not autoencoding.is_on(config) or state.step >= config.autoencoding.alone_steps


def discriminator_step(state: TrainState, real: Tensor, config: Config) -> dict[str, Tensor]:
    generator, discriminator = generator_of(state.networks), discriminator_of(state.networks)
    progress, p = progress_of(state.networks), float(progress_of(state.networks).probability)
    with state.only("discriminator"):
        with torch.no_grad():
            drawn = draw_styles(generator, drawn_count(len(real), config), config)
            copied = autoencoding.codes(state, real[len(drawn) :]) if autoencoding.is_on(config) else drawn[:0]
            fake = generator.synthesis(torch.cat([drawn, copied]), noise="random")
        logits = discriminator(augmented(real, p))
        loss = discriminator_loss(logits, discriminator(augmented(fake, p)))
        state.backward(loss)
        signs = logits.detach().sign()
        progress.signs += mean_of_processes(signs.sum(), state.gradients)
        progress.pictures += len(signs)
        terms = {"discriminator": loss, "signs": signs.mean()}
        if state.step % config.gan.r1_interval == 0:
            terms["r1"] = r1(discriminator, augmented(real, p))
            state.backward(terms["r1"] * (config.gan.r1 / 2 * config.gan.r1_interval))
        state.step_optimizer("discriminator")
    return terms


def drawn_count(batch: int, config: Config) -> int:
    """How many of the pictures that are judged are random ones; the others are copies."""
    return (batch + 1) // 2 if autoencoding.is_on(config) else batch


def generator_step(
    state: TrainState, real: Tensor, config: Config, *, landmarks: Tensor | None = None
) -> dict[str, Tensor]:
    """`landmarks`: (b, 478, 3) pixels of the true pictures; needed where the encoder learns along."""
    generator, discriminator = generator_of(state.networks), discriminator_of(state.networks)
    progress, gan, copying = progress_of(state.networks), config.gan, autoencoding.is_on(config)
    learning = ("generator", "encoder") if copying else ("generator",)
    with state.only(*learning):
        drawn = draw_styles(generator, drawn_count(len(real), config), config, follow=True)
        copied = autoencoding.codes(state, real) if copying else drawn[:0]
        # Random pictures are for the discriminator alone.
        made = generator.synthesis(torch.cat([drawn, copied]) if judged(state, config) else copied, noise="random")
        terms, loss = {}, made.new_zeros(())
        if judged(state, config):
            seen = augmented(made[: len(real)], float(progress.probability))
            loss = terms["generator"] = generator_loss(discriminator(seen))
        if copying:
            assert landmarks is not None
            own = autoencoding.terms(state, made[-len(real) :], real, copied, landmarks, config)
            loss = loss + torch.stack([getattr(config.autoencoding, name) * term for name, term in own.items()]).sum()
            terms |= own
        state.backward(loss)
        if gan.path_length and judged(state, config) and state.step % gan.path_interval == 0:
            lengths = measured_paths(generator, max(len(real) // gan.path_shrink, 1), config)
            penalty, mean = path_length_penalty(lengths, progress.path_length)
            progress.path_length.copy_(mean_of_processes(mean, state.gradients))
            state.backward(penalty * (gan.path_length * gan.path_interval))
            terms |= {"path_length": lengths.mean(), "path_penalty": penalty}
        for name in learning:
            state.step_optimizer(name)
    return terms


def augmented(images: Tensor, p: float) -> Tensor:
    """ADA's changes; places need more digits than half precision has."""
    with full_precision(images):
        return augment(images.float(), p)


def draw_styles(generator: Generator, count: int, config: Config, *, follow: bool = False) -> Tensor:
    """(count, layers, w_dim) of random z, two of them mixed in most pictures; `follow`: move the mean w."""
    device = generator.mapping.w_mean.device
    with full_precision(generator.mapping.w_mean):
        w, other = generator.mapping(torch.randn(2 * count, generator.mapping.z_dim, device=device)).chunk(2)
    if follow:
        generator.mapping.follow_mean(w)
    at = draw_crossovers(count, generator.synthesis.layers, probability=config.gan.style_mixing).to(device)
    return mix_styles(generator.broadcast(w), generator.broadcast(other), at)


def r1(discriminator: Discriminator, seen: Tensor) -> Tensor:
    """R1 at the pictures that the discriminator sees.

    Differs: ADA differentiates through the augmentation as well; its resampling has no second derivative in torch.
    """
    seen = seen.detach().requires_grad_()
    with full_precision(seen):  # a slope of slopes
        return r1_penalty(discriminator(seen), seen)


def measured_paths(generator: Generator, count: int, config: Config) -> Tensor:
    """(count,) path lengths of fresh pictures."""
    ws = draw_styles(generator, count, config)
    with full_precision(ws):
        return path_lengths(generator.synthesis(ws, noise="random"), ws)


@torch.no_grad()
def adjust(progress: Progress, how: Gradients, config: Config) -> None:
    """The next p of ADA, from the signs of all processes since the last one."""
    signs, pictures = float(progress.signs / progress.pictures), int(progress.pictures) * how.processes
    p = adjust_probability(float(progress.probability), signs, pictures, target=config.gan.target, span=config.gan.span)
    progress.probability.fill_(p)
    progress.signs.zero_()
    progress.pictures.zero_()


def mean_of_processes(value: Tensor, how: Gradients) -> Tensor:
    """() the mean of a number over all processes."""
    if how.processes == 1:
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value / how.processes


@torch.no_grad()
def preview(state: TrainState, batch: Batch, config: Config) -> NDArray[np.uint8]:
    """Pictures of the averaged generator, of the same z every time; below them true pictures and their copies."""
    rows, columns = SHEET
    generator = generator_of(state.averaged)
    pictures = torch.cat(generated(generator, rows * columns))
    if autoencoding.is_on(config):
        images = batch["image"][torch.arange(columns) % len(batch["image"])]
        pictures = torch.cat([pictures, images / 255, autoencoding.copies(state.averaged, images, generator.synthesis)])
        rows += 2
    grid = pictures.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
    return to_uint8(grid[None])[0]


def preview_batch(root: Path, config: Config) -> Batch:
    return held_out(root, config, SHEET[1])


def generated(generator: Generator, count: int) -> list[Tensor]:
    """`count` pictures (., 3, s, s) in [0, 1] of fixed z, in parts."""
    w_mean = generator.mapping.w_mean
    z = torch.randn(count, generator.mapping.z_dim, generator=torch.Generator().manual_seed(SEED)).to(w_mean.device)
    return [(generator(part) / 2 + 0.5).clamp(0, 1) for part in z.split(GENERATED_AT_ONCE)]


@torch.no_grad()
def validate(state: TrainState, config: Config, root: Path) -> dict[str, float]:
    """FID and KID between pictures of the averaged generator and of the training half, as GAN papers report them.

    On features of the embedded tracker, and of MobileFaceNet where its weights are there: `fid_tracker`, `kid_tracker`
    and so on. They are no Inception features: to be compared with each other only.
    """
    generator, count = generator_of(state.averaged), config.gan.measured_pictures
    device, numbers = generator.mapping.w_mean.device, {}
    made = generated(generator, count)
    for name, features in feature_networks(str(device)).items():
        parts = real_pictures(root, config, count).split(GENERATED_AT_ONCE)
        with full_precision(generator.mapping.w_mean):  # distances of features must not depend on how one trains
            real = torch.cat([features(part.to(device).float() / 255) for part in parts]).double().cpu()
            fake = torch.cat([features(part) for part in made]).double().cpu()
        moments = (fake.mean(0), fake.mT.cov(), real.mean(0), real.mT.cov())
        numbers[f"fid_{name}"] = float(frechet_distance(*moments))
        numbers[f"kid_{name}"] = float(kernel_distance(fake, real))
    return numbers


@lru_cache(maxsize=2)
def feature_networks(device: str) -> dict[str, nn.Module]:
    """Pictures (b, 3, h, w) in [0, 1] to (b, c): the embedded tracker; MobileFaceNet where its weights are named."""
    known = Networks(device)
    chosen = {"tracker": known.tracker_features[0]}
    if development_weights() is not None:
        chosen["mobilefacenet"] = known.mobilefacenet_features[0]
    return chosen


def real_pictures(root: Path, config: Config, count: int) -> Tensor:
    """(n, 3, s, s) uint8."""
    pictures = first_faces(root, "train", config, count)["image"]
    if len(pictures) < 2:
        raise InputError(f"{root}: FID needs at least two training pictures that can be read")
    return pictures


def save_weights(path: Path, state: TrainState, config: Config, metadata: dict[str, str]) -> None:
    """The averaged generator, an encoder that learned along, and the averaged discriminator for whoever trains on."""
    encoder = ("encoder",) if autoencoding.is_on(config) else ()
    save_parts(path, state, ("generator", "discriminator", *encoder), metadata, stage="stylegan")


def load_weights(path: Path, state: TrainState) -> None:
    """Start from a weights file; a discriminator or encoder that is not in it starts anew.

    Raises:
        InputError: as `load_parts`.
    """
    load_parts(
        path,
        state,
        needed=("generator",),
        optional=[name for name in ("discriminator", "encoder") if name in state.networks],
    )


def discriminator_of(modules: nn.ModuleDict) -> Discriminator:
    return cast(Discriminator, modules["discriminator"])


def progress_of(modules: nn.ModuleDict) -> Progress:
    return cast(Progress, modules["progress"])


STAGE = Stage(
    configure=lambda config: config.of_stage("stylegan"),
    networks=networks,
    optimizers=optimizers,
    dataset=dataset,
    collate=default_collate,
    train_step=train_step,
    preview=preview,
    save_weights=save_weights,
    load_weights=load_weights,
    frozen=autoencoding.frozen,
    schedule=schedule,
    preview_batch=preview_batch,
    validate=validate,
    criterion="fid_tracker",
)
