"""The stage `vae` (Sec. 3.3, Fig. 4): the latent space of the expressions that a trained model sees in clips.

With the light renderer, whose features are read from landmarks, no picture is needed: see `guided.expression_change`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from portrayal.data.expressions import Expressions
from portrayal.errors import InputError
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.media.image import to_uint8
from portrayal.nn.precision import in_float32
from portrayal.systems.mmfa.animate import build, encode_source, render
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.guided import GuidedMmfa
from portrayal.systems.mmfa.keypoints import Motion
from portrayal.systems.mmfa.latent import sample_expressions
from portrayal.systems.mmfa.model import Mmfa
from portrayal.systems.mmfa.train import PREVIEWED, Face, load_weights, preview_batch, save_model, schedule
from portrayal.systems.mmfa.train import dataset as pairs
from portrayal.systems.mmfa.vae import ExpressionDiscriminator, ExpressionVae, discriminator_loss, vae_losses
from portrayal.train.stage import Batch, Stage
from portrayal.train.state import TrainState
from portrayal.types import Portrait

INTERPOLATED = 5
"""Pictures between source and driving expression in the preview."""
FACES_PER_SAMPLE = 16
"""Expressions in a sample without pictures: a batch of a few would teach little and cost as much."""


def networks(config: Config) -> dict[str, nn.Module]:
    """
    Raises:
        InputError: equation 3 has no expression feature.
    """
    model = build(config)
    model.requires_grad_(False)
    latent_space(model).requires_grad_(True)
    feature, hidden = config.expression.feature, config.vae.hidden
    return {"model": model, "discriminator": ExpressionDiscriminator(features=feature, hidden=hidden)}


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    return {
        name: torch.optim.Adam(
            [p for p in module.parameters() if p.requires_grad], lr=config.vae.learning_rate, betas=config.betas
        )
        for name, module in modules.items()
    }


def dataset(root: Path, config: Config, seed: int, samples: int) -> Dataset[Batch]:
    """The pairs of the main stage, both pictures of which have an expression; or expressions without pictures."""
    if config.renderer == "light":
        share = config.light_training.photo_share
        return Expressions(root, "train", seed=seed, samples=samples, faces=FACES_PER_SAMPLE, photo_share=share)
    return pairs(root, config, seed, samples)


def train_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    """One step of E_f and G_f, then one of the discriminator (equation 13).

    Raises:
        InputError: the main model has not learned anything yet.
    """
    model, weights = model_of(state.networks), config.vae
    discriminator = cast(ExpressionDiscriminator, state.networks["discriminator"])
    feature, vae = expression_features(model, batch), latent_space(model)
    vae.follow(feature)
    noise = torch.randn(len(feature), weights.latent, device=feature.device)
    with state.only("model"):
        terms, rebuilt = vae_losses(vae, discriminator, feature, noise)
        state.backward(torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum())
        state.step_optimizer("model")
    with state.only("discriminator"):
        terms["discriminator"] = discriminator_loss(discriminator, vae.normalise(feature), rebuilt)
        state.backward(terms["discriminator"])
        state.step_optimizer("discriminator")
    return {name: term.detach() for name, term in terms.items()}


def model_of(networks: nn.ModuleDict) -> Mmfa | GuidedMmfa:
    return cast(Mmfa | GuidedMmfa, networks["model"])


def latent_space(model: Mmfa | GuidedMmfa) -> ExpressionVae:
    """
    Raises:
        InputError: the model has none, because equation 3 has no expression feature.
    """
    if model.vae is None:
        raise InputError("the stage vae needs an expression feature: decomposition must be mmfa, not face-vid2vid")
    return model.vae


@torch.no_grad()
def expression_features(model: Mmfa | GuidedMmfa, batch: Batch) -> Tensor:
    """f_delta of both pictures of each pair, (2 b, 256), by the frozen encoder; or of each expression's part of it."""
    encoder, decoder = model.expression_encoder, model.expression_decoder
    assert encoder is not None  # with a latent space there is one
    assert decoder is not None
    if not any(bool(mean.any()) for name, mean in decoder.named_buffers() if name.endswith("running_mean")):
        raise InputError("the stage vae needs a trained main model: give its weights file with --init")
    if isinstance(model, GuidedMmfa):
        return model.expression_change(batch["expression"].flatten(0, 1)).float()
    images = torch.cat([batch["source"], batch["driving"]]).float() / 255
    return encoder.eval()(images).float()


@torch.no_grad()
def preview(state: TrainState, batch: Batch, config: Config) -> NDArray[np.uint8]:
    """Rows as in Fig. 8: the driving picture, then the source in its pose with expressions from z_S to z_D. With the
    light renderer: a portrait, then it with expressions of z ~ N(0, I)."""
    shown = {name: value[:PREVIEWED] for name, value in batch.items()}
    model = model_of(state.averaged)
    if isinstance(model, GuidedMmfa):
        return _sampled(model, Face.of(shown, "source"))
    source, driving = Face.of(shown, "source"), Face.of(shown, "driving")
    vae = latent_space(model)
    canonical, volume = model.canonical(source.image), model.appearance(source.image)
    still, moved = model.motion(source.image, source.pose), model.motion(driving.image, driving.pose)
    start = model.keypoints(canonical, still)
    weights = torch.linspace(0, 1, INTERPOLATED, device=canonical.device)
    ways = [
        vae.interpolate(a.float(), b.float(), weights) for a, b in zip(still.expression, moved.expression, strict=True)
    ]
    columns = [driving.image]
    for expression in torch.stack(ways, 1):
        end = model.keypoints(canonical, Motion(moved.pose, expression))
        columns.append(model.generate(volume, start, end, still.pose, moved.pose).picture.float())
    return to_uint8(torch.cat([torch.cat(list(column), -2) for column in columns], -1)[None])[0]


@in_float32
def _rows(images: Tensor, landmarks: Tensor, model: GuidedMmfa) -> list[Tensor]:
    """For each face it and `INTERPOLATED` random expressions, (1 + n, 3, s, s)."""
    side, rows = images.shape[-1], []
    face_model = load_face_model(images.device.type)
    for image, points in zip(images.split(1), landmarks.split(1), strict=True):
        params = fit_params(face_model, points, width=side, height=side)
        source = encode_source(model, Portrait(image, params))
        drawn = sample_expressions(model, source, INTERPOLATED, torch.Generator().manual_seed(0))
        rows.append(torch.cat([image, *render(model, source, drawn)]))
    return rows


def _sampled(model: GuidedMmfa, faces: Face) -> NDArray[np.uint8]:
    rows = _rows(faces.image, faces.landmarks, model)
    return to_uint8(torch.cat([torch.cat(list(row), -1) for row in rows], -2)[None])[0]


def save_weights(path: Path, state: TrainState, config: Config, metadata: dict[str, str]) -> None:
    """The whole model: the latent space is part of it."""
    save_model(path, state.averaged["model"], metadata, stage="vae")


def configure(config: Config) -> Config:
    """Shorter with the light renderer, where a batch has many more expressions."""
    return replace(config, steps=min(config.steps, 3000)) if config.renderer == "light" else config


STAGE = Stage(
    configure=configure,
    networks=networks,
    optimizers=optimizers,
    dataset=dataset,
    collate=default_collate,
    train_step=train_step,
    preview=preview,
    save_weights=save_weights,
    load_weights=load_weights,
    schedule=schedule,
    preview_batch=preview_batch,
)
