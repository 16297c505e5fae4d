"""The presets, and what they differ in."""

from dataclasses import asdict, replace

import pytest

from portrayal.systems.otavatar.config import Config, ControllerConfig
from portrayal.systems.otavatar.training_config import AutoencodingConfig, DecoupleConfig
from portrayal.weights.registry import config_from_dict


def test_paper_and_official_differ_where_the_facts_say() -> None:
    paper, official = Config.paper(), Config.official()
    assert (paper.generator.size, paper.generator.neural_size) == (512, 64)
    assert (paper.generator.rays.coarse_samples, paper.generator.rays.fine_samples) == (48, 48)
    assert (paper.controller.rows, paper.controller.mlp) == (73, "separate")
    assert (official.controller.rows, official.controller.mlp) == (70, "shared")
    assert (paper.generator.plane_axes, official.generator.plane_axes) == ("orthogonal", "legacy")
    assert paper.decouple.identity_steps == official.decouple.identity_steps == 90


@pytest.mark.parametrize("name", ["tiny", "compact", "paper", "official"])
def test_presets_survive_being_written(name: str) -> None:
    config = getattr(Config, name)()
    assert config_from_dict(Config, asdict(config)) == config
    assert config.decoupled().batch == config.decouple.batch


def test_a_photo_is_inverted_without_the_network_of_the_identity_term() -> None:
    """Which the package does not hold."""
    compact = Config.compact()
    assert compact.decouple.losses.identity > 0
    assert compact.inversion.losses == replace(compact.decouple.losses, identity=0, openings=0)
    assert Config.official().inversion.losses == Config.official().decouple.losses


def test_bad_combinations_are_explained() -> None:
    with pytest.raises(ValueError, match="frames must be 27"):
        ControllerConfig(frames=25)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"losses\.perceptual needs a perceptual_network"):
        DecoupleConfig(perceptual_network="none")
    with pytest.raises(ValueError, match=r"losses\.identity needs an identity_network"):
        replace(Config.tiny().decouple, losses=DecoupleConfig().losses, perceptual_network="tracker")
    joint = replace(Config.tiny(), autoencoding=AutoencodingConfig(pixel=1))
    with pytest.raises(ValueError, match=r"autoencoding needs generator\.z_dim and w_dim to be alike, got 16 and 32"):
        replace(joint, generator=replace(joint.generator, w_dim=32))
    with pytest.raises(ValueError, match="must have four numbers"):
        AutoencodingConfig(units=(1, 1))
    with pytest.raises(ValueError, match=r"other_share must be at least 0 and below 1, got 1\.0"):
        AutoencodingConfig(other_share=1.0)
    with pytest.raises(ValueError, match="must not be negative"):
        replace(Config.tiny().decouple, motion_steps=-1)
    with pytest.raises(ValueError, match="the controller learns nothing"):
        replace(Config.tiny().decouple, motion_steps=0)
    with pytest.raises(ValueError, match="with an encoder only"):
        replace(Config.tiny(), decouple=replace(Config.tiny().decouple, identity_steps=0))
