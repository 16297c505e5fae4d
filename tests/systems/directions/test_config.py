"""Presets: the paper's numbers, the size of the compact model, combinations that cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from portrayal.systems.directions import train_encoder, train_stylegan
from portrayal.systems.directions.config import Config, DirectionsConfig, EncoderConfig, GanConfig
from portrayal.systems.directions.matrix import DirectionMatrix
from portrayal.systems.directions.parts import build_encoder, build_generator
from portrayal.systems.directions.train_directions import MIXED, PAIRED, SYNTHETIC
from portrayal.train.run import override
from portrayal.train.run_folder import config_json
from portrayal.train.schedule import learning_rate_factor
from portrayal.train.stage import Stage
from portrayal.weights.registry import config_from_dict


def test_the_papers_numbers() -> None:
    """Section 4, "Implementation details"."""
    paper = Config.paper()
    assert (paper.image_size, paper.directions.layers, paper.directions.expressions) == (256, 8, 12)
    assert paper.directions.attributes == 15
    synthetic, paired = paper.of_stage("synthetic"), paper.of_stage("paired")
    assert (synthetic.batch, synthetic.steps, synthetic.learning_rate) == (12, 20_000, 1e-4)
    assert paired.steps == 150_000
    assert paper.of_stage("stylegan").batch == 64


@pytest.mark.parametrize("stage", [train_stylegan.STAGE, train_encoder.STAGE, SYNTHETIC, MIXED, PAIRED])
def test_the_learning_rate_is_constant(stage: Stage) -> None:
    """Section 4: "constant learning rate 0.0001"; StyleGAN2 and e4e likewise."""
    factors = {learning_rate_factor(stage.schedule(Config.paper()), step, 100) for step in (0, 50, 99)}
    assert factors == {1.0}


@pytest.mark.parametrize(("size", "limit"), [(128, 14e6), (64, 14e6)])
def test_the_compact_model_is_small(size: int, limit: float) -> None:
    config = replace(Config.compact(), image_size=size)
    with torch.device("meta"):
        parts = [
            build_generator(config),
            build_encoder(config),
            DirectionMatrix(config.directions.attributes, w_dim=config.generator.w_dim, layers=8),
        ]
    numbers = sum(value.numel() for part in parts for value in part.state_dict().values())
    assert 0.5 * limit < 2 * numbers < limit if size == 128 else 2 * numbers < limit


def test_combinations_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"directions\.layers 11 is more than the 10"):
        replace(Config.tiny(), image_size=64, directions=DirectionsConfig(layers=11))
    with pytest.raises(ValueError, match="power of two"):
        replace(Config.tiny(), image_size=100)
    with pytest.raises(ValueError, match="photo_share"):
        replace(Config.tiny(), photo_share=1.5)
    with pytest.raises(ValueError, match="must have four numbers"):
        EncoderConfig(units=(1, 2))
    with pytest.raises(ValueError, match=r"gan\.r1_interval must be at least 1"):
        GanConfig(r1_interval=0)


@pytest.mark.parametrize("preset", [Config.tiny, Config.compact, Config.paper])
def test_presets_survive_a_weights_file(preset: Callable[[], Config]) -> None:
    assert config_from_dict(Config, json.loads(config_json(preset()))) == preset()


def test_fields_can_be_changed_on_the_command_line() -> None:
    changed = override(Config.compact(), ["--config.image-size", "64", "--config.gan.r1", "0.05"])
    assert (changed.image_size, changed.gan.r1) == (64, 0.05)
    assert changed.encoder == Config.compact().encoder
