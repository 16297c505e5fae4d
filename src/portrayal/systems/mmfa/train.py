"""The stage `main` (Sec. 3.4): same-identity reconstruction, equation 14. The stage `vae` is in `train_vae`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from portrayal.data.clips import Split
from portrayal.data.held_out import held_out_samples
from portrayal.data.pair_options import PairOptions
from portrayal.data.pairs import ClipPairs
from portrayal.data.shard_pairs import ShardPairs, open_pairs
from portrayal.face.landmark_reader import LandmarkReader
from portrayal.face.morphable import load_face_model
from portrayal.face.pose import fit_similarity, picture_to_head
from portrayal.media.image import to_uint8
from portrayal.nn.precision import in_float32
from portrayal.systems.mmfa import losses
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.deform import Deformation, deform_landmarks
from portrayal.systems.mmfa.discriminator import Discriminator
from portrayal.systems.mmfa.features import FeatureNetwork, load_features
from portrayal.systems.mmfa.keypoints import Motion, Pose
from portrayal.systems.mmfa.model import Generated, Mmfa
from portrayal.train.initial import fill_network, save_network
from portrayal.train.schedule import Schedule
from portrayal.train.stage import Batch, Stage
from portrayal.train.state import TrainState

CLIP = 10.0
"""Largest norm of the gradient of each optimizer: a guard against single bad batches."""
PREVIEWED, VALIDATED = 4, 32
"""Pairs of the preview, and of `validate`."""
PLAIN = PairOptions(mirror=False, colour=0.0)
"""Of these pairs."""


@dataclass(frozen=True)
class Face:
    """One picture of each pair of a batch, with what the tracker says about it (`types.FaceParams`)."""

    image: Tensor
    """(b, 3, s, s) in [0, 1]."""
    landmarks: Tensor
    """(b, 478, 3) pixels."""
    rotation: Tensor
    """(b, 3, 3)."""
    scale: Tensor
    """(b,) pixels per head unit."""
    translation: Tensor
    """(b, 3) pixels."""

    @classmethod
    def of(cls, batch: Batch, role: str) -> Face:
        """`role` is source or driving, as `data.pairs.ClipPairs` names its fields."""
        fields = (batch[f"{role}_{name}"] for name in ("landmarks", "rotation", "scale", "translation"))
        return cls(batch[role].float() / 255, *fields)

    @property
    def pose(self) -> Pose:
        """R, f, t of equation 5, as `keypoints.tracked_pose`."""
        unit = 2 / self.image.shape[-1]
        return Pose(self.rotation, self.scale * unit, self.translation[:, :2] * unit - 1)


@dataclass(frozen=True)
class Reconstruction:
    """One forward of the model: what the losses look at."""

    generated: Generated
    keypoints: Tensor
    """(b, k, 3) p_D."""
    delta: Tensor
    """(b, k, 3) delta_D."""
    canonical: Tensor
    """(b, k, 3) p_C of the source."""
    motion: Motion
    """Of the driving picture."""


def networks(config: Config) -> dict[str, nn.Module]:
    model = Mmfa(config)
    if model.vae is not None:
        model.vae.requires_grad_(False)  # its stage comes later (Sec. 3.4)
    chosen: dict[str, nn.Module] = {"model": model}
    if config.loss.adversarial:
        chosen["discriminator"] = Discriminator(config.discriminator)
    return chosen


def frozen(config: Config) -> dict[str, nn.Module]:
    """The networks of equations 6 and 9."""
    names = config.loss.perceptual_networks if config.loss.perceptual else ()
    chosen: dict[str, nn.Module] = {name: load_features(name) for name in names}
    if config.loss.landmarks:
        chosen["landmarks"] = LandmarkReader()
    return chosen


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    """Adam (B.2), one for each network."""
    return {
        name: torch.optim.Adam(
            [p for p in module.parameters() if p.requires_grad], lr=config.learning_rate, betas=config.betas
        )
        for name, module in modules.items()
    }


def schedule(config: Config) -> Schedule:
    return Schedule(config.schedule, config.warmup_steps)


def dataset(root: Path, config: Config, seed: int, samples: int) -> Dataset[Batch]:
    return open_pairs(root, "train", size=config.image_size, seed=seed, samples=samples, options=config.pairs)


def train_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    """One step of the model, then one of the discriminator."""
    source, driving = Face.of(batch, "source"), Face.of(batch, "driving")
    model, weights = model_of(state.networks), config.loss
    with state.only("model"):
        result = reconstruct(model, source, driving)
        terms = picture_terms(state, result.generated, driving, config)
        terms |= keypoint_terms(model, result, source, driving, config)
        state.backward(torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum())
        state.step_optimizer("model", clip=CLIP)
    if weights.adversarial:
        with state.only("discriminator"):
            loss = discriminator_term(state, result.generated.picture.detach(), driving)
            state.backward(loss)
            state.step_optimizer("discriminator", clip=CLIP)
        terms["discriminator"] = loss
    return {name: term.detach() for name, term in terms.items()}


def reconstruct(model: Mmfa, source: Face, driving: Face) -> Reconstruction:
    """The driving picture from the source picture and the driving motion (Fig. 2a)."""
    canonical = model.canonical(source.image)
    motion_source = model.motion(source.image, source.pose)
    motion_driving = model.motion(driving.image, driving.pose)
    keypoints = model.keypoints(canonical, motion_driving)
    generated = model.generate(
        model.appearance(source.image),
        model.keypoints(canonical, motion_source),
        keypoints,
        motion_source.pose,
        motion_driving.pose,
    )
    delta = model.deformation(canonical, motion_driving.expression)
    return Reconstruction(generated, keypoints, delta, canonical, motion_driving)


def picture_terms(state: TrainState, generated: Generated, driving: Face, config: Config) -> dict[str, Tensor]:
    """What compares G with D: equations 6 and 9, and A.2's adversarial terms."""
    weights, terms = config.loss, {}
    if weights.perceptual and weights.perceptual_networks:
        compared = [
            losses.multi_scale_perceptual(
                generated.pictures, driving.image, driving.landmarks, feature_network(state, name)
            )
            for name in weights.perceptual_networks
        ]
        terms["perceptual"] = torch.stack(compared).sum()
    if weights.pixel:
        terms["pixel"] = losses.multi_scale_pixel(generated.pictures, driving.image)
    if weights.adversarial:
        discriminator = state.networks["discriminator"]
        features, logits = discriminator(generated.picture)
        terms["adversarial"] = losses.generator_adversarial([logits])
        if weights.feature_matching:
            with torch.no_grad():
                wanted, _ = discriminator(driving.image)
            terms["feature_matching"] = losses.feature_matching(wanted, features)
    if weights.landmarks:
        reader = state.frozen["landmarks"]
        with torch.no_grad():
            truth = reader(driving.image, driving.landmarks)
        terms |= losses.landmark_consistency(reader(generated.picture, driving.landmarks), truth)
    return terms


