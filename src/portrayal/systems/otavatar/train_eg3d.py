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
from portrayal.systems.otavatar import autoencoding
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.dual_discriminator import DualDiscriminator, pair, real_pair
from portrayal.systems.otavatar.frames import FaceFrames
from portrayal.systems.otavatar.generator import Drawn, TriplaneGenerator
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
        **autoencoding.networks(config),
    }


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    settings, generator = config.eg3d, generator_of(modules)
    drawing = [p for name, p in generator.named_parameters() if not name.startswith("backbone.mapping.")]
    faster = config.autoencoding.mapping_factor if config.autoencoding.is_on else 1.0
    own = [(drawing, 1.0), (list(generator.backbone.mapping.parameters()), faster)]
    opponents = [(list(modules["discriminator"].parameters()), 1.0)]
    return {
        "generator": adam(own, settings.generator_rate, every=settings.density_every_steps, momentum=settings.momentum),
        "discriminator": adam(opponents, settings.discriminator_rate, every=settings.r1_every_steps),
        **autoencoding.optimizers(modules, config),
    }


def adam(
    groups: list[tuple[list[nn.Parameter], float]], rate: float, *, every: int, momentum: float = 0.0
) -> torch.optim.Adam:
    """Adam whose rate and betas make up for a regulariser that acts in every n-th step (StyleGAN2, appendix B).

    Args:
        groups: parameters with a factor on the rate. every: n. momentum: beta1.
    """
    share = every / (every + 1)
    given = [{"params": parameters, "lr": rate * share * factor} for parameters, factor in groups]
    return torch.optim.Adam(given, betas=(momentum, 0.99**share))


def dataset(root: Path, config: Config, seed: int, samples: int) -> Dataset[Batch]:
    return FaceFrames(
        root,
        "train",
        size=config.generator.size,
        seed=seed,
        samples=samples,
        photo_share=config.eg3d.photo_share,
        mirror=config.eg3d.mirror,
        pairs=config.autoencoding.is_on,
        framing=config.generator.framing,
    )


def train_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    """One step of the generator, then one of the discriminator.

    A regulariser that acts in every n-th step counts n times there.

    Returns:
        density and r1 where they act; adversarial, discriminator, signs and augmentation once the discriminator has
        begun; with an encoder that learns along pixel, perceptual and latent.
    """
    terms = generator_step(state, batch, config)
    if judged(state, config):
        terms |= discriminator_step(state, batch, config)
    return {name: term.detach() for name, term in terms.items()}


def judged(state: TrainState, config: Config) -> bool:
    """Whether the discriminator has begun."""
    return not config.autoencoding.is_on or state.step >= config.autoencoding.discriminator_from


def drawn_count(batch: int, config: Config) -> int:
    """How many of the faces that are judged are random ones; the others are copies."""
    return (batch + 1) // 2 if config.autoencoding.is_on else batch


def generator_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    generator, settings, camera = generator_of(state.networks), config.eg3d, batch["camera"]
    learning = ("generator", "encoder") if config.autoencoding.is_on else ("generator",)
    with state.only(*learning):
        faces: list[Drawn] = []
        terms: dict[str, Tensor] = {}
        loss = camera.new_zeros(())
        if config.autoencoding.is_on:
            copies, terms = autoencoding.copy_faces(state, generator, batch, config)
            faces.append(copies)
            loss = autoencoding.weighted(terms, config)
        if judged(state, config):
            count = drawn_count(len(camera), config)
            faces.append(draw_faces(generator, camera[:count], swap_share(state, config)))
            shares = (len(camera) - count, count)[-len(faces) :]
            verdicts = [judge(state, some, share) for some, share in zip(faces, shares, strict=True) if share]
            terms["adversarial"] = generator_loss(torch.cat(verdicts))
            loss = loss + terms["adversarial"]
        if state.step % settings.density_every_steps == 0:
            terms["density"] = variation(generator, faces[0].planes, config)
            loss = loss + settings.density_every_steps * settings.density * terms["density"]
        state.backward(loss)
        for name in learning:
            state.step_optimizer(name)
    mean = faces[0].w.detach().mean(0, keepdim=True)
    generator.backbone.mapping.follow_mean(mean_over_processes(mean, state))
    return terms


