"""Stages of the light renderer: `light` trains the renderer, `keypoints` the networks whose keypoints it follows.

The weights file holds the whole model after either, so that each stage goes on from the other's file (--init):
`light` with the guides' own landmarks, `keypoints`, and `light` again with the networks' keypoints
(`light_training.guided` False).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, default_collate

from portrayal.data.face_pairs import FacePairs
from portrayal.errors import InputError
from portrayal.face.landmark_reader import LandmarkReader
from portrayal.nn.pretrained import DEV_WEIGHTS, development_weights, load_mobilefacenet
from portrayal.systems.mmfa import losses
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.discriminator import Discriminator
from portrayal.systems.mmfa.guided import EYES, GUIDES, MOUTH, GuidedMmfa, guided_keypoints
from portrayal.systems.mmfa.keypoints import Pose, transform_keypoints
from portrayal.systems.mmfa.light import Painted, pixel_grid
from portrayal.systems.mmfa.light_features import FoldedFeatures, feature_distance
from portrayal.systems.mmfa.train import load_weights, save_model
from portrayal.train.loop import Batch, Stage, TrainState


def networks(config: Config) -> dict[str, nn.Module]:
    return {"model": GuidedMmfa(config)}


def renderer_networks(config: Config) -> dict[str, nn.Module]:
    chosen = networks(config)
    if config.light_training.losses.adversarial:
        chosen["discriminator"] = Discriminator(config.discriminator)
    return chosen


def _adamw(parameters: list[nn.Parameter], config: Config) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.light_training.weight_decay,
        fused=True,
    )


def renderer_optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    model = model_of(modules)
    model.requires_grad_(False)
    model.renderer.requires_grad_(True)
    chosen = {"renderer": _adamw(list(model.renderer.parameters()), config)}
    if "discriminator" in modules:
        parameters = modules["discriminator"].parameters()
        chosen["discriminator"] = torch.optim.Adam(parameters, lr=config.learning_rate, betas=(0.5, 0.99))
    return chosen


def model_of(modules: nn.ModuleDict) -> GuidedMmfa:
    return cast(GuidedMmfa, modules["model"])


def keypoint_optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    model = model_of(modules)
    model.renderer.requires_grad_(False)
    model.vae.requires_grad_(False)
    return {"keypoints": _adamw([p for p in model.parameters() if p.requires_grad], config)}


def dataset(root: Path, config: Config, seed: int, samples: int, more: int = 0) -> Dataset[Batch]:
    share = config.light_training.photo_share
    return FacePairs(root, "train", size=config.image_size, seed=seed, samples=samples, photo_share=share, more=more)


def frozen(config: Config) -> dict[str, nn.Module]:
    """The networks that look at the pictures.

    Raises:
        InputError: MobileFaceNet's weights are not there.
    """
    chosen: dict[str, nn.Module] = {}
    weights = config.light_training.losses
    if weights.features:
        path = development_weights()
        if path is None:
            raise InputError(
                f"the stage light compares features of MobileFaceNet; set {DEV_WEIGHTS} to the folder with its "
                "mobilefacenet.npz, or light_training.losses.features to 0"
            )
        chosen["features"] = FoldedFeatures(load_mobilefacenet(path))
    if weights.landmarks:
        chosen["landmarks"] = LandmarkReader()
    return chosen


def pose_of(batch: Batch, name: str) -> Pose:
    return Pose(batch[f"{name}_rotation"], batch[f"{name}_scale"], batch[f"{name}_translation"])


def render(model: GuidedMmfa, batch: Batch, *, noise: float = 0.0) -> dict[int, Painted]:
    """The source of each pair with the driving picture's motion."""
    own, pose = (pose_of(batch, name) for name in ("source", "driving"))
    shapes = [batch["source_shape"], batch["driving_shape"]]
    shapes = [shape + noise * torch.randn_like(shape) for shape in shapes]
    picture = to_input(batch["source"])
    if model.config.light_training.guided:
        source_points, points = guided_keypoints(shapes[0], own), guided_keypoints(shapes[1], pose)
    else:
        canonical, features = frozen_keypoints(model, picture, shapes)
        source_points, points = (model.keypoints(canonical, f, p) for f, p in zip(features, (own, pose), strict=True))
    appearance = model.renderer.appearance(picture)
    return model.renderer(appearance, source_points, points, own, pose)


