"""The stages `synthetic` (Sec. 3.1), `mixed` (3.2) and `paired` (3.3): the matrix A, everything else stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from portrayal.face.measure import mouth_openness
from portrayal.media.image import to_uint8
from portrayal.nn.arcface import identity_distance
from portrayal.nn.stylegan2 import Generator
from portrayal.nn.stylegan2_layers import full_precision
from portrayal.systems.directions import losses
from portrayal.systems.directions.config import Config, StageName
from portrayal.systems.directions.faces import FramedFaces, as_input, held_out
from portrayal.systems.directions.features import identity_of, load_identity, load_perceptual, perceptual_of
from portrayal.systems.directions.matrix import DirectionMatrix
from portrayal.systems.directions.model import PoseSpace
from portrayal.systems.directions.net3d import Net3d, pose_vector, turned_shape, wanted_shape
from portrayal.systems.directions.parts import (
    build_encoder,
    build_generator,
    build_matrix,
    encoder_of,
    generator_of,
    load_parts,
    require_generator,
    save_parts,
)
from portrayal.train.schedule import Schedule
from portrayal.train.stage import Batch, Stage
from portrayal.train.state import TrainState
from portrayal.types import FaceParams

SINGLE_SHARE = 0.5
"""Of the samples move one attribute only (Sec. 3.1, "Training details")."""
TAILS = 0.005
"""Share of the measured values on either side that the range of an attribute leaves out."""
MEASURED_AT_ONCE, PREVIEWED, VALIDATED = 16, 5, 96
SEED = 0
"""Of the pictures that the ranges are measured on."""


@dataclass(frozen=True)
class Case:
    """Sources and what they are to become."""

    w_plus: Tensor
    """(b, layers, w_dim) of the sources."""
    image: Tensor
    """(b, 3, s, s) in [0, 1]: the sources."""
    source: FaceParams
    change: Tensor
    """(b, k) Delta p, rescaled."""
    truth: Tensor | None = None
    """(b, 3, s, s) in [0, 1], the true result, in `paired`."""


class Nothing(Dataset[dict[str, Tensor]]):
    """Samples of a stage that makes its own pictures."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"sample": torch.tensor(index)}


def networks(config: Config) -> dict[str, nn.Module]:
    """Also what does not learn: the weights file of every stage is whole and can animate."""
    return {
        "generator": build_generator(config).requires_grad_(False),
        "encoder": build_encoder(config).requires_grad_(False),
        "matrix": build_matrix(config),
        "poses": PoseSpace(config.directions.attributes),
    }


def frozen(config: Config) -> dict[str, nn.Module]:
    """Net_3D, and the networks of the losses that have a weight.

    Raises:
        InputError: the weights of one are not installed.
    """
    weights, chosen = config.reenactment, cast(dict[str, nn.Module], {"net3d": Net3d()})
    if weights.perceptual:
        chosen["perceptual"] = load_perceptual(weights.perceptual_network)
    if weights.identity:
        chosen["identity"] = load_identity(weights.identity_network)
    return chosen


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    """Adam ("Implementation details")."""
    return {"matrix": torch.optim.Adam(modules["matrix"].parameters(), lr=config.learning_rate)}


def schedule(_: Config) -> Schedule:
    """Constant ("Implementation details")."""
    return Schedule("constant", warmup_steps=0)


def train_step(
    state: TrainState, batch: Batch, config: Config, *, cases: Callable[[TrainState, Batch, Config], Case]
) -> dict[str, Tensor]:
    """One step of A.

    Returns:
        shape, eye, mouth, and identity, perceptual, pixel as far as they have a weight.

    Raises:
        InputError: the generator has never learned anything.
    """
    poses = poses_of(state.networks)
    if not poses.measured:
        generator = generator_of(state.networks)
        require_generator(generator, "synthetic")
        poses.ranges.copy_(measure_ranges(generator, net3d_of(state), config))
    with torch.no_grad():
        case = cases(state, batch, config)
    weights = config.reenactment
    with state.only("matrix"):
        terms = reenacted_terms(state, case, config)
        factors = {name: weights.reenactment * getattr(weights, name) for name in ("shape", "eye", "mouth")}
        factors |= {name: getattr(weights, name) for name in ("identity", "perceptual", "pixel")}
        state.backward(torch.stack([factors[name] * term for name, term in terms.items()]).sum())
        state.step_optimizer("matrix")
    return {name: term.detach() for name, term in terms.items()}


