"""The encoder that learns along with the generator: what learns when, what copies are compared with, and its use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from portrayal.nn.mobilefacenet import MobileFaceNet
from portrayal.systems.otavatar import animate, autoencoding, train_decouple, train_eg3d
from portrayal.systems.otavatar.autoencoding import pixel_weights, views_of
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.pairs import Faces
from portrayal.systems.otavatar.training_config import AutoencodingConfig
from portrayal.train.loop import RunOptions, train
from portrayal.train.stage import Batch, Stage
from portrayal.train.state import TrainState
from portrayal.types import Portrait
from tests.data.made_faces import make_folder

PLAIN = Config.tiny()
JOINT = replace(
    PLAIN,
    autoencoding=AutoencodingConfig(
        pixel=10,
        perceptual=0,
        encoder_side=32,
        channels=(16, 16, 32, 32),
        units=(1, 1, 1, 1),
        encoder_rate=2e-3,
        discriminator_from=1,
    ),
    generator=replace(PLAIN.generator, head_prior=True, background=4, framing=1.3, mapping_rate=0.3),
)
ALONE = replace(JOINT, autoencoding=replace(JOINT.autoencoding, discriminator_from=1000))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data") / "faces", frames=8)


@pytest.fixture(scope="module")
def batch(folder: Path) -> Batch:
    data = train_eg3d.dataset(folder, JOINT, 0, 4)
    return train_eg3d.STAGE.collate([data[i] for i in range(4)])


def start(config: Config, stage: Stage = train_eg3d.STAGE) -> TrainState:
    torch.manual_seed(0)
    live, averaged = (nn.ModuleDict(stage.networks(config)) for _ in range(2))
    averaged.load_state_dict(live.state_dict())
    frozen = nn.ModuleDict(stage.frozen(config) if stage.frozen else {})
    return TrainState(live, averaged.eval(), stage.optimizers(live, config), frozen)


@pytest.fixture(scope="module")
def trained(batch: Batch) -> tuple[TrainState, list[float]]:
    """A short training, and its errors."""
    state, errors = start(ALONE), []
    for _ in range(60):
        errors.append(float(train_eg3d.train_step(state, batch, ALONE)["pixel"]))
        state.step += 1
    state.average(0.0)
    state.averaged.load_state_dict(state.networks.state_dict())
    return state, errors


def test_the_discriminator_waits(batch: Batch) -> None:
    state = start(JOINT)

    def moved() -> set[str]:
        before = {name: p.detach().clone() for name, p in state.networks.named_parameters()}
        seen.append(set(train_eg3d.train_step(state, batch, JOINT)))
        return {n.split(".")[0] for n, p in state.networks.named_parameters() if not torch.equal(p, before[n])}

    seen: list[set[str]] = []
    assert moved() == {"generator", "encoder"}
    state.step = 1
    assert moved() == {"generator", "encoder", "discriminator"}
    own = {"pixel", "latent"}
    assert seen == [own | {"density"}, own | {"adversarial", "discriminator", "signs", "augmentation"}]


def test_every_parameter_in_use_learns(batch: Batch) -> None:
    state = start(JOINT)
    before = {name: p.detach().clone() for name, p in state.networks.named_parameters()}
    for _ in range(3):
        train_eg3d.train_step(state, batch, JOINT)
        state.step += 1
    still = {n for n, p in state.networks.named_parameters() if torch.equal(p, before[n])}
    assert {n for n in still if not ("super_resolution" in n and "noise" in n)} == set()


def test_without_a_weight_there_is_no_encoder() -> None:
    assert set(train_eg3d.networks(PLAIN)) == {"generator", "discriminator"}
    assert not autoencoding.frozen(PLAIN)
    assert animate.build(PLAIN).encoder is None


def test_the_face_is_compared_by_the_trackers_maps(batch: Batch) -> None:
    config = replace(JOINT, autoencoding=replace(JOINT.autoencoding, perceptual=1))
    state = start(config)
    assert float(train_eg3d.train_step(state, batch, config)["perceptual"]) > 0
    assert not any(p.grad is not None for p in state.frozen.parameters())


def test_the_face_is_compared_by_who_it_is_in_its_own_view(batch: Batch) -> None:
    config = replace(
        JOINT,
        autoencoding=replace(JOINT.autoencoding, identity=1),
        decouple=replace(JOINT.decouple, identity_network="mobilefacenet"),
    )
    state = start(JOINT)
    torch.manual_seed(1)
    state.frozen["identity"] = MobileFaceNet().eval().requires_grad_(False)
    copies, terms = autoencoding.copy_faces(state, state.networks["generator"], batch, config)
    slope = torch.autograd.grad(terms["identity"], copies.view.picture)[0].abs().amax((1, 2, 3))
    assert slope[:2].tolist() == [0, 0]
    assert bool((slope[2:] > 0).all())
    with pytest.raises(ValueError, match=r"needs a decouple\.identity_network"):
        replace(JOINT, autoencoding=config.autoencoding)


def test_momentum_is_the_generators_alone(batch: Batch) -> None:
    config = replace(JOINT, eg3d=replace(JOINT.eg3d, momentum=0.9))
    optimizers = start(config).optimizers
    betas = {name: optimizer.param_groups[0]["betas"][0] for name, optimizer in optimizers.items()}
    assert betas == {"generator": 0.9, "discriminator": 0.0, "encoder": 0.9}


def test_it_learns_to_copy(trained: tuple[TrainState, list[float]]) -> None:
    errors = trained[1]
    assert errors[-1] < 0.6 * errors[0]


def test_half_of_the_views_are_of_another_place(batch: Batch) -> None:
    views = views_of(batch, JOINT)
    assert views.others == 2
    assert torch.equal(views.camera[:2], batch["other_camera"][:2])
    assert torch.equal(views.camera[2:], batch["camera"][2:])
    assert views.picture.shape == batch["picture"].shape


def test_another_frame_says_nothing_about_eyes_and_mouth_nor_the_background(batch: Batch) -> None:
    views = views_of(batch, JOINT)
    weight = pixel_weights(views, JOINT.autoencoding)
    eye = views.landmarks[:, 33].long()
    at_eye = weight[torch.arange(4), 0, eye[:, 1], eye[:, 0]]
    assert at_eye[:2].tolist() == [0, 0]
    assert bool((at_eye[2:] > 4.9).all())
    assert float(weight[:2, :, :, 0].max()) < 0.05
    torch.testing.assert_close(weight[2:, :, :, 0], torch.full_like(weight[2:, :, :, 0], 0.2), atol=0.05, rtol=0)
    nose = views.landmarks[:, 168].long()  # between the eyes
    torch.testing.assert_close(
        weight[torch.arange(4), 0, nose[:, 1], nose[:, 0]], torch.tensor([0.5, 0.5, 1, 1]), atol=0.02, rtol=0
    )


class Stop(Exception):
    pass


def test_a_resumed_run_equals_a_whole_one(folder: Path, tmp_path: Path) -> None:
    """Across the beginning of the discriminator; its file holds generator and encoder."""
    config = replace(JOINT, steps=4, autoencoding=replace(JOINT.autoencoding, discriminator_from=3, perceptual=1))

    def options(name: str) -> RunOptions:
        about = {"device": "cpu", "precision": "32-true", "workers": 0, "save_every_steps": 2, "preview_every_steps": 4}
        return RunOptions(data=folder, out=tmp_path / name, **about)

    def stopping(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
        if state.step == 3:
            raise Stop
        return train_eg3d.train_step(state, batch, config)

    whole = train(train_eg3d.STAGE, config, options("whole"), name="otavatar eg3d")
    with pytest.raises(Stop):
        train(replace(train_eg3d.STAGE, train_step=stopping), config, options("parts"), name="otavatar eg3d")
    parts = train(train_eg3d.STAGE, config, options("parts"), name="otavatar eg3d")
    one, other = load_file(whole), load_file(parts)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert {name.split(".")[0] for name in one} == {"generator", "encoder"}


def test_preview_shows_copies_and_random_faces(batch: Batch) -> None:
    assert train_eg3d.preview(start(JOINT), batch, JOINT).shape == (9 * 32, 4 * 32, 3)


def test_inversion_begins_with_what_the_encoder_sees(
    trained: tuple[TrainState, list[float]], folder: Path, tmp_path: Path
) -> None:
    """In the stage decouple, whose file holds the encoder, and its first loss is smaller than from the average."""
    path = tmp_path / "eg3d.safetensors"
    train_eg3d.save_weights(path, trained[0], ALONE, {})
    config = ALONE.decoupled()
    state = start(config, train_decouple.STAGE)
    train_decouple.load_weights(path, state)
    data = train_decouple.dataset(folder, config, 0, 2)
    pairs = train_decouple.STAGE.collate([data[i] for i in range(2)])
    before = {name: x.clone() for name, x in state.networks["encoder"].state_dict().items()}
    with_encoder = train_decouple.train_step(state, pairs, config)
    assert all(torch.equal(x, before[name]) for name, x in state.networks["encoder"].state_dict().items())

    average = start(config, train_decouple.STAGE)
    train_decouple.load_weights(path, average)
    del average.averaged["encoder"]
    without = train_decouple.identity_phase(average, Faces.of(pairs), config)[2]["identity_first"]
    assert float(with_encoder["identity_first"]) < 0.9 * float(without)

    train_decouple.save_weights(tmp_path / "both.safetensors", state, config, {})
    again = start(config, train_decouple.STAGE)
    train_decouple.load_weights(tmp_path / "both.safetensors", again)
    for name, x in again.averaged["encoder"].state_dict().items():
        torch.testing.assert_close(x, state.averaged["encoder"].state_dict()[name], atol=2e-2, rtol=2e-3)


def test_decouple_can_teach_the_encoder(folder: Path) -> None:
    config = replace(ALONE, decouple=replace(ALONE.decouple, finetune_encoder=True)).decoupled()
    data = train_decouple.dataset(folder, config, 0, 2)
    pairs = train_decouple.STAGE.collate([data[i] for i in range(2)])
    state = start(config, train_decouple.STAGE)
    w = torch.randn(4, config.generator.w_dim)
    followed = train_decouple.followed_code(state, Faces.of(pairs), w)
    torch.testing.assert_close(followed, w)
    before = {name: p.detach().clone() for name, p in state.networks["encoder"].named_parameters()}
    for _ in range(2):
        train_decouple.train_step(state, pairs, config)
    assert not any(torch.equal(p, before[name]) for name, p in state.networks["encoder"].named_parameters())


def test_without_inner_steps_the_code_is_the_encoders(folder: Path) -> None:
    own = {"identity_steps": 0, "motion_steps": 0, "finetune_encoder": True, "finetune_controller": True}
    config = replace(
        ALONE, decouple=replace(ALONE.decouple, **own), avatar=replace(ALONE.avatar, identity_steps=3)
    ).decoupled()
    data = train_decouple.dataset(folder, config, 0, 2)
    pairs = train_decouple.STAGE.collate([data[i] for i in range(2)])
    state = start(config, train_decouple.STAGE)
    before = {name: p.detach().clone() for name, p in state.networks.named_parameters()}
    assert set(train_decouple.train_step(state, pairs, config)) == {"loss"}
    moved = {n.split(".")[0] for n, p in state.networks.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"generator", "controller", "encoder"}
    assert train_decouple.preview(state, pairs, config).shape == (2 * 32, 4 * 32, 3)


def test_a_portrait_begins_as_the_encoder_sees_it(portrait: Portrait) -> None:
    torch.manual_seed(0)
    model = animate.build(JOINT).eval()
    assert model.encoder is not None
    faces = animate.framed(model, portrait)
    with torch.no_grad():
        code: Tensor = model.encoder(faces.picture) - model.controller(faces.window).mean(1)
    identity = animate.encode_source(model, portrait).identity
    torch.testing.assert_close(identity, model.generator.broadcast(code))


def test_a_photo_can_be_inverted_in_more_steps_than_training_takes() -> None:
    more = replace(JOINT, avatar=replace(JOINT.avatar, identity_steps=40))
    assert (more.inversion.identity_steps, more.decouple.identity_steps) == (40, 3)
    assert JOINT.inversion == JOINT.decouple