@torch.no_grad()
def frozen_keypoints(model: GuidedMmfa, picture: Tensor, shapes: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """p_C of the sources and f_delta of both pictures, by networks as they are in use, with the averages of their batch
    norms."""
    for part in (model.detector, model.expression_encoder, model.expression_decoder):
        part.eval()
    return model.canonical(picture).float(), [model.expression_encoder(shape) for shape in shapes]


def to_input(pictures: Tensor) -> Tensor:
    """(b, 3, h, w) uint8 to float [0, 1], channels last."""
    return pictures.float().div(255).contiguous(memory_format=torch.channels_last)


def attention(points: Tensor, size: int = 64) -> Tensor:
    """(b, 1, s, s) weights of the pixels: 1, and up to 3 at eyes and mouth.

    Args:
        points: (b, k, 3) keypoints.
    """
    grid = pixel_grid(size, size).to(points)
    weight = points.new_zeros(len(points), size, size)
    for part in (EYES, MOUTH):
        away = (grid - points[:, part, None, None, :2]).square().sum(-1).amin(1)
        weight = torch.maximum(weight, (-away / 0.02).exp())
    return 1 + 2 * weight[:, None]


def renderer_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    """One step of the renderer."""
    training = config.light_training
    weights = training.losses
    truth, pose = to_input(batch["driving"]), pose_of(batch, "driving")
    window = random_window(config.image_size)
    with state.only("renderer"):
        out = render(model_of(state.networks), batch, noise=training.point_noise)
        picture = out[config.image_size].picture
        terms = picture_terms(out, truth, attention(guided_keypoints(batch["driving_shape"], pose)))
        if weights.features:
            terms["features"] = feature_term(state.frozen["features"], picture, truth, window)
        if weights.landmarks:
            terms["landmarks"] = landmark_term(state, picture, truth, batch["driving_shape"], pose)
        if weights.adversarial:
            terms |= adversarial_terms(state.networks["discriminator"], picture[window], truth[window])
        state.backward(torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum())
        norm = state.step_optimizer("renderer", clip=1.0)
    if weights.adversarial:
        terms["discriminator"] = discriminator_step(state, picture[window].detach(), truth[window])
    with torch.no_grad():
        error = (picture - truth).square().flatten(1).mean(1)
        terms["psnr"] = (-10 * error.clamp_min(1e-6).log10()).mean()
    return terms if norm is None else terms | {"gradient": norm}


def random_window(side: int) -> tuple[slice, ...]:
    """A quarter of the picture, somewhere about its middle; the same of every picture (b, c, h, w)."""
    half = side // 2
    y, x = (int(v) for v in torch.randint(side // 10, half - side // 10, (2,)))
    return slice(None), slice(None), slice(y, y + half), slice(x, x + half)


def adversarial_terms(discriminator: nn.Module, made: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """A.2 for the renderer."""
    features, logits = discriminator(made)
    with torch.no_grad():
        wanted, _ = discriminator(truth)
    return {
        "adversarial": losses.generator_adversarial([logits]),
        "feature_matching": losses.feature_matching(wanted, features),
    }


def discriminator_step(state: TrainState, made: Tensor, truth: Tensor) -> Tensor:
    discriminator = state.networks["discriminator"]
    with state.only("discriminator"):
        loss = losses.discriminator_adversarial([discriminator(truth)[1]], [discriminator(made)[1]])
        state.backward(loss)
        state.step_optimizer("discriminator", clip=1.0)
    return loss.detach()


def picture_terms(out: dict[int, Painted], truth: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Pixels at three sizes; and what is moved and what is painted each alone, so that both are good where the mask
    does not choose them yet."""
    largest = max(out)
    pixels, painted = [], []
    for size, made in out.items():
        wanted = F.avg_pool2d(truth, largest // size)
        w = F.interpolate(weight, size=(size, size), mode="bilinear", align_corners=False)
        pixels.append((w * (made.picture - wanted).abs()).mean())
        painted.append((w * (made.painted - wanted).abs()).mean())
    final = out[largest]
    moved = (w * (final.moved - truth).abs() * final.share.detach()).mean()
    return {"pixels": torch.stack(pixels).mean(), "moved": moved, "painted": torch.stack(painted).mean()}


def feature_term(features: nn.Module, made: Tensor, truth: Tensor, window: tuple[slice, ...]) -> Tensor:
    """Perceptual distance of a window of every picture, and of half of the pictures at half their size."""
    few = max(1, len(truth) // 2)
    views = [torch.cat([F.avg_pool2d(p[:few], 2), p[window]]) for p in (made, truth)]
    return feature_distance(features, *views)


def landmark_term(state: TrainState, made: Tensor, truth: Tensor, shape: Tensor, pose: Pose) -> Tensor:
    """L_M (equation 9) on half of the batch."""
    few = max(1, len(made) // 2)
    points = transform_keypoints(shape, torch.zeros_like(shape), pose.rotation, pose.scale, pose.translation)
    where = (points[:few] + 1) * (made.shape[-1] / 2)
    reader = state.frozen["landmarks"]
    with torch.no_grad():
        wanted = reader(truth[:few], where)
    parts = losses.landmark_consistency(reader(made[:few], where), wanted)
    return parts["landmarks_face"] + 2 * parts["landmarks_mouth"] + 2 * parts["landmarks_pupil"]


def keypoint_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    """One step of detector, expression encoder and decoder: equation 4 with the guides as truth, and L_C (8)."""
    model = model_of(state.networks)
    guides = list(GUIDES)
    wanted = batch["neutral"][:, guides]
    canonical = [model.canonical(to_input(batch[name])).float() for name in ("source", "driving")]
    few = torch.cat([batch["source_shape"], batch["driving_shape"]])  # on the source's p_C, whatever drives
    shapes = _varied(torch.cat([few, batch["more_shape"].flatten(0, 1)]))
    others = batch["more_neutral"].flatten(0, 1)[:, guides]
    others = others + 0.01 * torch.randn_like(others)
    own = torch.cat([canonical[0].detach(), canonical[0].detach(), others])
    delta = model.deformation(own, model.expression_encoder(shapes))
    terms = {
        "canonical": torch.stack([(c - wanted).abs().mean() for c in canonical]).mean(),
        "consistency": (canonical[0] - canonical[1]).square().sum(-1).add(1e-12).sqrt().mean(),
        "points": (own + delta - shapes[:, guides]).abs().mean(),
    }
    state.backward(terms["canonical"] + 0.1 * terms["consistency"] + 10 * terms["points"])
    norm = state.step_optimizer("keypoints", clip=1.0)
    return terms if norm is None else terms | {"gradient": norm}


def _varied(shapes: Tensor) -> Tensor:
    """(b, 478, 3) shapes, every third with a part of the difference between two others: more faces than were seen."""
    b = len(shapes)
    a, c = (shapes[torch.randperm(b, device=shapes.device)] for _ in range(2))
    mixed = (torch.arange(b, device=shapes.device) % 3 == 0).to(shapes)[:, None, None]
    return shapes + 0.3 * mixed * (a - c)


@torch.no_grad()
def preview(state: TrainState, batch: Batch, config: Config) -> NDArray[np.uint8]:
    """Rows: source, driving, result, moved pixels, painted pixels, share of the moved ones."""
    part = {name: value[:6] for name, value in batch.items()}
    made = render(model_of(state.averaged), part)[config.image_size]
    share = made.share.expand(-1, 3, -1, -1)
    rows = [to_input(part["source"]), to_input(part["driving"]), made.picture, made.moved, made.painted, share]
    sheet = torch.cat([torch.cat(list(row.float().clamp(0, 1)), 2) for row in rows], 1)
    return (sheet * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def save_weights(path: Path, state: TrainState, config: Config, metadata: dict[str, str]) -> None:
    save_model(path, state.averaged["model"], metadata, stage="light")


def configure_keypoints(config: Config) -> Config:
    """Shorter than the renderer's stage, and averaged over few steps: the decoder's batch norms are not averaged."""
    return replace(config.lightened(), steps=min(config.steps, 3000), ema=0.99)


LIGHT = Stage(
    configure=Config.lightened,
    networks=renderer_networks,
    optimizers=renderer_optimizers,
    dataset=dataset,
    collate=default_collate,
    train_step=renderer_step,
    preview=preview,
    save_weights=save_weights,
    load_weights=load_weights,
    frozen=frozen,
)
KEYPOINTS = replace(
    LIGHT,
    configure=configure_keypoints,
    networks=networks,
    optimizers=keypoint_optimizers,
    dataset=partial(dataset, more=12),
    train_step=keypoint_step,
    frozen=None,
)