def reenacted_terms(state: TrainState, case: Case, config: Config) -> dict[str, Tensor]:
    """I_r = G(w_s + A Delta p) and its losses: equation 3, or equation 7 where there is a truth."""
    generator, weights = generator_of(state.networks), config.reenactment
    w_plus = matrix_of(state.networks).move(case.w_plus, case.change)
    made = generator.synthesis(w_plus).float() / 2 + 0.5
    reenacted = net3d_of(state)(made)
    change = poses_of(state.networks).unscaled(case.change, a=config.directions.scale)
    wanted = pose_vector(case.source, config.directions.expressions) + change
    terms = losses.reenactment(turned_shape(reenacted), wanted_shape(case.source, wanted))
    # The source keeps its identity and looks; of a pair the true picture is known (Sec. 3.3).
    target = case.image if case.truth is None else case.truth
    if weights.identity:
        network = identity_of(state)
        points = (case.source if case.truth is None else net3d_of(state)(target)).landmarks
        terms["identity"] = losses.identity(network(made, reenacted.landmarks.detach()), network(target, points))
    if weights.perceptual:
        terms["perceptual"] = perceptual_of(state)(made, target)
    if case.truth is not None and weights.pixel:
        terms["pixel"] = losses.pixel(made, case.truth)
    return terms


def synthetic_cases(state: TrainState, batch: Batch, config: Config) -> Case:
    """Random sources and targets (Fig. 2)."""
    generator, count = generator_of(state.networks), len(batch["sample"])
    return _drawn(state, random_codes(generator, count), random_codes(generator, count), config)


