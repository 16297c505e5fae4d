"""The encoder that learns along with the generator: what learns when, what is compared, resume, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from portrayal.systems.directions import autoencoding, train_encoder
from portrayal.systems.directions import train_stylegan as stylegan
from portrayal.systems.directions.config import AutoencodingConfig, Config
from portrayal.systems.directions.faces import as_input
from portrayal.train.stage import Batch
from tests.data.made_faces import make_folder
from tests.systems.directions.training import changed, start, values

PLAIN = Config.tiny().of_stage("stylegan")
JOINT = replace(PLAIN, autoencoding=AutoencodingConfig(pixel=10, perceptual=0, alone_steps=1, encoder_rate=2e-3))


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    data = stylegan.dataset(make_folder(tmp_path_factory.mktemp("data") / "faces"), JOINT, 0, 4)
    return stylegan.STAGE.collate([data[i] for i in range(4)])  # type: ignore[index]


def test_the_discriminator_waits(batch: Batch) -> None:
    state = start(stylegan.STAGE, JOINT)
    before, own = values(state), {"pixel", "delta", "latent", "probability"}
    assert set(stylegan.train_step(state, batch, JOINT)) == own
    assert {name.split(".")[0] for name in changed(state, before)} == {"generator", "encoder"}
    state.step = 1
    before = values(state)
    assert set(stylegan.train_step(state, batch, JOINT)) == own | {"generator", "discriminator", "signs"}
    assert {name.split(".")[0] for name in changed(state, before)} == {"generator", "encoder", "discriminator"}


def test_without_a_weight_there_is_no_encoder(batch: Batch) -> None:
    assert set(stylegan.networks(PLAIN)) == {"generator", "discriminator", "progress"}
    assert not autoencoding.frozen(PLAIN)


def test_it_learns_to_copy(batch: Batch) -> None:
    config = replace(JOINT, autoencoding=replace(JOINT.autoencoding, alone_steps=100))
    state = start(stylegan.STAGE, config)
    errors = [float(stylegan.train_step(state, batch, config)["pixel"]) for _ in range(40)]
    assert errors[-1] < 0.5 * errors[0]


def test_the_encoder_stage_starts_from_its_file(batch: Batch, tmp_path: Path) -> None:
    state = start(stylegan.STAGE, JOINT)
    stylegan.train_step(state, batch, JOINT)
    state.average(0.0)
    stylegan.save_weights(tmp_path / "joint.safetensors", state, JOINT, {})
    after = start(train_encoder.STAGE, JOINT)
    train_encoder.load_weights(tmp_path / "joint.safetensors", after)
    images = as_input(batch["image"])
    ours, theirs = (train_encoder.encoder_of(s.averaged)(images) for s in (after, state))
    torch.testing.assert_close(ours, theirs, atol=0.05, rtol=0.02)


def test_preview_shows_true_pictures_and_their_copies(batch: Batch) -> None:
    state = start(stylegan.STAGE, JOINT)
    assert stylegan.preview(state, batch, JOINT).shape == (5 * 32 + 32, 6 * 32, 3)
