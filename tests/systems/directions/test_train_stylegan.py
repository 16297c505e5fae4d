"""The stage `stylegan`: its terms, what each step changes, ADA, exact resume, what the files hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from portrayal.errors import InputError
from portrayal.systems.directions import train_stylegan as stylegan
from portrayal.systems.directions.config import Config, GanConfig
from portrayal.systems.directions.faces import as_input
from portrayal.systems.directions.parts import build_generator
from portrayal.train.checkpoint import latest_checkpoint
from portrayal.train.loop import RunOptions, train
from portrayal.train.stage import Batch
from portrayal.train.state import TrainState
from tests.data.made_faces import make_folder
from tests.systems.directions.training import changed, start, values

TINY = Config.tiny().of_stage("stylegan")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data") / "faces")


@pytest.fixture(scope="module")
def batch(folder: Path) -> Batch:
    data = stylegan.dataset(folder, TINY, 0, 4)
    return stylegan.STAGE.collate([data[i] for i in range(4)])  # type: ignore[index]


def test_the_terms_of_every_step(batch: Batch) -> None:
    state = start(stylegan.STAGE, TINY)
    always, lazy = {"generator", "discriminator", "signs", "probability"}, {"r1", "path_length", "path_penalty"}
    for step in range(4):
        state.step = step
        terms = stylegan.train_step(state, batch, TINY)
        assert set(terms) == (always | lazy if step % 2 == 0 else always)
        assert all(bool(term.isfinite()) and not term.requires_grad for term in terms.values())


def test_each_optimizer_changes_its_own_network(batch: Batch) -> None:
    state, real = start(stylegan.STAGE, TINY), as_input(batch["image"])
    for step, name in ((stylegan.discriminator_step, "discriminator"), (stylegan.generator_step, "generator")):
        before = values(state)
        step(state, real, TINY)
        moved = changed(state, before)
        assert moved == {n for n, _ in state.networks.named_parameters() if n.startswith(name)}
        assert all(p.grad is None for p in state.networks.parameters())


def test_regularisations_are_weighted_by_their_interval(batch: Batch) -> None:
    """Plain gradient descent with rate 1 from the same start: the change is the gradient, of the penalty alone."""
    real = as_input(batch["image"])

    def gradient(r1: float, interval: int) -> torch.Tensor:
        config = replace(TINY, gan=replace(TINY.gan, r1=r1, r1_interval=interval))
        state = start(stylegan.STAGE, config)
        parameters = list(state.networks["discriminator"].parameters())
        state.optimizers["discriminator"] = torch.optim.SGD(parameters, lr=1.0)
        weight = state.networks["discriminator"].from_rgb.weight
        before = weight.detach().clone()
        torch.manual_seed(1)
        stylegan.discriminator_step(state, real, config)
        return before - weight.detach()

    plain = gradient(0, 1)
    once, often = gradient(0.5, 2) - plain, gradient(2, 4) - plain
    assert float(once.abs().max()) > 1e-6
    torch.testing.assert_close(often, 8 * once, rtol=1e-3, atol=1e-6)


def test_the_mean_w_follows(batch: Batch) -> None:
    state = start(stylegan.STAGE, TINY)
    assert float(state.networks["generator"].mapping.w_mean.abs().sum()) == 0
    stylegan.train_step(state, batch, TINY)
    assert float(state.networks["generator"].mapping.w_mean.abs().sum()) > 0


def test_mixed_styles_are_two_ws() -> None:
    generator = build_generator(TINY)
    ws = stylegan.draw_styles(generator, 200, TINY)
    kinds = torch.tensor([len(torch.unique(w, dim=0)) for w in ws])
    assert set(kinds.tolist()) == {1, 2}
    assert 0.8 < float((kinds == 2).float().mean()) < 0.98
    single = stylegan.draw_styles(generator, 8, replace(TINY, gan=replace(TINY.gan, style_mixing=0)))
    assert torch.equal(single, single[:, :1].expand_as(single))


@pytest.mark.parametrize(("signs", "expected"), [(1.0, 0.58), (0.2, 0.42)])
def test_p_rises_with_the_discriminators_confidence(signs: float, expected: float) -> None:
    state = start(stylegan.STAGE, TINY)
    progress = stylegan.progress_of(state.networks)
    progress.probability.fill_(0.5)
    progress.signs.fill_(8 * signs)
    progress.pictures.fill_(8)
    stylegan.adjust(progress, state.gradients, TINY)  # 8 of 100 pictures
    assert float(progress.probability) == pytest.approx(expected)
    assert float(progress.signs) == float(progress.pictures) == 0


def test_p_changes_on_its_interval(batch: Batch) -> None:
    state = start(stylegan.STAGE, TINY)
    progress, seen = stylegan.progress_of(state.networks), []
    for step in range(4):
        state.step = step
        stylegan.train_step(state, batch, TINY)
        seen.append(float(progress.pictures))
    assert seen == [4, 0, 4, 0]


def test_four_steps_equal_two_and_two_more(folder: Path, tmp_path: Path) -> None:
    """Bit for bit, with p above 0 and every regularisation on the way."""
    gan = GanConfig(r1=0.1, r1_interval=2, path_interval=3, adjust_interval=1, span=20, target=-2, measured_pictures=4)
    config = replace(TINY, steps=4, gan=gan)
    quick = {"data": folder, "device": "cpu", "precision": "32-true", "workers": 0, "save_every_steps": 2}

    class Stop(Exception):
        pass

    def stop_after_two(state: TrainState, batch: Batch, config: Config) -> dict[str, torch.Tensor]:
        if state.step == 2:
            raise Stop
        return stylegan.train_step(state, batch, config)

    train(stylegan.STAGE, config, RunOptions(out=tmp_path / "whole", **quick))  # type: ignore[arg-type]
    broken = replace(stylegan.STAGE, train_step=stop_after_two)
    with pytest.raises(Stop):
        train(broken, config, RunOptions(out=tmp_path / "parts", **quick))  # type: ignore[arg-type]
    train(stylegan.STAGE, config, RunOptions(out=tmp_path / "parts", **quick))  # type: ignore[arg-type]
    ends = []
    for run in ("whole", "parts"):
        checkpoint = latest_checkpoint(tmp_path / run)
        assert checkpoint is not None
        ends.append(torch.load(checkpoint / "state.pt", weights_only=True))
    for half in ("networks", "averaged"):
        assert all(torch.equal(value, ends[1][half][name]) for name, value in ends[0][half].items())
    assert float(ends[0]["networks"]["progress.probability"]) == pytest.approx(0.8)
    assert float(ends[0]["networks"]["progress.path_length"]) > 0
    best = json.loads((tmp_path / "whole" / "best.json").read_text())
    assert best["criterion"] == "fid_tracker"


def test_previews_show_the_averaged_generator_at_fixed_z(batch: Batch) -> None:
    state = start(stylegan.STAGE, TINY)
    first = stylegan.preview(state, batch, TINY)
    assert first.shape == (4 * 32, 6 * 32, 3)
    torch.manual_seed(5)
    assert (stylegan.preview(state, batch, TINY) == first).all()
    tiles = first.reshape(4, 32, 6, 32, 3).transpose(0, 2, 1, 3, 4).reshape(24, -1)
    picture = (stylegan.generated(state.averaged["generator"], 24)[0][7] * 255).round()  # type: ignore[arg-type]
    assert (tiles[7].reshape(32, 32, 3) == picture.permute(1, 2, 0).detach().numpy().astype("uint8")).all()
    stylegan.train_step(state, batch, TINY)
    assert (stylegan.preview(state, batch, TINY) == first).all()
    state.average(0.1)
    assert (stylegan.preview(state, batch, TINY) != first).any()


def test_fid_and_kid_fall_when_the_pictures_are_alike(
    folder: Path, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = start(stylegan.STAGE, TINY)
    numbers = stylegan.validate(state, TINY, folder)
    assert {"fid_tracker", "kid_tracker"} <= set(numbers)
    stylegan.train_step(state, batch, TINY)
    assert stylegan.validate(state, TINY, folder) == numbers, "the averaged generator is measured"
    real = stylegan.real_pictures(folder, TINY, 8).float() / 255
    monkeypatch.setattr(stylegan, "generated", lambda generator, count: [real.flip(0)])
    alike = stylegan.validate(state, TINY, folder)
    assert abs(alike["fid_tracker"]) < 1e-3 < numbers["fid_tracker"]
    assert alike["kid_tracker"] < numbers["kid_tracker"]


def test_weights_go_through_a_file(batch: Batch, tmp_path: Path) -> None:
    state, path = start(stylegan.STAGE, TINY), tmp_path / "weights.safetensors"
    stylegan.train_step(state, batch, TINY)
    state.average(0.5)
    stylegan.save_weights(path, state, TINY, {"step": "1"})
    with safe_open(path, "pt") as file:
        about = {"system": "directions", "stage": "stylegan", "licence": "Apache-2.0", "step": "1"}
        assert file.metadata() == about
    other = start(stylegan.STAGE, TINY)
    stylegan.load_weights(path, other)
    for part in ("generator", "discriminator"):
        for mine, theirs in zip(other.networks[part].parameters(), state.averaged[part].parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, atol=2e-3, rtol=1e-3)
    wider = replace(TINY, generator=replace(TINY.generator, w_dim=48))
    with pytest.raises(InputError, match="does not fit the generator of this preset of directions: its tensor"):
        stylegan.load_weights(path, start(stylegan.STAGE, wider))


@pytest.mark.slow
def test_it_learns_to_draw_what_it_sees(batch: Batch) -> None:
    """One bright picture over and over: the mean brightness comes near in a few steps."""
    config = replace(TINY, learning_rate=4e-3, gan=replace(TINY.gan, r1_interval=100, path_length=0, span=10**6))
    state = start(stylegan.STAGE, config)
    same = {"image": torch.full((4, 3, 32, 32), 200, dtype=torch.uint8)}

    def distance() -> float:
        with torch.no_grad():
            pictures = torch.cat(stylegan.generated(state.networks["generator"], 8))  # type: ignore[arg-type]
        return float((pictures.mean((2, 3)) - 200 / 255).abs().mean())

    first = distance()
    for step in range(1, 31):
        state.step = step
        stylegan.train_step(state, same, config)
    assert distance() < 0.75 * first