def mixed_cases(state: TrainState, batch: Batch, config: Config) -> Case:
    """Half of the codes random, half inverted pictures; a picture's target is the picture before it (Sec. 3.2)."""
    images = as_input(batch["image"])
    inverted = invert(state.networks, images[: len(images) // 2])
    generator, count = generator_of(state.networks), len(images) - len(inverted)
    source, target = (random_codes(generator, count) for _ in range(2))
    return _drawn(state, torch.cat([source, inverted]), torch.cat([target, inverted.roll(1, 0)]), config)


def paired_cases(state: TrainState, batch: Batch, config: Config) -> Case:
    """Two frames of one clip (Sec. 3.3); all of p moves."""
    source, driving = as_input(batch["source_image"]), as_input(batch["driving_image"])
    w_plus, net = invert(state.networks, source), net3d_of(state)
    image = generator_of(state.networks).synthesis(w_plus).float() / 2 + 0.5
    params, truth = net(image), driving / 2 + 0.5
    return Case(w_plus, image, params, change_between(state.networks, params, net(truth), config), truth)


def _drawn(state: TrainState, source: Tensor, target: Tensor, config: Config) -> Case:
    """Codes (b, layers, w_dim) each; half of the samples move one attribute by a random amount."""
    net, synthesis = net3d_of(state), generator_of(state.networks).synthesis
    images = [synthesis(w_plus).float() / 2 + 0.5 for w_plus in (source, target)]
    params, wanted = (net(image) for image in images)
    change = change_between(state.networks, params, wanted, config)
    return Case(source, images[0], params, with_single_attributes(change, config.directions.scale))


def with_single_attributes(change: Tensor, a: float) -> Tensor:
    """Delta p (b, k), in half of the samples [0, ..., epsilon_i, ..., 0] with epsilon_i ~ U[-a, a]."""
    b, k = change.shape
    at = torch.randint(k, (b, 1), device=change.device)
    amount = (2 * torch.rand(b, 1, device=change.device) - 1) * a
    single = torch.zeros_like(change).scatter(1, at, amount)
    return torch.where(torch.rand(b, 1, device=change.device) < SINGLE_SHARE, single, change)


def change_between(modules: nn.ModuleDict, source: FaceParams, target: FaceParams, config: Config) -> Tensor:
    """(b, k) Delta p of equation 2, rescaled."""
    count = config.directions.expressions
    before, after = pose_vector(source, count), pose_vector(target, count)
    return poses_of(modules).change(before, after, a=config.directions.scale)


@torch.no_grad()
def measure_ranges(generator: Generator, net: Net3d, config: Config) -> Tensor:
    """(k, 2) range of each element of p over generated pictures (Sec. 3.1: 10,000 of them).

    Differs: the paper does not say what it takes as the range; here the outermost half percent on either side is left
    out, so that one strange picture does not stretch it.
    """
    draw = torch.Generator().manual_seed(SEED)
    z = torch.randn(config.reenactment.measured_pictures, generator.mapping.z_dim, generator=draw)
    found = []
    for part in z.split(MEASURED_AT_ONCE):
        images = generator(part.to(generator.mapping.w_mean.device)).float() / 2 + 0.5
        found.append(pose_vector(net(images), config.directions.expressions))
    limits = torch.tensor([TAILS, 1 - TAILS], device=found[0].device)
    return torch.quantile(torch.cat(found), limits, dim=0).mT.contiguous()


def random_codes(generator: Generator, count: int) -> Tensor:
    """(count, layers, w_dim) of random z."""
    device = generator.mapping.w_mean.device
    with full_precision(generator.mapping.w_mean):
        return generator.broadcast(generator.mapping(torch.randn(count, generator.mapping.z_dim, device=device)))


def invert(modules: nn.ModuleDict, images: Tensor) -> Tensor:
    """(b, 3, s, s) in [-1, 1] to w+."""
    return encoder_of(modules).eval()(images).float()


@torch.no_grad()
def preview(
    state: TrainState, batch: Batch, config: Config, *, cases: Callable[[TrainState, Batch, Config], Case]
) -> NDArray[np.uint8]:
    """Sources; below them what the averaged A makes of them with their change of p; in `paired` the truth."""
    shown = {name: value[:PREVIEWED] for name, value in batch.items()}
    case = cases(state, shown, config)
    made = generator_of(state.averaged).synthesis(matrix_of(state.averaged).move(case.w_plus, case.change))
    rows = [case.image, made.float() / 2 + 0.5] + ([] if case.truth is None else [case.truth])
    return to_uint8(torch.cat([torch.cat(list(row), -1) for row in rows], -2)[None])[0]


@torch.no_grad()
def validate(state: TrainState, config: Config, root: Path) -> dict[str, float]:
    """How well inverted held-out faces follow other frames of their clips, measured by Net_3D on what the averaged A
    makes of them.

    Returns:
        pose: mean absolute error of yaw, pitch and roll in degrees, still: that of the source itself; expression: that
        of p_e; lips: correlation of the lips' openness over the samples; csim, where an identity network is used.
    """
    batch, net = held_out(root, config, VALIDATED, pairs=True), net3d_of(state)
    columns: dict[str, list[Tensor]] = {"source": [], "wanted": [], "made": []}
    csim: list[Tensor] = []
    device = poses_of(state.networks).ranges.device
    for start in range(0, len(batch["source_image"]), MEASURED_AT_ONCE):
        part = {name: value[start : start + MEASURED_AT_ONCE].to(device) for name, value in batch.items()}
        case = paired_cases(state, part, config)
        assert case.truth is not None
        made = generator_of(state.averaged).synthesis(matrix_of(state.averaged).move(case.w_plus, case.change))
        made = made.float() / 2 + 0.5
        found = [case.source, net(case.truth), net(made)]
        for name, params in zip(columns, found, strict=True):
            columns[name].append(torch.cat([pose_vector(params, config.directions.expressions), lips(params)], 1))
        if "identity" in state.frozen:
            embed = identity_of(state)
            csim.append(1 - identity_distance(embed(made, found[2].landmarks), embed(case.image, found[0].landmarks)))
    source, wanted, made = (torch.cat(column) for column in columns.values())
    numbers = {
        "pose": torch.rad2deg((made - wanted)[:, :3].abs().mean()),
        "still": torch.rad2deg((source - wanted)[:, :3].abs().mean()),
        "expression": (made - wanted)[:, 3:-1].abs().mean(),
        "lips": torch.corrcoef(torch.stack([made[:, -1], wanted[:, -1]]))[0, 1],
    }
    if csim:
        numbers["csim"] = torch.cat(csim).mean()
    return {name: float(value) for name, value in numbers.items()}


def lips(params: FaceParams) -> Tensor:
    """(t, 1) openness of the lips."""
    return mouth_openness(params.landmarks)[:, None]


def dataset(root: Path, config: Config, seed: int, samples: int, *, pairs: bool) -> Dataset[Batch]:
    return FramedFaces(root, "train", config, seed=seed, samples=samples, pairs=pairs)


def save_weights(path: Path, state: TrainState, config: Config, metadata: dict[str, str], *, stage: StageName) -> None:
    save_parts(path, state, tuple(state.averaged), metadata, stage=stage)


def load_weights(path: Path, state: TrainState, *, needed: tuple[str, ...]) -> None:
    """Start from the weights of an earlier stage; what is not `needed` starts anew where the file lacks it.

    Raises:
        InputError: as `load_parts`.
    """
    load_parts(path, state, needed=needed, optional=[name for name in state.networks if name not in needed])


def matrix_of(modules: nn.ModuleDict) -> DirectionMatrix:
    return cast(DirectionMatrix, modules["matrix"])


def poses_of(modules: nn.ModuleDict) -> PoseSpace:
    return cast(PoseSpace, modules["poses"])


def net3d_of(state: TrainState) -> Net3d:
    return cast(Net3d, state.frozen["net3d"])


def _stage(
    name: StageName,
    cases: Callable[[TrainState, Batch, Config], Case],
    data: Callable[[Path, Config, int, int], Dataset[Batch]],
    *,
    needed: tuple[str, ...],
) -> Stage:
    return Stage(
        configure=lambda config: config.of_stage(name),
        networks=networks,
        optimizers=optimizers,
        dataset=data,
        collate=default_collate,
        train_step=partial(train_step, cases=cases),
        preview=partial(preview, cases=cases),
        save_weights=partial(save_weights, stage=name),
        load_weights=partial(load_weights, needed=needed),
        frozen=frozen,
        schedule=schedule,
        validate=validate,
        criterion="pose",
    )


SYNTHETIC = _stage(
    "synthetic", synthetic_cases, lambda root, config, seed, samples: Nothing(samples), needed=("generator",)
)
MIXED = _stage("mixed", mixed_cases, partial(dataset, pairs=False), needed=("generator", "encoder"))
PAIRED = _stage(
    "paired", paired_cases, partial(dataset, pairs=True), needed=("generator", "encoder", "matrix", "poses")
)
