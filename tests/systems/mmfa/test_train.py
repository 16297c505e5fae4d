"""The stages: what a step teaches, what it leaves alone, what the files hold."""

from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F

from portrayal.errors import InputError
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.systems.mmfa import train as main
from portrayal.systems.mmfa import train_vae
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.deform import Deformation
from portrayal.systems.mmfa.loss_config import LossConfig
from portrayal.train.stage import Stage
from portrayal.train.state import TrainState
from tests.data.made_faces import make_folder

TERMS = {
    "pixel", "adversarial", "feature_matching", "equivariance", "keypoint", "deformation", "expression", "identity",
    "landmarks_face", "landmarks_mouth", "landmarks_pupil", "discriminator",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data") / "faces", frames=8)


@pytest.fixture(scope="module")
def batch(folder):
    data = main.dataset(folder, Config.tiny(), 0, 2)
    return main.STAGE.collate([data[0], data[1]])


def start(stage: Stage, config: Config) -> TrainState:
    torch.manual_seed(0)
    networks, averaged = (nn.ModuleDict(stage.networks(config)) for _ in range(2))
    averaged.load_state_dict(networks.state_dict())
    frozen = nn.ModuleDict(stage.frozen(config)) if stage.frozen else nn.ModuleDict()
    return TrainState(networks, averaged.eval(), stage.optimizers(networks, config), frozen)


def test_a_step_logs_every_term_of_equation_14_and_changes_both_networks(batch):
    state = start(main.STAGE, Config.tiny())
    before = {name: p.detach().clone() for name, p in state.networks.named_parameters()}
    terms = main.train_step(state, batch, Config.tiny())
    assert set(terms) == TERMS
    assert all(bool(term.isfinite()) for term in terms.values())
    still = {n for n, p in state.networks.named_parameters() if p.requires_grad and torch.equal(p, before[n])}
    assert not {name for name in still if not name.endswith("bias")}  # those before a batch norm have no effect
    latent = [n for n, p in state.networks.named_parameters() if not p.requires_grad]
    assert latent
    assert all(name.startswith("model.vae.") for name in latent)


def test_a_term_without_weight_is_not_computed(batch):
    loss = LossConfig(
        perceptual_networks=(), perceptual=0, pixel=1, adversarial=0, feature_matching=0, equivariance=0, keypoint=0,
        deformation=0, expression=0, identity=0, landmarks_face=0, landmarks_mouth=0, landmarks_pupil=0,
    )  # fmt: skip
    config = replace(Config.tiny(), loss=loss)
    state = start(main.STAGE, config)
    assert set(state.networks) == {"model"}
    assert not state.frozen
    assert set(main.train_step(state, batch, config)) == {"pixel"}


def test_the_perceptual_networks_of_the_configuration_are_used(batch):
    loss = replace(Config.tiny().loss, perceptual_networks=("tracker",), perceptual=1.0)
    config = replace(Config.tiny(), loss=loss)
    state = start(main.STAGE, config)
    assert {"tracker", "landmarks"} == set(state.frozen)
    assert float(main.train_step(state, batch, config)["perceptual"]) > 0


def test_equation_3_learns_its_rotation_from_the_tracker(batch):
    tiny = Config.tiny()
    loss = replace(tiny.loss, identity=0, landmarks_face=0, landmarks_mouth=0, landmarks_pupil=0)
    config = replace(tiny, decomposition="face-vid2vid", affine="network", loss=replace(loss, head_pose=20))
    state = start(main.STAGE, config)
    steps = [main.train_step(state, batch, config) for _ in range(12)]
    assert float(steps[-1]["head_pose"]) < 0.7 * float(steps[0]["head_pose"])
    assert "expression" not in steps[0]


def test_the_learned_affine_estimator_gets_gradients_too(batch):
    config = replace(Config.tiny(), affine="network")
    state = start(main.STAGE, config)
    before = main.model_of(state.networks).affine.scale.weight.detach().clone()
    main.train_step(state, batch, config)
    assert not torch.equal(main.model_of(state.networks).affine.scale.weight, before)


def test_a_deformed_face_has_the_pose_of_its_landmarks(batch):
    face = main.Face.of(batch, "driving")
    deformation = Deformation.random_similarity(
        2, angle=0.4, zoom=1.2, shift=0.1, generator=torch.Generator().manual_seed(2)
    )
    moved = main.deform(face, deformation)
    fitted = fit_params(load_face_model(), moved.landmarks, width=64, height=64, shared_identity=False)
    torch.testing.assert_close(moved.rotation, fitted.rotation, atol=0.02, rtol=0)
    torch.testing.assert_close(moved.scale, fitted.scale, rtol=0.02, atol=0)
    torch.testing.assert_close(moved.translation, fitted.translation, atol=0.5, rtol=0)
    # Turned in the plane: R' = Rz R.
    turn = (moved.rotation @ face.rotation.mT)[:, :2, :2]
    size = torch.linalg.det(deformation.linear).sqrt()[:, None, None]
    torch.testing.assert_close(turn, torch.linalg.inv(deformation.linear) * size, atol=1e-3, rtol=0)


def test_the_picture_of_a_deformed_face_shows_it_where_its_landmarks_are(batch):
    face = main.Face.of(batch, "driving")
    moved = main.deform(face, main.random_deformation(face.image, Config.tiny()))
    places = [(f.landmarks[:, None, :468, :2] * 2 / 64 - 1) for f in (face, moved)]
    colours = [F.grid_sample(f.image, p, align_corners=False) for f, p in zip((face, moved), places, strict=True)]
    assert float((colours[0] - colours[1]).abs().mean()) < 0.02


def test_preview_and_validation(folder, batch):
    state, config = start(main.STAGE, Config.tiny()), Config.tiny()
    fixed = main.preview_batch(folder, config)
    assert main.preview(state, fixed, config).shape == (3 * 64, len(fixed["source"]) * 64, 3)
    numbers = main.validate(state, config, folder)
    assert numbers == main.validate(state, config, folder)
    assert 3 < numbers["psnr"] < 40
    assert 0 < numbers["loss"] < 1


def test_weights_go_through_a_file(tmp_path, batch):
    config, path = Config.tiny(), tmp_path / "weights.safetensors"
    state = start(main.STAGE, config)
    main.train_step(state, batch, config)
    state.average(0.5)
    main.save_weights(path, state, config, {"step": "1"})
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"system": "mmfa", "stage": "main", "licence": "Apache-2.0", "step": "1"}
        assert {name.split(".")[0] for name in file.keys()} >= {"detector", "generator", "vae"}  # noqa: SIM118
    other = start(main.STAGE, config)
    main.load_weights(path, other)
    for mine, theirs in zip(other.networks["model"].parameters(), state.averaged["model"].parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-3)
    wider = replace(config, discriminator=(8, 8), detector=replace(config.detector, keypoints=11))
    with pytest.raises(InputError, match=r"weights\.safetensors does not fit this preset of mmfa: its tensor .* is "):
        main.load_weights(path, start(main.STAGE, wider))


