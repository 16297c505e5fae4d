"""The stage `decouple`: Algorithm 1, decoupling by inverting."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from portrayal.errors import InputError
from portrayal.media.image import to_uint8
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.controller import Controller
from portrayal.systems.otavatar.encoder import FaceEncoder, build_encoder
from portrayal.systems.otavatar.generator import TriplaneGenerator
from portrayal.systems.otavatar.inversion import find_identity, first_identity, view_faces
from portrayal.systems.otavatar.losses import density_loss, feature_networks, view_loss
from portrayal.systems.otavatar.pairs import Faces, FramePairs
from portrayal.systems.otavatar.train_eg3d import load_network, names_of
from portrayal.train.initial import save_network
from portrayal.train.schedule import Schedule
from portrayal.train.stage import Batch, Stage
from portrayal.train.state import TrainState

PREVIEWED = 2
CONTROLLER, GENERATOR, ENCODER = "controller", "generator", "encoder"


def networks(config: Config) -> dict[str, nn.Module]:
    """Controller and generator; the latter's mapping network, which nothing is drawn through, stays as it is, and so
    does an encoder, unless it is finetuned."""
    generator = TriplaneGenerator(config.generator)
    generator.backbone.mapping.requires_grad_(False)
    controller = Controller(config.controller, layers=generator.layers, w_dim=config.generator.w_dim)
    chosen: dict[str, nn.Module] = {GENERATOR: generator, CONTROLLER: controller}
    encoder = build_encoder(config)
    return chosen if encoder is None else chosen | {ENCODER: encoder.requires_grad_(config.decouple.finetune_encoder)}


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    """Those of the official recipe, and the encoder's."""
    settings = config.decouple
    generator = [p for p in modules[GENERATOR].parameters() if p.requires_grad]
    encoder = [p for p in modules[ENCODER].parameters() if p.requires_grad] if ENCODER in modules else []
    own: dict[str, torch.optim.Optimizer] = {}
    if encoder:
        own[ENCODER] = torch.optim.Adam(encoder, lr=config.autoencoding.encoder_rate)
    return {
        CONTROLLER: torch.optim.AdamW(
            modules[CONTROLLER].parameters(),
            lr=settings.controller_rate,
            betas=(0.5, 0.999),
            weight_decay=settings.controller_decay,
        ),
        GENERATOR: torch.optim.Adam(generator, lr=settings.generator_rate, betas=(0.9, 0.9999)),
        **own,
    }


def schedule(config: Config) -> Schedule:
    """Steps down, for both optimizers; in the official code those of the controller are undone in every batch."""
    every = config.decouple.decay_every_steps
    falls = tuple(range(every, config.steps, every))
    return Schedule("milestones" if falls else "constant", warmup_steps=0, milestones=falls, factor=0.2)


def dataset(root: Path, config: Config, seed: int, samples: int) -> Dataset[Batch]:
    return FramePairs(
        root,
        "train",
        size=config.generator.size,
        seed=seed,
        samples=samples,
        rows=config.controller.rows,
        framing=config.generator.framing,
        photo_share=config.decouple.photo_share,
        mirror=config.decouple.mirror,
    )


def frozen(config: Config) -> dict[str, nn.Module]:
    return feature_networks(config.decouple)


def train_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    """One turn of the outer loop of Algorithm 1; line 17, the average, is the training loop's.

    Raises:
        InputError: with --accumulate, because the controller learns several times from one batch.
    """
    if state.gradients.parts > 1:
        raise InputError("the stage decouple learns several times from each batch; leave --accumulate out")
    settings, faces = config.decouple, Faces.of(batch)  # line 2
    generator, controller = generator_of(state.networks), controller_of(state.networks)
    if settings.controller_start == "averaged":  # line 4
        controller.load_state_dict(state.averaged[CONTROLLER].state_dict())

    w, bias, terms = identity_phase(state, faces, config)  # lines 3, 6 to 10
    for _ in range(settings.motion_steps):  # lines 11 and 12
        with state.only(CONTROLLER):
            loss = pair_loss(state, generator, controller(faces.window), w, bias, faces, config, enlarge=True)
            state.backward(loss)
            state.step_optimizer(CONTROLLER, clip=settings.clip)
            terms["motion"] = loss

    learns = {GENERATOR: True, CONTROLLER: settings.finetune_controller, ENCODER: settings.finetune_encoder}
    learners = [name for name, does in learns.items() if does and name in state.optimizers]
    with state.only(*learners):  # lines 15 and 16
        followed = followed_code(state, faces, w) if ENCODER in learners else w
        loss = pair_loss(state, generator, controller(faces.window), followed, bias, faces, config, enlarge=True)
        state.backward(loss)
        for name in learners:
            state.step_optimizer(name, clip=settings.clip)
    terms["loss"] = loss
    return {name: term.detach() for name, term in terms.items()}