def keypoint_terms(
    model: Mmfa, result: Reconstruction, source: Face, driving: Face, config: Config
) -> dict[str, Tensor]:
    """What the keypoints must be: equations 7, 8, 15 and the priors."""
    weights, terms = config.loss, {}
    if weights.equivariance:
        deformation = random_deformation(driving.image, config)
        deformed = deform(driving, deformation)
        anew = model.keypoints(model.canonical(deformed.image), model.motion(deformed.image, deformed.pose))
        terms["equivariance"] = losses.equivariance(result.keypoints, anew, deformation)
    if weights.keypoint:
        terms["keypoint"] = losses.keypoint_prior(
            result.keypoints, distance=weights.keypoint_distance, depth=weights.keypoint_depth
        )
    if weights.deformation:
        terms["deformation"] = losses.deformation_prior(result.delta)
    if weights.expression and model.expression_encoder is not None:
        augmented = model.expression_encoder(random_similarity(driving.image, config).deform_image(driving.image))
        terms["expression"] = losses.expression_similarity(result.motion.expression, augmented)
    if weights.identity:
        terms["identity"] = losses.identity_consistency(result.canonical, model.canonical(driving.image))
    if weights.head_pose:
        terms["head_pose"] = losses.head_pose(result.motion.pose.rotation, driving.pose.rotation)
    return terms


def discriminator_term(state: TrainState, fake: Tensor, driving: Face) -> Tensor:
    discriminator = state.networks["discriminator"]
    return losses.discriminator_adversarial([discriminator(driving.image)[1]], [discriminator(fake)[1]])


def random_deformation(image: Tensor, config: Config) -> Deformation:
    """T of equation 15."""
    return Deformation.random(
        len(image),
        affine_deviation=config.loss.deformation_affine,
        spline_deviation=config.loss.deformation_spline,
        control_points=config.loss.deformation_points,
        device=image.device,
    )


