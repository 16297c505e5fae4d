"""The stage `encoder`: its terms, what each optimizer changes, progressive opening, resume, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from portrayal.errors import InputError
from portrayal.nn.mobilefacenet import ALIGNED_POINTS, INPUT_SIZE, MobileFaceNet
from portrayal.nn.pretrained import DEV_WEIGHTS
from portrayal.systems.directions import train_encoder as stage
from portrayal.systems.directions import train_stylegan
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.features import Identity
from portrayal.train.checkpoint import latest_checkpoint
from portrayal.train.loop import RunOptions, train
from portrayal.train.stage import Batch
from portrayal.train.state import TrainState
from tests.data.made_faces import make_folder
from tests.systems.directions.training import changed, start, values

AT_ONCE = Config.tiny().of_stage("encoder")
TINY = replace(AT_ONCE, inversion=replace(AT_ONCE.inversion, progressive_start=2, progressive_every=1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data") / "faces")


@pytest.fixture(scope="module")
def batch(folder: Path) -> Batch:
    data = stage.dataset(folder, TINY, 0, 4)
    return stage.STAGE.collate([data[i] for i in range(4)])  # type: ignore[index]


def test_layers_open_progressively() -> None:
    assert [stage.open_layers(step, TINY) for step in (0, 1, 2, 3, 8, 100)] == [1, 1, 2, 3, 8, 8]
    assert stage.open_layers(0, AT_ONCE) == 8
    paper = Config.paper()
    assert [stage.open_layers(step, paper) for step in (19_999, 20_000, 22_000, 44_000)] == [1, 2, 3, 14]


def test_terms_and_what_learns(batch: Batch) -> None:
    config = replace(TINY, inversion=replace(TINY.inversion, perceptual=1, perceptual_network="tracker"))
    state = start(stage.STAGE, config)
    state.step = 100
    before = values(state)
    terms = stage.train_step(state, batch, config)
    assert set(terms) == {"pixel", "perceptual", "delta", "adversarial", "discriminator", "r1"}
    assert all(bool(term.isfinite()) and not term.requires_grad for term in terms.values())
    assert float(terms["delta"]) > 0
    names = changed(state, before)
    assert {name.split(".")[0] for name in names} == {"encoder", "latent_discriminator"}
    encoder = {n for n, _ in state.networks.named_parameters() if n.startswith("encoder")}
    assert encoder <= names, "every weight of the encoder learns"
    state.step = 101
    assert "r1" not in stage.train_step(state, batch, TINY)


def test_closed_heads_stay_what_they_are(batch: Batch) -> None:
    state = start(stage.STAGE, TINY)
    before = values(state)
    assert float(stage.train_step(state, batch, TINY)["delta"]) == 0
    heads = {name.split(".")[2] for name in changed(state, before) if ".styles." in name}
    assert heads == {"0"}


def test_offset_norms_by_hand() -> None:
    w_plus = torch.zeros(2, 4, 2)
    w_plus[:, 0] = 1
    w_plus[:, 1] = torch.tensor([4.0, 5.0])
    w_plus[:, 2:] = 1
    w_plus[1, 2] = torch.tensor([1.0, 3.0])
    assert float(stage.offset_norms(w_plus, 4)) == pytest.approx((5 + 7) / 2)
    assert float(stage.offset_norms(w_plus, 2)) == pytest.approx(5)
    assert stage.codes_of(w_plus, 3).shape == (6, 2)


def test_identity_counts_where_it_has_a_weight(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    made = Identity(MobileFaceNet(), size=INPUT_SIZE, places=ALIGNED_POINTS)
    monkeypatch.setattr(stage, "load_identity", lambda name: made)
    config = replace(TINY, inversion=replace(TINY.inversion, identity=1.0, adversarial=0))
    state = start(stage.STAGE, config)
    assert set(state.frozen) == {"identity"}
    terms = stage.train_step(state, batch, config)
    assert set(terms) == {"pixel", "identity", "delta"}
    images = torch.rand(4, 3, 32, 32)
    assert float(stage.picture_terms(state, images, images, batch["landmarks"], config)["identity"]) < 1e-5
    assert float(terms["identity"]) > 1e-4


def test_a_missing_identity_network_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEV_WEIGHTS, raising=False)
    wanted = replace(TINY.inversion, identity=1.0, identity_network="mobilefacenet")
    with pytest.raises(InputError, match="set the weight of the identity loss to 0"):
        stage.frozen(replace(TINY, inversion=wanted))


def test_an_untrained_generator_is_refused(batch: Batch) -> None:
    state = start(stage.STAGE, TINY)
    state.networks["generator"].mapping.w_mean.zero_()  # type: ignore[operator, union-attr]
    with pytest.raises(InputError, match="needs a trained generator: give its weights file with --init"):
        stage.train_step(state, batch, TINY)


def test_it_starts_from_the_generators_weights_at_the_mean(batch: Batch, tmp_path: Path) -> None:
    gan_config = TINY.of_stage("stylegan")
    gan, path = start(train_stylegan.STAGE, gan_config), tmp_path / "gan.safetensors"
    for _ in range(2):
        train_stylegan.train_step(gan, batch, gan_config)
        gan.average(0.5)
    train_stylegan.save_weights(path, gan, gan_config, {})
    state = start(stage.STAGE, TINY)
    stage.load_weights(path, state)
    mean = gan.averaged["generator"].mapping.w_mean  # type: ignore[union-attr]
    for modules in (state.networks, state.averaged):
        bias = modules["encoder"].styles[0].linear.bias  # type: ignore[union-attr, index]
        torch.testing.assert_close(bias, mean, atol=1e-3, rtol=1e-3)
    stage.train_step(state, batch, TINY)
    state.average(0.5)
    stage.save_weights(tmp_path / "encoder.safetensors", state, TINY, {})
    again = start(stage.STAGE, TINY)
    stage.load_weights(tmp_path / "encoder.safetensors", again)
    for mine, theirs in zip(
        again.networks["encoder"].parameters(), state.averaged["encoder"].parameters(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=2e-3, rtol=1e-3)
    save_file({"encoder.a": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="holds no generator"):
        stage.load_weights(tmp_path / "other.safetensors", again)


def test_four_steps_equal_two_and_two_more(folder: Path, tmp_path: Path, batch: Batch) -> None:
    """Bit for bit, with a layer opening on the way."""
    gan_config = TINY.of_stage("stylegan")
    gan, init = start(train_stylegan.STAGE, gan_config), tmp_path / "gan.safetensors"
    for _ in range(2):
        train_stylegan.train_step(gan, batch, gan_config)
        gan.average(0.5)
    train_stylegan.save_weights(init, gan, gan_config, {})
    config = replace(TINY, steps=4)
    quick = {"data": folder, "device": "cpu", "precision": "32-true", "workers": 0, "save_every_steps": 2}
    quick |= {"init": init, "preview_every_steps": 2}

    class Stop(Exception):
        pass

    def stop_after_two(state: TrainState, batch: Batch, config: Config) -> dict[str, torch.Tensor]:
        if state.step == 2:
            raise Stop
        return stage.train_step(state, batch, config)

    train(stage.STAGE, config, RunOptions(out=tmp_path / "whole", **quick))  # type: ignore[arg-type]
    with pytest.raises(Stop):
        train(replace(stage.STAGE, train_step=stop_after_two), config, RunOptions(out=tmp_path / "parts", **quick))  # type: ignore[arg-type]
    train(stage.STAGE, config, RunOptions(out=tmp_path / "parts", **quick))  # type: ignore[arg-type]
    ends = []
    for run in ("whole", "parts"):
        checkpoint = latest_checkpoint(tmp_path / run)
        assert checkpoint is not None
        ends.append(torch.load(checkpoint / "state.pt", weights_only=True))
    assert all(torch.equal(value, ends[1]["networks"][name]) for name, value in ends[0]["networks"].items())
    assert (tmp_path / "whole" / "preview-000004.png").is_file()
    assert (tmp_path / "whole" / "best.safetensors").is_file()


def test_preview_and_validation(folder: Path) -> None:
    state = start(stage.STAGE, TINY)
    shown = stage.preview_batch(folder, TINY)
    assert stage.preview(state, shown, TINY).shape == (2 * 32, 6 * 32, 3)
    numbers = stage.validate(state, TINY, folder)
    assert set(numbers) == {"loss", "psnr"}
    assert numbers == stage.validate(state, TINY, folder)
    assert 0 < numbers["loss"] < 1


@pytest.mark.slow
def test_it_learns_to_invert_a_batch(batch: Batch) -> None:
    config = replace(TINY, inversion=replace(TINY.inversion, adversarial=0, progressive_start=0))
    state = start(stage.STAGE, config)
    seen = []
    for step in range(30):
        state.step = step
        seen.append(float(stage.train_step(state, batch, config)["pixel"]))
    assert min(seen[-3:]) < 0.8 * seen[0]
