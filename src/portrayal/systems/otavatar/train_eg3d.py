"""The stage `eg3d`: the generator of faces that a camera can go round, from single pictures (EG3D, Sec. 4 and 5).

Differs: the rendering has its final size from the beginning, and real pictures are never blurred.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, default_collate

from portrayal.face.camera import camera_label, orbit, split_camera
from portrayal.media.image import to_uint8
from portrayal.nn.gan_losses import discriminator_loss, generator_loss, r1_penalty
from portrayal.nn.rendering.density import density_variation, random_points
from portrayal.nn.rendering.volume import random_draws
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.dual_discriminator import DualDiscriminator, pair, real_pair
from portrayal.systems.otavatar.frames import FaceFrames
from portrayal.systems.otavatar.generator import TriplaneGenerator, View
from portrayal.train.initial import fill_network, save_network
from portrayal.train.schedule import Schedule
from portrayal.train.stage import Batch, Stage
from portrayal.train.state import TrainState

PREVIEWED = 4
TURNS = (-0.5, 0.5)
"""Radians to either side in the preview."""


def networks(config: Config) -> dict[str, nn.Module]:
    return {
        "generator": TriplaneGenerator(config.generator),
        "discriminator": DualDiscriminator(config.generator.size, config.eg3d),
    }


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    """Adam; rates and betas make up for regularisers that act in some steps only (StyleGAN2, appendix B)."""
    chosen: dict[str, torch.optim.Optimizer] = {}
    for name, rate, every in (
        ("generator", config.eg3d.generator_rate, config.eg3d.density_every_steps),
        ("discriminator", config.eg3d.discriminator_rate, config.eg3d.r1_every_steps),
    ):
        share = every / (every + 1)
        chosen[name] = torch.optim.Adam(modules[name].parameters(), lr=rate * share, betas=(0.0, 0.99**share))
    return chosen


def dataset(root: Path, config: Config, seed: int, samples: int) -> Dataset[Batch]:
    return FaceFrames(
        root,
        "train",
        size=config.generator.size,
        seed=seed,
        samples=samples,
        photo_share=config.eg3d.photo_share,
        mirror=config.eg3d.mirror,
    )


def train_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    """One step of the generator, then one of the discriminator.

    A regulariser that acts in every n-th step counts n times there.
    """
    camera, real = batch["camera"], batch["picture"].float() / 127.5 - 1
    terms = generator_step(state, camera, config)
    terms |= discriminator_step(state, real, camera, config)
    return {name: term.detach() for name, term in terms.items()}


def generator_step(state: TrainState, camera: Tensor, config: Config) -> dict[str, Tensor]:
    generator, settings = generator_of(state.networks), config.eg3d
    with state.only("generator"):
        made, planes, w = draw_faces(generator, camera, swap_share(state, config))
        terms = {"adversarial": generator_loss(judge(state, made, camera))}
        loss = terms["adversarial"]
        if state.step % settings.density_every_steps == 0:
            half = config.generator.rays.box_size / 2
            points = random_points(len(planes), settings.density_points, half_extent=half, like=planes)
            variation = density_variation(lambda at: generator.density(planes, at), points)
            terms["density"] = variation
            loss = loss + settings.density_every_steps * settings.density * variation
        state.backward(loss)
        state.step_optimizer("generator")
    generator.backbone.mapping.follow_mean(mean_over_processes(w.detach().mean(0, keepdim=True), state))
    return terms


def discriminator_step(state: TrainState, real: Tensor, camera: Tensor, config: Config) -> dict[str, Tensor]:
    settings = config.eg3d
    discriminator = cast(DualDiscriminator, state.networks["discriminator"])
    with torch.no_grad():
        made, _, _ = draw_faces(generator_of(state.networks), camera, swap_share(state, config))
    with state.only("discriminator"):
        shown = discriminator.augmented(real_pair(real, config.generator.neural_size)).requires_grad_()
        logits = discriminator(shown, camera)
        terms = {"discriminator": discriminator_loss(logits, judge(state, made, camera))}
        loss = terms["discriminator"]
        if state.step % settings.r1_every_steps == 0:
            terms["r1"] = r1_penalty(logits, shown)
            loss = loss + settings.r1_every_steps * settings.r1 / 2 * terms["r1"]
        state.backward(loss)
        state.step_optimizer("discriminator")
    signs = mean_over_processes(logits.detach().sign().mean(), state)
    pictures = len(real) * state.gradients.processes
    discriminator.follow(float(signs), pictures, target=settings.augment_target, span=settings.augment_span_images)
    return terms | {"signs": signs, "augmentation": discriminator.augmentation.clone()}


def draw_faces(generator: TriplaneGenerator, camera: Tensor, swap: float) -> tuple[View, Tensor, Tensor]:
    """Random faces seen by these cameras, their planes, and their w.

    Args:
        swap: share of the faces whose w is conditioned on another camera of the batch (EG3D, Sec. 4.4), so that the
            face cannot be made from the camera it will be seen by.
    """
    others = torch.rand(len(camera), 1, device=camera.device) < swap
    told = torch.where(others, camera.roll(1, 0), camera)
    w = generator.latents(torch.randn(len(camera), generator.config.z_dim, device=camera.device), told)
    ws = generator.broadcast(w)
    planes = generator.planes(ws, noise="random")
    return generator.view(planes, ws, camera, draw=random_draws), planes, w


def judge(state: TrainState, made: View, camera: Tensor) -> Tensor:
    """Logits (b,) of generated faces."""
    discriminator = cast(DualDiscriminator, state.networks["discriminator"])
    assert made.picture is not None
    return discriminator(discriminator.augmented(pair(made.picture, made.raw)), camera)


def swap_share(state: TrainState, config: Config) -> float:
    """From 1 to `swap` over the first pictures (EG3D, supplement)."""
    done = min(state.step * config.batch / max(config.eg3d.swap_fade_images, 1), 1)
    return 1 - (1 - config.eg3d.swap) * done


def mean_over_processes(value: Tensor, state: TrainState) -> Tensor:
    """The mean over all processes, so that their buffers stay alike."""
    if state.gradients.processes > 1:
        value = value.clone()
        dist.all_reduce(value)
        value = value / state.gradients.processes
    return value


def generator_of(modules: nn.ModuleDict) -> TriplaneGenerator:
    return cast(TriplaneGenerator, modules["generator"])


@torch.no_grad()
def preview(state: TrainState, batch: Batch, config: Config) -> NDArray[np.uint8]:
    """Rows: real pictures; faces seen by the same cameras; their depth, near is bright; the faces from both sides."""
    camera, generator = batch["camera"][:PREVIEWED], generator_of(state.averaged)
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(len(camera), config.generator.z_dim, generator=draw).to(camera)
    ws = generator.broadcast(generator.latents(z, camera))
    planes = generator.planes(ws)
    front = generator.view(planes, ws, camera)
    assert front.picture is not None
    rows = [batch["picture"][:PREVIEWED].float() / 255, front.picture / 2 + 0.5, shown_depth(front.depth, config)]
    for turn in TURNS:
        picture = generator.view(planes, ws, turned(camera, turn)).picture
        assert picture is not None
        rows.append(picture / 2 + 0.5)
    return to_uint8(torch.cat([torch.cat(list(row.float()), -1) for row in rows], -2)[None])[0]


def turned(camera: Tensor, azimuth: float) -> Tensor:
    """Cameras that look at the face from `azimuth` radians beside the front, with the intrinsics of `camera`."""
    angle = torch.full((len(camera),), math.pi / 2 + azimuth, device=camera.device)
    level = torch.full_like(angle, math.pi / 2)
    return camera_label(orbit(angle, level), split_camera(camera)[1])


def shown_depth(depth: Tensor, config: Config) -> Tensor:
    """(b, 1, n, n) world units to grey pictures (b, 3, s, s) in [0, 1], bright where near."""
    near, far = depth.amin((1, 2, 3), keepdim=True), depth.amax((1, 2, 3), keepdim=True)
    grey = (far - depth) / (far - near).clamp_min(1e-6)
    return F.interpolate(grey, [config.generator.size] * 2, mode="nearest").expand(-1, 3, -1, -1)


def save_weights(path: Path, state: TrainState, config: Config, metadata: dict[str, str]) -> None:
    parts = nn.ModuleDict({"generator": state.averaged["generator"]})
    save_network(path, parts, metadata, system="otavatar", stage="eg3d")


def load_weights(path: Path, state: TrainState) -> None:
    """Start the generator from a weights file; the discriminator starts anew."""
    load_network(path, state, "generator")


def load_network(path: Path, state: TrainState, name: str) -> None:
    """One network, live and averaged, from a weights file.

    Raises:
        InputError: the file is of another layout; names the first tensor that does not fit.
    """
    tensors = {
        key.removeprefix(f"{name}."): value.float()
        for key, value in load_file(path).items()
        if key.startswith(f"{name}.")
    }
    networks = [modules[name] for modules in (state.networks, state.averaged)]
    fill_network(networks, tensors, path=path, preset=f"the {name} of this preset of otavatar")


def names_of(path: Path) -> set[str]:
    """The networks that a weights file holds."""
    with safe_open(path, "pt") as file:
        return {key.split(".")[0] for key in file.keys()}  # noqa: SIM118


STAGE = Stage(
    networks=networks,
    optimizers=optimizers,
    dataset=dataset,
    collate=default_collate,
    train_step=train_step,
    preview=preview,
    save_weights=save_weights,
    load_weights=load_weights,
    schedule=lambda _: Schedule("constant", warmup_steps=0),
)