def identity_phase(state: TrainState, faces: Faces, config: Config) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """w_id and the bias, one of each pair for both of its faces, with the loss before the first and the last step."""
    settings = config.decouple
    modules = state.networks if settings.inverted_generator == "live" else state.averaged
    generator = generator_of(modules)
    pairs = len(faces.picture) // 2
    with state.only():
        with torch.no_grad():
            motion = controller_of(state.networks)(faces.window)

        def objective(w: Tensor, bias: Tensor, step: int) -> Tensor:
            return pair_loss(state, generator, motion, w.repeat(2, 1), bias.repeat(2, 1), faces, config, enlarge=False)

        found = find_identity(objective, first_code(state, generator, faces, motion), pairs, settings)
    ends = {"identity_first": 0, "identity_last": -1} if found.losses else {}
    terms = {name: found.w.new_tensor(found.losses[at]) for name, at in ends.items()}
    return found.w.repeat(2, 1), found.bias.repeat(2, 1), terms


def first_code(state: TrainState, generator: TriplaneGenerator, faces: Faces, motion: Tensor) -> Tensor:
    """Line 3: w_avg (w_dim,); with an encoder what both faces of each pair say on average, (b, w_dim)."""
    # The averaged one, because it is in evaluation mode: an encoder in training changes with what it sees.
    encoder = dict(state.averaged.items()).get(ENCODER)
    first = first_identity(encoder, generator.w_mean, faces.picture, motion)
    return first if encoder is None else first.unflatten(0, (2, -1)).mean(0)


def followed_code(state: TrainState, faces: Faces, w: Tensor) -> Tensor:
    """w (2 b, w_dim) as it is, with the gradient of what the encoder says of both faces of each pair on average."""
    codes = cast(FaceEncoder, state.networks[ENCODER])(faces.picture).unflatten(0, (2, -1)).mean(0)
    return w + (codes - codes.detach()).repeat(2, 1)


def pair_loss(
    state: TrainState,
    generator: TriplaneGenerator,
    motion: Tensor,
    w: Tensor,
    bias: Tensor,
    faces: Faces,
    config: Config,
    *,
    enlarge: bool,
) -> Tensor:
    """L_s + L_d (lines 7 and 8): twice the mean over the 2 b faces is the sum of both means."""
    settings = config.decouple
    view, planes = view_faces(generator, w, motion, bias, faces, settings, enlarge=enlarge)
    seen = view_loss(view, faces, dict(state.frozen.items()), settings.losses)
    return 2 * (seen + density_loss(generator, planes, settings.losses))


def generator_of(modules: nn.ModuleDict) -> TriplaneGenerator:
    return cast(TriplaneGenerator, modules[GENERATOR])


def controller_of(modules: nn.ModuleDict) -> Controller:
    return cast(Controller, modules[CONTROLLER])


def preview(state: TrainState, batch: Batch, config: Config) -> NDArray[np.uint8]:
    """Rows: sources and driving frames; both as the averaged networks show them after inverting the pairs anew."""
    faces = Faces.of({name: value[:PREVIEWED] for name, value in batch.items()})
    shown = TrainState(state.averaged, state.averaged, {}, state.frozen)
    w, bias, _ = identity_phase(shown, faces, config)
    with torch.no_grad():
        motion = controller_of(state.averaged)(faces.window)
        view, _ = view_faces(generator_of(state.averaged), w, motion, bias, faces, config.decouple, enlarge=True)
    assert view.picture is not None
    rows = [torch.cat(list(images.float() / 2 + 0.5), -1) for images in (faces.picture, view.picture)]
    return to_uint8(torch.cat(rows, -2)[None])[0]


def save_weights(path: Path, state: TrainState, config: Config, metadata: dict[str, str]) -> None:
    save_network(path, state.averaged, metadata, system="otavatar", stage="decouple")


def load_weights(path: Path, state: TrainState) -> None:
    """Start from a weights file of this stage, or all but the controller from one of `eg3d` (line 1).

    Raises:
        InputError: the file is of another layout; names the first tensor that does not fit.
    """
    for name in state.networks:
        if name != CONTROLLER or name in names_of(path):
            load_network(path, state, name)


STAGE = Stage(
    configure=Config.decoupled,
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
)