def variation(generator: TriplaneGenerator, planes: Tensor, config: Config) -> Tensor:
    """() how much the density differs between neighbouring points."""
    half = config.generator.rays.box_size / 2
    points = random_points(len(planes), config.eg3d.density_points, half_extent=half, like=planes)
    return density_variation(lambda at: generator.density(planes, at), points)


def discriminator_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    settings, camera = config.eg3d, batch["camera"]
    real = batch["picture"].float() / 127.5 - 1
    generator, discriminator = generator_of(state.networks), cast(DualDiscriminator, state.networks["discriminator"])
    with torch.no_grad():
        count = drawn_count(len(real), config)
        w = random_latents(generator, camera[:count], swap_share(state, config))
        if config.autoencoding.is_on:
            w = torch.cat([w, autoencoding.encoder_of(state.networks)(real[count:])])
        made = generator.draw(w, camera)
    with state.only("discriminator"):
        shown = discriminator.augmented(real_pair(real, config.generator.neural_size)).requires_grad_()
        logits = discriminator(shown, camera)
        terms = {"discriminator": discriminator_loss(logits, judge(state, made, len(real)))}
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


def draw_faces(generator: TriplaneGenerator, camera: Tensor, swap: float) -> Drawn:
    """Random faces seen by these cameras; `swap` as of `random_latents`."""
    return generator.draw(random_latents(generator, camera, swap), camera)


def random_latents(generator: TriplaneGenerator, camera: Tensor, swap: float) -> Tensor:
    """(b, w_dim) of random z.

    Args:
        camera: (b, 25).
        swap: share of the faces whose w is conditioned on another camera of the batch (EG3D, Sec. 4.4), so that the
            face cannot be made from the camera it will be seen by.
    """
    others = torch.rand(len(camera), 1, device=camera.device) < swap
    told = torch.where(others, camera.roll(1, 0), camera)
    return generator.latents(torch.randn(len(camera), generator.config.z_dim, device=camera.device), told)


def judge(state: TrainState, made: Drawn, count: int) -> Tensor:
    """Logits (count,) of the last `count` generated faces."""
    discriminator = cast(DualDiscriminator, state.networks["discriminator"])
    assert made.view.picture is not None
    pairs = pair(made.view.picture[-count:], made.view.raw[-count:])
    return discriminator(discriminator.augmented(pairs), made.camera[-count:])


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
    """Rows: real pictures; `shown` of their copies, where an encoder learns along, and of random faces."""
    camera, generator = batch["camera"][:PREVIEWED], generator_of(state.averaged)
    pictures = batch["picture"][:PREVIEWED].float()
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(len(camera), config.generator.z_dim, generator=draw).to(camera)
    rows = [pictures / 255]
    if config.autoencoding.is_on:
        rows += shown(generator, autoencoding.encoder_of(state.averaged)(pictures / 127.5 - 1), camera, config)
    rows += shown(generator, generator.latents(z, camera), camera, config)
    return to_uint8(torch.cat([torch.cat(list(row.float()), -1) for row in rows], -2)[None])[0]


def shown(generator: TriplaneGenerator, w: Tensor, camera: Tensor, config: Config) -> list[Tensor]:
    """Faces seen by cameras; their depth, near is bright; the faces from both sides: each (b, 3, s, s) in [0, 1]."""
    ws = generator.broadcast(w)
    planes = generator.planes(ws)
    views = [generator.view(planes, ws, seen) for seen in (camera, *(turned(camera, turn) for turn in TURNS))]
    front, *sides = (cast(Tensor, view.picture) / 2 + 0.5 for view in views)
    return [front, shown_depth(views[0].depth, config), *sides]


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
    """The averaged generator, and an encoder that learned along."""
    parts = nn.ModuleDict({name: state.averaged[name] for name in ("generator", "encoder") if name in state.averaged})
    save_network(path, parts, metadata, system="otavatar", stage="eg3d")


def load_weights(path: Path, state: TrainState) -> None:
    """Start the generator, and an encoder if there is one, from a weights file; the discriminator starts anew."""
    for name in ("generator", "encoder"):
        if name in state.networks:
            load_network(path, state, name)


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
    frozen=autoencoding.frozen,
    schedule=lambda _: Schedule("constant", warmup_steps=0),
)
