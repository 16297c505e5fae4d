"""The stage `clebs` (Sec. 3.1, Fig. 2): expression and image encoder learn to find each other's frame of a clip."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
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
from portrayal.media.image import to_uint8
from portrayal.nn.rendering.head import face_crop
from portrayal.systems.export3d.clebs import (
    ExpressionEncoder,
    ImageEncoder,
    contrastive_loss,
    retrieval_accuracy,
    similarities,
)
from portrayal.systems.export3d.config import Config
from portrayal.train.initial import fill_network, save_network
from portrayal.train.stage import Batch, Stage
from portrayal.train.state import TrainState

VALIDATED = 8
"""Clips' samples of `validate`, one after the other."""
CLOSER = 2
"""How much larger the frames are than the faces that are cut out of them."""
ZOOM, SHIFT = 0.1, 0.08
"""How much such a cut varies: share of its side, and halves of it."""
PREVIEWED, CELL = 8, 48
"""Frames in the preview, and pixels of each."""


def configure(config: Config) -> Config:
    return replace(config, batch=config.clebs.batch, steps=config.clebs.steps)


def networks(config: Config) -> dict[str, nn.Module]:
    return {"expression": ExpressionEncoder(config.clebs), "image": ImageEncoder(config.clebs)}


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    """One Adam for both (4.2)."""
    return {"clebs": torch.optim.Adam(modules.parameters(), lr=config.clebs.learning_rate, betas=config.betas)}


def dataset(root: Path, config: Config, seed: int, samples: int) -> Dataset[Batch]:
    return _frames(root, "train", config, seed=seed, samples=samples, mirror=config.mirror, colour=config.colour)


def _frames(
    root: Path, split: Split, config: Config, *, seed: int, samples: int, mirror: bool = False, colour: float = 0.0
) -> ClipFrames:
    clebs = config.clebs
    size = clebs.image_size * (CLOSER if clebs.close else 1)
    return ClipFrames(
        root,
        split,
        size=size,
        seed=seed,
        samples=samples,
        count=1 + clebs.negatives,
        mirror=mirror,
        colour=colour,
    )


def train_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    """Every frame of a clip is the positive once, all others of the clip are its negatives: the expectation of equation
    1, of 33 pictures instead of one for each 33."""
    expressions, images = encode(state.networks, batch, config, varied=True)
    clebs = config.clebs
    loss = contrastive_loss(expressions, images, temperature=clebs.temperature, objective=clebs.objective)
    state.backward(loss)
    state.step_optimizer("clebs")
    expression_encoder(state.networks).pretrained.fill_(True)
    return {"contrastive": loss.detach(), "accuracy": retrieval_accuracy(expressions, images)}


def encode(modules: nn.ModuleDict, batch: Batch, config: Config, *, varied: bool = False) -> tuple[Tensor, Tensor]:
    """f_e and f_I of all frames, (b, n, d) each. `varied`: with cuts that vary, where faces are cut out."""
    encoder = expression_encoder(modules)
    expressions = encoder(batch["expression"], batch["gaze"] if encoder.gaze else None)
    pictures = batch["pictures"].flatten(0, 1).float() / 255
    if config.clebs.close:
        pictures = cut_out(pictures, batch["camera"].flatten(0, 1), config, varied=varied)
    return expressions, modules["image"](pictures).unflatten(0, batch["pictures"].shape[:2])


def cut_out(pictures: Tensor, camera: Tensor, config: Config, *, varied: bool) -> Tensor:
    """(n, 3, s, s) frames with their cameras (n, 25) to faces (n, 3, image_size, image_size)."""
    amount = float(varied)
    zoom = 1 + amount * ZOOM * (2 * torch.rand(len(pictures), device=pictures.device) - 1)
    shift = amount * SHIFT * (2 * torch.rand(len(pictures), 2, device=pictures.device) - 1)
    return face_crop(pictures, camera, size=config.clebs.image_size, zoom=zoom, shift=shift)


def expression_encoder(modules: nn.ModuleDict) -> ExpressionEncoder:
    return cast(ExpressionEncoder, modules["expression"])


@torch.no_grad()
def preview(state: TrainState, batch: Batch, config: Config) -> NDArray[np.uint8]:
    """Frames of the first clip, below them the cosines of each picture (column) with each expression (row), from black
    for -1 to white for 1: a bright diagonal is what is learned."""
    shown = {name: batch[name][:1, :PREVIEWED] for name in ("pictures", "expression", "gaze", "camera")}
    cosines = similarities(*(x.float() for x in encode(state.averaged, shown, config)))[0]
    pictures = F.interpolate(shown["pictures"][0].float() / 255, (CELL, CELL), mode="area")
    matrix = ((cosines + 1) / 2).repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)
    sheet = torch.cat([torch.cat(list(pictures), -1), matrix.expand(3, -1, -1)], 1)
    return to_uint8(sheet[None])[0]


@torch.no_grad()
def validate(state: TrainState, config: Config, root: Path) -> dict[str, float]:
    """Equation 1 (`loss`) and the share of expressions that find their picture, by the averaged networks."""
    device = next(state.averaged.parameters()).device
    losses, found = [], []
    for sample in held_out(root, config):
        there = {name: value.to(device) for name, value in sample.items()}
        expressions, images = encode(state.averaged, there, config)
        clebs = config.clebs
        losses.append(contrastive_loss(expressions, images, temperature=clebs.temperature, objective=clebs.objective))
        found.append(retrieval_accuracy(expressions, images))
    return {"loss": float(torch.stack(losses).mean()), "accuracy": float(torch.stack(found).mean())}


def preview_batch(root: Path, config: Config) -> Batch:
    return held_out(root, config)[0]


@lru_cache(maxsize=2)
def held_out(root: Path, config: Config) -> list[Batch]:
    """Frames of validation clips, a batch of one clip each; of a folder without long enough ones, of training clips."""
    read = partial(_frames, root, config=config, seed=0, samples=VALIDATED)
    return [default_collate([sample]) for sample in held_out_samples(read, VALIDATED)]


def save_weights(path: Path, state: TrainState, config: Config, metadata: dict[str, str]) -> None:
    """Both encoders; the stage reconstruction takes the expression encoder from the file."""
    save_network(path, state.averaged, metadata, system="export3d", stage="clebs")


def load_weights(path: Path, state: TrainState) -> None:
    """
    Raises:
        InputError: the file is of another layout; names the first tensor that does not fit.
    """
    preset = "the stage clebs of this preset of export3d"
    fill_network([state.networks, state.averaged], load_file(path), path=path, preset=preset)


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
    schedule=lambda config: config.schedule,
    preview_batch=preview_batch,
    validate=validate,
)
