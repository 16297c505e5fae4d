"""The stages `reconstruction` and `adversarial` (Sec. 3.4): a driving frame from another frame of the same clip.

`train export3d reconstruction --init` takes the weights file of the stage `clebs`, `adversarial --init` that of
`reconstruction`. CLeBS is trained no further (Sec. 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, default_collate

from portrayal.data.clip_frames import ClipFrames
from portrayal.data.clips import Split
from portrayal.data.held_out import held_out_samples
from portrayal.errors import InputError
from portrayal.media.image import to_uint8
from portrayal.nn.gan_losses import discriminator_loss, generator_loss
from portrayal.nn.rendering.head import feature_mask
from portrayal.nn.stylegan2_discriminator import Discriminator
from portrayal.systems.export3d import losses
from portrayal.systems.export3d.config import Config
from portrayal.systems.export3d.detail import SourceView
from portrayal.systems.export3d.flow import Look
from portrayal.systems.export3d.model import Export3d
from portrayal.systems.export3d.renderer import View
from portrayal.train.initial import fill_network, save_network
from portrayal.train.stage import Batch, Stage
from portrayal.train.state import TrainState

CLIP = 10.0
"""Largest norm of the gradient of each optimizer: a guard against single bad batches."""
PREVIEWED, VALIDATED = 4, 16
"""Pairs of the preview, and of `validate`."""
CAMERA_SIZE = 25


@dataclass(frozen=True)
class Pair:
    """Two frames of each clip of a batch."""

    source: Tensor
    """(b, 3, H, W) in [0, 1]."""
    driving: Tensor
    """(b, 3, H, W) in [0, 1]: what is to be reconstructed."""
    expression: Tensor
    """(b, 64), of the driving frame, as all that follows."""
    gaze: Tensor
    """(b, 2, 2) radians."""
    camera: Tensor
    """(b, 25)."""
    view: SourceView
    """The source with its camera and its face."""
    landmarks: Tensor
    """(b, 2, 478, 2) of source and driving frame, in sides of the picture."""

    @classmethod
    def of(cls, batch: Batch) -> Pair:
        """A batch of `data.clip_frames.ClipFrames` with two frames per clip."""
        pictures, camera = batch["pictures"].float() / 255, batch["camera"]
        expression, gaze = batch["expression"][:, 1], batch["gaze"][:, 1]
        look = Look(batch["expression"][:, 0], batch["gaze"][:, 0])
        view = SourceView(pictures[:, 0], camera[:, 0], batch["shape"][:, 0], look)
        return cls(pictures[:, 0], pictures[:, 1], expression, gaze, camera[:, 1], view, batch["landmarks"])


def networks(config: Config) -> dict[str, nn.Module]:
    return {"model": Export3d(config)}


def adversarial_networks(config: Config) -> dict[str, nn.Module]:
    base, most = config.discriminator
    discriminator = Discriminator(config.image_size, label_dim=CAMERA_SIZE, channel_base=base, channel_max=most)
    return networks(config) | {"discriminator": discriminator}


def frozen(config: Config) -> dict[str, nn.Module]:
    """
    Raises:
        InputError: weights of the perceptual network are missing.
    """
    network = losses.load_perceptual(config.loss.perceptual_network)
    return {} if network is None else {"perceptual": network}


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    """Adam for generator and renderer, and one for the discriminator where there is one (4.2)."""
    model = model_of(modules)
    model.expression_encoder.requires_grad_(config.clebs.encoding == "end-to-end")
    trained = [p for p in model.parameters() if p.requires_grad]
    chosen: dict[str, torch.optim.Optimizer] = {
        "model": torch.optim.Adam(trained, lr=config.learning_rate, betas=config.betas)
    }
    if "discriminator" in modules:
        chosen["discriminator"] = torch.optim.Adam(
            modules["discriminator"].parameters(), lr=config.discriminator_learning_rate, betas=config.betas
        )
    return chosen


def dataset(root: Path, config: Config, seed: int, samples: int) -> Dataset[Batch]:
    return ClipFrames(
        root,
        "train",
        size=config.image_size,
        seed=seed,
        samples=samples,
        count=2,
        mirror=config.mirror,
        colour=config.colour,
        photo_share=config.photo_share,
    )


def reconstruction_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    """One step of equation 11."""
    check_encoder(state, config)
    pair = Pair.of(batch)
    view, planes = reconstruct(model_of(state.networks), pair)
    terms = reconstruction_terms(state, view, pair, config)
    state.backward(weighted(terms, config))
    state.step_optimizer("model", clip=CLIP)
    follow(state, planes, pair)
    return {name: term.detach() for name, term in terms.items()} | {"psnr": psnr(view, pair).mean()}


def adversarial_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    """One step of equation 12, then one of the discriminator; binary cross-entropy of real and generated."""
    check_model(state)
    pair = Pair.of(batch)
    discriminator = state.networks["discriminator"]
    with state.only("model"):
        view, planes = reconstruct(model_of(state.networks), pair)
        terms = reconstruction_terms(state, view, pair, config)
        terms["adversarial"] = generator_loss(discriminator(2 * view.picture - 1, pair.camera))
        state.backward(weighted(terms, config))
        state.step_optimizer("model", clip=CLIP)
    follow(state, planes, pair)
    with state.only("discriminator"):
        logits = (discriminator(2 * x - 1, pair.camera) for x in (pair.driving, view.picture.detach()))
        terms["discriminator"] = discriminator_loss(*logits)
        state.backward(terms["discriminator"])
        state.step_optimizer("discriminator", clip=CLIP)
    return {name: term.detach() for name, term in terms.items()} | {"psnr": psnr(view, pair).mean()}


def reconstruction_terms(state: TrainState, view: View, pair: Pair, config: Config) -> dict[str, Tensor]:
    """Of `losses`, as far as the configuration has them."""
    weights, features = config.loss, None
    if weights.features or weights.made:
        features = feature_mask(pair.camera, side=config.image_size)
    terms = losses.reconstruction_terms(
        view, pair.driving, perceptual_of(state), features=features if weights.features else None
    )
    if view.fetched is not None and weights.made:
        assert features is not None
        terms["made"] = losses.made_term(view.fetched, pair.driving, features)
    if view.fetched is not None and weights.landmarks:
        source, driving = pair.landmarks.unbind(1)
        terms["landmarks"] = losses.landmark_term(view.fetched, driving, source)
    return terms


def reconstruct(model: Export3d, pair: Pair) -> tuple[View, Tensor]:
    """As `Export3d.forward`."""
    return model(pair.source, pair.expression, pair.camera, gaze=pair.gaze, view=pair.view)


def weighted(terms: dict[str, Tensor], config: Config) -> Tensor:
    """L_total (equation 12) of the unweighted terms."""
    weights = config.loss
    total = torch.stack([getattr(weights, name) * term for name, term in terms.items() if name != "adversarial"]).sum()
    total = weights.reconstruction * total
    return total + weights.adversarial * terms["adversarial"] if "adversarial" in terms else total


def follow(state: TrainState, planes: Tensor, pair: Pair) -> None:
    """T_EMA takes one step for each of the optimizer's; with --accumulate it sees the last part of the batch. So does
    what the model remembers of its training data."""
    if not state.gradients.complete or state.gradients.dry:
        return
    model = model_of(state.networks)
    model.generator.follow(planes)
    encoder = model.expression_encoder
    with torch.no_grad(), torch.autocast(planes.device.type, enabled=False):
        coefficients = encoder.coefficients(pair.expression, pair.gaze if encoder.gaze else None)
        model.seen.add(pair.expression, coefficients, pair.camera)


def check_encoder(state: TrainState, config: Config) -> None:
    """
    Raises:
        InputError: CLeBS is to be trained before, and is not.
    """
    if (
        config.clebs.encoding == "pretrained"
        and state.step == 0
        and not bool(model_of(state.networks).expression_encoder.pretrained)
    ):
        raise InputError(
            "the stage reconstruction needs a trained expression encoder: give the weights file of the stage clebs "
            "with --init"
        )


def check_model(state: TrainState) -> None:
    """
    Raises:
        InputError: the generator is not trained.
    """
    if state.step == 0 and not bool(model_of(state.networks).generator.mean_planes.any()):
        raise InputError(
            "the stage adversarial needs a trained generator: give the weights file of the stage reconstruction "
            "with --init"
        )


def model_of(modules: nn.ModuleDict) -> Export3d:
    return cast(Export3d, modules["model"])


def perceptual_of(state: TrainState) -> nn.Module | None:
    return dict(state.frozen.items()).get("perceptual")


@torch.no_grad()
def psnr(view: View, pair: Pair) -> Tensor:
    """(b,) dB."""
    error = (view.picture.float().clamp(0, 1) - pair.driving).square().mean((1, 2, 3))
    return -10 * error.clamp_min(1e-10).log10()


@torch.no_grad()
def preview(state: TrainState, batch: Batch, config: Config) -> NDArray[np.uint8]:
    """Rows: source, driving, result of the averaged model, its raw picture, its depth (nearest is white)."""
    pair = Pair.of({name: value[:PREVIEWED] for name, value in batch.items()})
    view, _ = reconstruct(model_of(state.averaged), pair)
    near, far = view.depth.amin((1, 2), keepdim=True), view.depth.amax((1, 2), keepdim=True)
    depth = ((far - view.depth) / (far - near).clamp_min(1e-6))[:, None].expand(-1, 3, -1, -1)
    small = (F.interpolate(x.float(), size=pair.source.shape[-2:]) for x in (view.raw, depth))
    rows = [torch.cat(list(row.float()), -1) for row in (pair.source, pair.driving, view.picture, *small)]
    return to_uint8(torch.cat(rows, -2)[None])[0]


def preview_batch(root: Path, config: Config) -> Batch:
    return held_out(root, config, PREVIEWED)


@torch.no_grad()
def validate(state: TrainState, config: Config, root: Path) -> dict[str, float]:
    """PSNR in dB and mean absolute difference (`loss`) of held-out pairs, by the averaged model."""
    model = model_of(state.averaged)
    device = model.generator.mean_planes.device
    absolute, decibels = [], []
    pairs = held_out(root, config, VALIDATED)
    for start in range(0, VALIDATED, PREVIEWED):
        pair = Pair.of({name: value[start : start + PREVIEWED].to(device) for name, value in pairs.items()})
        view, _ = reconstruct(model, pair)
        absolute.append((view.picture.float().clamp(0, 1) - pair.driving).abs().mean())
        decibels.append(psnr(view, pair))
    return {"loss": float(torch.stack(absolute).mean()), "psnr": float(torch.cat(decibels).mean())}


@lru_cache(maxsize=4)
def held_out(root: Path, config: Config, count: int) -> Batch:
    """The first `count` validation pairs; of a folder without validation clips, training pairs."""

    def read(split: Split) -> ClipFrames:
        return ClipFrames(root, split, size=config.image_size, seed=0, samples=count, count=2)

    return default_collate(held_out_samples(read, count))


def save_weights(path: Path, state: TrainState, config: Config, metadata: dict[str, str]) -> None:
    """The model with its mean tri-plane, without the discriminator."""
    stage = "adversarial" if "discriminator" in state.networks else "reconstruction"
    save_network(path, state.averaged["model"], metadata, system="export3d", stage=stage)


def load_weights(path: Path, state: TrainState) -> None:
    """Start from a file of the stage clebs (its expression encoder), or of a whole model; a discriminator starts anew.

    Raises:
        InputError: the file is of another layout; names the first tensor that does not fit.
    """
    tensors = load_file(path)
    encoder = {name.removeprefix("expression."): x for name, x in tensors.items() if name.startswith("expression.")}
    models = [model_of(modules) for modules in (state.networks, state.averaged)]
    parts = [model.expression_encoder if encoder else model for model in models]
    fill_network(parts, encoder or tensors, path=path, preset="this preset of export3d")


RECONSTRUCTION = Stage(
    networks=networks,
    optimizers=optimizers,
    dataset=dataset,
    collate=default_collate,
    train_step=reconstruction_step,
    preview=preview,
    save_weights=save_weights,
    load_weights=load_weights,
    frozen=frozen,
    schedule=lambda config: config.schedule,
    preview_batch=preview_batch,
    validate=validate,
)
ADVERSARIAL = replace(
    RECONSTRUCTION,
    configure=lambda config: replace(config, steps=config.adversarial_steps),
    networks=adversarial_networks,
    train_step=adversarial_step,
)