def test_the_latent_stage_trains_the_latent_space_alone(tmp_path, batch):
    config, path = Config.tiny(), tmp_path / "weights.safetensors"
    before = start(main.STAGE, config)
    main.train_step(before, batch, config)
    before.average(0.5)
    main.save_weights(path, before, config, {})
    state = start(train_vae.STAGE, config)
    with pytest.raises(InputError, match="needs a trained main model: give its weights file with --init"):
        train_vae.train_step(state, batch, config)
    train_vae.STAGE.load_weights(path, state)
    values = {name: p.detach().clone() for name, p in state.networks.named_parameters()}
    terms = train_vae.train_step(state, batch, config)
    assert set(terms) == {"feature", "kl", "adversarial", "discriminator"}
    changed = {n for n, p in state.networks.named_parameters() if not torch.equal(p, values[n])}
    expected = {n for n in values if n.startswith(("model.vae.", "discriminator."))}
    assert changed == expected
    assert main.model_of(state.networks).vae.trained
    picture = train_vae.preview(state, batch, config)
    assert picture.shape == (2 * 64, (1 + train_vae.INTERPOLATED) * 64, 3)
    train_vae.save_weights(path, state, config, {})
    with safe_open(path, "pt") as file:
        assert file.metadata()["stage"] == "vae"


def test_equation_3_has_no_latent_space():
    tiny = Config.tiny()
    config = replace(tiny, decomposition="face-vid2vid", affine="network")
    with pytest.raises(InputError, match="decomposition must be mmfa"):
        train_vae.networks(config)


def test_the_latent_stage_of_the_light_renderer_needs_no_pictures(tmp_path, folder):
    config, path = train_vae.configure(Config.tiny().lightened()), tmp_path / "weights.safetensors"
    data = train_vae.dataset(folder, config, 0, 2)
    batch = train_vae.STAGE.collate([data[0], data[1]])
    assert set(batch) == {"expression"}
    state = start(train_vae.STAGE, config)
    with pytest.raises(InputError, match="needs a trained main model: give its weights file with --init"):
        train_vae.train_step(state, batch, config)
    model = train_vae.model_of(state.networks)
    for name, mean in model.expression_decoder.named_buffers():
        if name.endswith("running_mean"):
            mean.fill_(0.1)
    values = {name: p.detach().clone() for name, p in state.networks.named_parameters()}
    first = train_vae.train_step(state, batch, config)["feature"]
    for _ in range(60):
        terms = train_vae.train_step(state, batch, config)
    assert set(terms) == {"feature", "kl", "adversarial", "discriminator"}
    assert float(terms["feature"]) < 0.8 * float(first)
    changed = {n for n, p in state.networks.named_parameters() if not torch.equal(p, values[n])}
    assert changed == {n for n in values if n.startswith(("model.vae.", "discriminator."))}
    state.average(0.5)
    picture = train_vae.preview(state, train_vae.preview_batch(folder, config), config)
    assert picture.shape == (4 * 64, (1 + train_vae.INTERPOLATED) * 64, 3)
    train_vae.save_weights(path, state, config, {})
    other = start(train_vae.STAGE, config)
    train_vae.load_weights(path, other)
    assert train_vae.model_of(other.networks).vae.trained
