"""Algorithm 1: who learns when, that it learns, exact resume, previews."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from portrayal.errors import InputError
from portrayal.face.camera import mirror_camera
from portrayal.face.topology import MIRROR
from portrayal.systems.otavatar import train_decouple, train_eg3d
from portrayal.systems.otavatar.coefficients import mirror_coefficients
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.pairs import Faces, FramePairs
from portrayal.systems.otavatar.training_config import LossWeights
from portrayal.train.loop import RunOptions, train
from portrayal.train.schedule import learning_rate_factor
from portrayal.train.state import TrainState
from tests.data.made_faces import make_folder

CONFIG = Config.tiny().decoupled()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data") / "faces", frames=8)


@pytest.fixture(scope="module")
def batch(folder):
    data = train_decouple.dataset(folder, CONFIG, 0, 2)
    return train_decouple.STAGE.collate([data[i] for i in range(2)])


def start(config: Config = CONFIG) -> TrainState:
    torch.manual_seed(0)
    live, averaged = (nn.ModuleDict(train_decouple.networks(config)) for _ in range(2))
    averaged.load_state_dict(live.state_dict())
    return TrainState(live, averaged.eval(), train_decouple.optimizers(live, config))


def with_(config: Config = CONFIG, **changes) -> Config:
    return replace(config, decouple=replace(config.decouple, **changes))


def test_the_mapping_network_is_left_alone() -> None:
    """Nothing is drawn through it here: w_id is found without it."""
    learning = {name for name, p in start().networks.named_parameters() if p.requires_grad}
    assert not any("mapping" in name for name in learning)
    assert any(name.startswith("generator.backbone.synthesis") for name in learning)


def test_samples_are_two_frames_of_one_clip(folder) -> None:
    data = FramePairs(folder, "train", size=32, seed=0, samples=4, rows=70)
    sample = data[1]
    assert sample["source_window"].shape == sample["driving_window"].shape == (70, 27)
    assert not torch.equal(sample["source_camera"], sample["driving_camera"])
    assert not torch.equal(sample["source_window"], sample["driving_window"])
    assert all(torch.equal(data[1][name], value) for name, value in sample.items())
    irises = sample["source_landmarks"][[468, 473]]
    assert bool(((irises > 4) & (irises < 28)).all())


def test_some_pairs_are_photos_and_some_are_mirrored(folder) -> None:
    """A photo says nothing about time; a mirror shows the picture, its points and its camera together."""
    photos = FramePairs(folder, "train", size=32, seed=0, samples=4, rows=73, photo_share=0.999)
    sample = photos[0]
    assert torch.equal(sample["driving_window"], sample["driving_window"][:, :1].expand(-1, 27))
    assert not torch.equal(sample["source_window"], sample["driving_window"])
    plain = FramePairs(folder, "train", size=32, seed=0, samples=12, rows=73)
    mirrors = FramePairs(folder, "train", size=32, seed=0, samples=12, rows=73, mirror=True)
    pairs = [(plain[i], mirrors[i]) for i in range(12)]
    turned = [b for a, b in pairs if not torch.equal(a["source_picture"], b["source_picture"])]
    assert 2 < len(turned) < 10
    one, other = next((a, b) for a, b in pairs if not torch.equal(a["source_picture"], b["source_picture"]))
    flipped = one["source_picture"].flip(-1).float()
    assert (other["source_picture"].float() - flipped).abs().mean() < 3
    x = 32 - one["source_landmarks"][list(MIRROR), 0]
    torch.testing.assert_close(other["source_landmarks"][:, 0], x, atol=0.05, rtol=0)
    torch.testing.assert_close(other["source_camera"], mirror_camera(one["source_camera"]), atol=1e-4, rtol=0)
    torch.testing.assert_close(other["source_window"].mT, mirror_coefficients(one["source_window"].mT))


def test_the_order_of_algorithm_1(batch, monkeypatch) -> None:
    """N_id steps of w alone, then N_mo of the controller, then one of the generator."""
    state, happened = start(), []
    step, find = TrainState.step_optimizer, train_decouple.find_identity

    def stepped(self, name, **about):
        happened.append(name)
        return step(self, name, **about)

    def found(objective, mean, count, settings):
        before = {name: p.clone() for name, p in state.networks.state_dict().items()}
        result = find(objective, mean, count, settings)
        assert all(torch.equal(p, before[name]) for name, p in state.networks.state_dict().items())
        assert torch.equal(mean, state.networks["generator"].w_mean)
        assert (count, len(result.losses)) == (2, CONFIG.decouple.identity_steps)
        happened.append("w")
        return result

    monkeypatch.setattr(TrainState, "step_optimizer", stepped)
    monkeypatch.setattr(train_decouple, "find_identity", found)
    terms = train_decouple.train_step(state, batch, CONFIG)
    assert happened == ["w", "controller", "controller", "generator"]
    assert all(bool(term.isfinite()) for term in terms.values())
    happened.clear()
    train_decouple.train_step(state, batch, with_(finetune_controller=True))
    assert happened == ["w", "controller", "controller", "generator", "controller"]


def test_each_batch_starts_from_the_averaged_controller(batch) -> None:
    for choice, expected in (("averaged", True), ("live", False)):
        config = with_(controller_start=choice, controller_rate=0.0)
        state = start(config)
        with torch.no_grad():
            state.networks["controller"].book.mul_(-1.5)
        train_decouple.train_step(state, batch, config)
        same = torch.equal(state.networks["controller"].book, state.averaged["controller"].book)
        assert same is expected


def test_the_generator_that_is_inverted_is_the_one_that_was_chosen(batch) -> None:
    losses = {}
    for choice in ("live", "averaged"):
        config = with_(inverted_generator=choice)
        state = start(config)
        with torch.no_grad():
            for p in state.averaged["generator"].parameters():
                p.mul_(1.5)
        faces = Faces.of(batch)
        torch.manual_seed(3)
        losses[choice] = train_decouple.identity_phase(state, faces, config)[2]["identity_first"]
    assert losses["live"] != losses["averaged"]


def test_it_learns_a_batch(batch) -> None:
    config = with_(
        losses=LossWeights(perceptual=0, identity=0, local=1, density_points=50),
        generator_rate=3e-3,
        identity_rate=0.05,
    )
    state, seen = start(config), []
    for _ in range(15):
        terms = train_decouple.train_step(state, batch, config)
        state.average(config.ema)
        state.step += 1
        seen.append(terms["loss"].item())
    assert seen[-1] < 0.6 * seen[0]
    assert terms["identity_last"] < terms["identity_first"]


def test_every_parameter_in_use_learns(batch) -> None:
    config = with_(controller_start="live")
    state = start(config)
    before = {name: p.detach().clone() for name, p in state.networks.named_parameters()}
    for _ in range(2):  # the first moves the zero biases of the last layer
        train_decouple.train_step(state, batch, config)
    still = {name for name, p in state.networks.named_parameters() if torch.equal(p, before[name])}
    # w is found and not mapped from z, and the super-resolution adds no noise.
    assert {n for n in still if "mapping" not in n and not ("super_resolution" in n and "noise" in n)} == set()


def test_parts_of_batches_are_refused(batch) -> None:
    state = start()
    state.gradients.parts = 2
    with pytest.raises(InputError, match="leave --accumulate out"):
        train_decouple.train_step(state, batch, CONFIG)


def test_the_rates_step_down() -> None:
    schedule = train_decouple.STAGE.schedule(replace(CONFIG, steps=20_001))
    factors = [learning_rate_factor(schedule, step, 20_001) for step in (0, 9_999, 10_000, 20_000)]
    assert factors == pytest.approx([1, 1, 0.2, 0.04])
    assert learning_rate_factor(train_decouple.STAGE.schedule(CONFIG), 40, 50) == 1
    assert learning_rate_factor(train_eg3d.STAGE.schedule(CONFIG), 0, 50) == 1


class Stop(Exception):
    pass


def test_a_resumed_run_equals_a_whole_one(folder, tmp_path) -> None:
    config = replace(CONFIG, steps=4)

    def options(name: str) -> RunOptions:
        about = {"device": "cpu", "precision": "32-true", "workers": 0, "log_every_steps": 1}
        return RunOptions(data=folder, out=tmp_path / name, save_every_steps=2, preview_every_steps=2, **about)

    def stopping(state, batch, config):
        if state.step == 3:
            raise Stop
        return train_decouple.train_step(state, batch, config)

    whole = train(train_decouple.STAGE, config, options("whole"), name="otavatar decouple")
    with pytest.raises(Stop):
        train(replace(train_decouple.STAGE, train_step=stopping), config, options("parts"), name="otavatar decouple")
    parts = train(train_decouple.STAGE, config, options("parts"), name="otavatar decouple")
    one, other = load_file(whole), load_file(parts)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert {name.split(".")[0] for name in one} == {"generator", "controller"}


def test_the_preview_shows_both_frames(batch) -> None:
    state = start()
    before = {name: p.clone() for name, p in state.averaged.state_dict().items()}
    sheet = train_decouple.preview(state, batch, CONFIG)
    assert sheet.shape == (2 * 32, 4 * 32, 3)
    assert torch.equal(torch.from_numpy(sheet[:32, 64:96]), batch["driving_picture"][0].permute(1, 2, 0))
    assert all(torch.equal(p, before[name]) for name, p in state.averaged.state_dict().items())


def test_it_starts_from_a_generator(tmp_path) -> None:
    torch.manual_seed(5)
    first = nn.ModuleDict(train_eg3d.networks(CONFIG))
    eg3d = TrainState(first, first, train_eg3d.optimizers(first, CONFIG))
    train_eg3d.save_weights(tmp_path / "a.safetensors", eg3d, CONFIG, {})
    state = start()
    book = state.networks["controller"].book.clone()
    train_decouple.load_weights(tmp_path / "a.safetensors", state)
    weight = "backbone.mapping.layers.0.weight"
    for modules in (state.networks, state.averaged):
        mine = modules["generator"].get_parameter(weight)
        torch.testing.assert_close(mine, first["generator"].get_parameter(weight), atol=0, rtol=1e-3)
    assert torch.equal(state.networks["controller"].book, book)
    train_decouple.save_weights(tmp_path / "b.safetensors", state, CONFIG, {})
    other = start()
    with torch.no_grad():
        other.networks["controller"].book.zero_()
    train_decouple.load_weights(tmp_path / "b.safetensors", other)
    torch.testing.assert_close(other.networks["controller"].book, book, atol=2e-3, rtol=2e-3)
