"""The stage `eg3d`: who learns what, that it learns, exact resume, previews."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from portrayal.errors import InputError
from portrayal.systems.otavatar import train_eg3d
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.dual_discriminator import DualDiscriminator, pair, real_pair
from portrayal.train.loop import RunOptions, train
from portrayal.train.state import TrainState
from tests.data.made_faces import make_folder

CONFIG = Config.tiny()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data") / "faces", frames=8)


@pytest.fixture(scope="module")
def batch(folder):
    data = train_eg3d.dataset(folder, CONFIG, 0, 4)
    return train_eg3d.STAGE.collate([data[i] for i in range(4)])


def start(config: Config = CONFIG) -> TrainState:
    torch.manual_seed(0)
    live, averaged = (nn.ModuleDict(train_eg3d.networks(config)) for _ in range(2))
    averaged.load_state_dict(live.state_dict())
    return TrainState(live, averaged.eval(), train_eg3d.optimizers(live, config))


def test_both_networks_learn_and_every_term_is_there(batch) -> None:
    state = start()
    before = {name: p.detach().clone() for name, p in state.networks.named_parameters()}
    terms = [train_eg3d.train_step(state, batch, CONFIG)]
    unmoved = {n for n, p in state.networks.named_parameters() if torch.equal(p, before[n])}
    # The super-resolution never adds noise.
    assert {name for name in unmoved if not ("super_resolution" in name and "noise" in name)} == set()
    assert {n.split(".")[0] for n in before} == {"generator", "discriminator"}
    state.step = 1
    terms.append(train_eg3d.train_step(state, batch, CONFIG))
    always = {"adversarial", "discriminator", "signs", "augmentation"}
    assert set(terms[0]) == always | {"density", "r1"}
    assert set(terms[1]) == always
    assert all(bool(value.isfinite()) for some in terms for value in some.values())


def test_a_step_of_the_generator_leaves_the_discriminator_alone(batch) -> None:
    state = start()
    before = {name: p.detach().clone() for name, p in state.networks["discriminator"].named_parameters()}
    train_eg3d.generator_step(state, batch, CONFIG)
    assert all(torch.equal(p, before[name]) for name, p in state.networks["discriminator"].named_parameters())
    assert state.networks["generator"].w_mean.abs().sum() > 0


def test_the_faces_come_nearer_to_the_real_ones(batch) -> None:
    """After 60 steps the mean picture is much nearer than at the start."""
    config = replace(CONFIG, eg3d=replace(CONFIG.eg3d, augment_target=0.0))
    state = start(config)
    wanted = (batch["picture"].float() / 127.5 - 1).mean(0)

    def distance() -> float:
        with torch.no_grad():
            made = train_eg3d.draw_faces(train_eg3d.generator_of(state.networks), batch["camera"], 0.5).view
        assert made.picture is not None
        return float((made.picture.mean(0) - wanted).square().mean().sqrt())

    first = distance()
    for _ in range(60):
        train_eg3d.train_step(state, batch, config)
        state.step += 1
    assert distance() < 0.6 * first


def test_the_swap_fades() -> None:
    state = start()
    assert train_eg3d.swap_share(state, CONFIG) == 1
    state.step = 10  # 40 of 100 pictures
    assert train_eg3d.swap_share(state, CONFIG) == pytest.approx(0.8)
    state.step = 1000
    assert train_eg3d.swap_share(state, CONFIG) == pytest.approx(0.5)


def test_a_swapped_face_does_not_know_its_camera(batch) -> None:
    generator = train_eg3d.generator_of(start().networks)
    camera = batch["camera"]
    found = {}
    for swap in (0.0, 1.0):
        torch.manual_seed(1)
        found[swap] = train_eg3d.random_latents(generator, camera, swap)
    torch.manual_seed(1)
    torch.rand(4, 1)
    z = torch.randn(4, CONFIG.generator.z_dim)
    torch.testing.assert_close(found[0.0], generator.latents(z, camera))
    torch.testing.assert_close(found[1.0], generator.latents(z, camera.roll(1, 0)))


def test_pairs_and_their_changes() -> None:
    torch.manual_seed(0)
    picture = torch.rand(4, 3, 32, 32)
    both = real_pair(picture, 16)
    assert torch.equal(both[:, :3], picture)
    torch.testing.assert_close(both[:, 3:].mean((2, 3)), picture.mean((2, 3)), atol=0.03, rtol=0)
    assert both[:, 3:].std() < 0.8 * picture.std()
    discriminator = DualDiscriminator(32, CONFIG.eg3d)
    assert discriminator.augmented(both) is both
    discriminator.augmentation.fill_(1)
    changed = discriminator.augmented(torch.cat([picture, picture], 1))
    assert not torch.equal(changed[:, :3], picture)
    assert torch.equal(changed[:, :3], changed[:, 3:])


def test_augmentation_follows_the_signs() -> None:
    discriminator = DualDiscriminator(32, CONFIG.eg3d)
    discriminator.follow(1.0, 20, target=0.6, span=200)
    assert float(discriminator.augmentation) == pytest.approx(0.1)
    discriminator.follow(0.0, 10, target=0.6, span=200)
    assert float(discriminator.augmentation) == pytest.approx(0.05)
    discriminator.follow(1.0, 10, target=0.0, span=200)
    assert float(discriminator.augmentation) == pytest.approx(0.05)


def test_a_pair_shows_the_rendering_enlarged() -> None:
    raw = torch.zeros(1, 3, 16, 16)
    raw[..., :8] = 1
    both = pair(torch.zeros(1, 3, 32, 32), raw)
    assert both.shape == (1, 6, 32, 32)
    assert both[0, 3, 16, 4] == 1
    assert both[0, 3, 16, 28] == 0


class Stop(Exception):
    pass


def test_a_resumed_run_equals_a_whole_one(folder, tmp_path) -> None:
    config = replace(CONFIG, steps=6)

    def options(name: str) -> RunOptions:
        return RunOptions(
            data=folder,
            out=tmp_path / name,
            device="cpu",
            precision="32-true",
            workers=0,
            save_every_steps=3,
            log_every_steps=1,
            preview_every_steps=3,
        )

    def stopping(state, batch, config):
        if state.step == 4:
            raise Stop
        return train_eg3d.train_step(state, batch, config)

    whole = train(train_eg3d.STAGE, config, options("whole"), name="otavatar eg3d")
    with pytest.raises(Stop):
        train(replace(train_eg3d.STAGE, train_step=stopping), config, options("parts"), name="otavatar eg3d")
    parts = train(train_eg3d.STAGE, config, options("parts"), name="otavatar eg3d")
    one, other = load_file(whole), load_file(parts)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    lines = [
        [json.loads(line) for line in path.open()]
        for path in (tmp_path / name / "metrics.jsonl" for name in ("whole", "parts"))
    ]
    for a, b in zip(*lines, strict=True):
        assert all(a[k] == b[k] for k in ("step", "adversarial", "discriminator", "augmentation"))


def test_the_preview_has_five_rows(batch) -> None:
    sheet = train_eg3d.preview(start(), batch, CONFIG)
    assert sheet.shape == (5 * 32, 4 * 32, 3)
    assert torch.equal(torch.from_numpy(sheet[:32, :32]), batch["picture"][0].permute(1, 2, 0))
    assert sheet[64:96].std() > 0


def test_weights_start_another_run(tmp_path) -> None:
    state, other = start(), start()
    with torch.no_grad():
        for p in state.averaged.parameters():
            p.add_(0.5)
    train_eg3d.save_weights(tmp_path / "a.safetensors", state, CONFIG, {})
    train_eg3d.load_weights(tmp_path / "a.safetensors", other)
    for mine, theirs in zip(
        other.networks["generator"].parameters(), state.averaged["generator"].parameters(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=2e-3, rtol=2e-3)
    larger = replace(CONFIG, generator=replace(CONFIG.generator, w_dim=32))
    with pytest.raises(InputError, match=r"a\.safetensors does not fit the generator of this preset"):
        train_eg3d.load_weights(tmp_path / "a.safetensors", start(larger))