def random_similarity(image: Tensor, config: Config) -> Deformation:
    """What makes D' of D (equation 7)."""
    weights = config.loss
    return Deformation.random_similarity(
        len(image),
        angle=weights.augmentation_angle,
        zoom=weights.augmentation_zoom,
        shift=weights.augmentation_shift,
        device=image.device,
    )


def model_of(networks: nn.ModuleDict) -> Mmfa:
    return cast(Mmfa, networks["model"])


def feature_network(state: TrainState, name: str) -> FeatureNetwork:
    return cast(FeatureNetwork, state.frozen[name])


@torch.no_grad()
def deform(face: Face, deformation: Deformation) -> Face:
    """T(X). Its pose is not tracked anew but found from the moved landmarks, which in the head frame are those of X."""
    landmarks = deform_landmarks(deformation, face.landmarks, face.image.shape[-1])
    pose = _moved_pose(face.landmarks, landmarks, face.rotation, face.scale, face.translation)
    return Face(deformation.deform_image(face.image), landmarks, *pose)


@in_float32
def _moved_pose(
    landmarks: Tensor, moved: Tensor, rotation: Tensor, scale: Tensor, translation: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Rotation, scale, translation of landmarks that moved, from those before."""
    rigid = load_face_model(landmarks.device.type).rigid_points
    head = picture_to_head(landmarks[:, rigid], scale, rotation, translation)
    scale, rotation, translation = fit_similarity(head, moved[:, rigid])
    return rotation, scale, translation


@torch.no_grad()
def preview(state: TrainState, batch: Batch, config: Config) -> NDArray[np.uint8]:
    """Source, driving and result of the averaged model, a row each."""
    shown = {name: value[:PREVIEWED] for name, value in batch.items()}
    source, driving = Face.of(shown, "source"), Face.of(shown, "driving")
    result = reconstruct(model_of(state.averaged), source, driving).generated.picture
    rows = [torch.cat(list(images.float()), -1) for images in (source.image, driving.image, result)]
    return to_uint8(torch.cat(rows, -2)[None])[0]


def preview_batch(root: Path, config: Config) -> Batch:
    return held_out(root, config, PREVIEWED)


@torch.no_grad()
def validate(state: TrainState, config: Config, root: Path) -> dict[str, float]:
    """PSNR in dB and mean absolute difference (`loss`) of held-out pairs, by the averaged model."""
    model = model_of(state.averaged)
    device = next(model.parameters()).device
    absolute, squared = [], []
    pairs = held_out(root, config, VALIDATED)
    for start in range(0, VALIDATED, PREVIEWED):
        part = {name: value[start : start + PREVIEWED].to(device) for name, value in pairs.items()}
        driving = Face.of(part, "driving")
        error = reconstruct(model, Face.of(part, "source"), driving).generated.picture.float() - driving.image
        absolute.append(error.abs().mean())
        squared.append(error.square().mean((1, 2, 3)))
    psnr = -10 * torch.cat(squared).clamp_min(1e-10).log10()
    return {"loss": float(torch.stack(absolute).mean()), "psnr": float(psnr.mean())}


@lru_cache(maxsize=4)
def held_out(root: Path, config: Config, count: int) -> Batch:
    """The first `count` validation pairs; of a folder without validation clips, training pairs."""

    def read(split: Split) -> ClipPairs | ShardPairs:
        return open_pairs(root, split, size=config.image_size, seed=0, samples=count, options=PLAIN)

    return default_collate(held_out_samples(read, count))


def save_weights(path: Path, state: TrainState, config: Config, metadata: dict[str, str]) -> None:
    save_model(path, state.averaged["model"], metadata, stage="main")


def save_model(path: Path, model: nn.Module, metadata: dict[str, str], *, stage: str) -> None:
    """The model without discriminators."""
    save_network(path, model, metadata, system="mmfa", stage=stage)


def load_weights(path: Path, state: TrainState) -> None:
    """Start the model from a weights file; a discriminator starts anew.

    Raises:
        InputError: the file is of another layout; names the first tensor that does not fit.
    """
    models = [networks["model"] for networks in (state.networks, state.averaged)]
    fill_network(models, load_file(path), path=path, preset="this preset of mmfa")


STAGE = Stage(
    configure=Config.unguided,
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
