"""The light renderer's stages: what each teaches and leaves alone, and that they learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from portrayal.errors import InputError
from portrayal.nn.pretrained import DEV_WEIGHTS
from portrayal.systems.mmfa import light_train
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.guided import EYES, GUIDES, MOUTH
from portrayal.systems.mmfa.light_config import LightLosses
from portrayal.train.stage import Stage
from portrayal.train.state import TrainState
from tests.data.made_faces import make_folder

LOSSES = LightLosses(features=0, landmarks=1, adversarial=0.2, feature_matching=1)


def small(**training) -> Config:
    config = Config.tiny().lightened()
    return replace(config, light_training=replace(config.light_training, photo_share=0, **training))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data") / "faces", frames=8)


@pytest.fixture(scope="module")
def batch(folder):
    data = light_train.KEYPOINTS.dataset(folder, small(), 0, 4)
    return light_train.LIGHT.collate([data[i] for i in range(4)])


def start(stage: Stage, config: Config) -> TrainState:
    torch.manual_seed(0)
    networks, averaged = (nn.ModuleDict(stage.networks(config)) for _ in range(2))
    averaged.load_state_dict(networks.state_dict())
    frozen = nn.ModuleDict(stage.frozen(config)) if stage.frozen else nn.ModuleDict()
    return TrainState(networks, averaged.eval(), stage.optimizers(networks, config), frozen)


def changed(state: TrainState, step) -> set[str]:
    """The parts of the model, and other networks, of which a parameter moves in the step."""
    before = {name: p.detach().clone() for name, p in state.networks.named_parameters()}
    step()
    moved = {name for name, p in state.networks.named_parameters() if not torch.equal(p, before[name])}
    return {".".join(name.split(".")[:2]) if name.startswith("model") else name.split(".")[0] for name in moved}


def test_the_renderer_learns_alone(batch):
    config = small()
    state = start(light_train.LIGHT, config)
    assert set(state.networks) == {"model"}
    assert changed(state, lambda: light_train.renderer_step(state, batch, config)) == {"model.renderer"}


def test_every_term_is_there_and_the_discriminator_learns_too(batch):
    config = small(losses=LOSSES, guided=False)
    state, terms = start(light_train.LIGHT, config), {}
    step = lambda: terms.update(light_train.renderer_step(state, batch, config))  # noqa: E731
    assert changed(state, step) == {"model.renderer", "discriminator"}
    wanted = {"pixels", "moved", "painted", "landmarks", "adversarial", "feature_matching", "discriminator", "psnr"}
    assert set(terms) == wanted | {"gradient"}
    assert all(bool(term.isfinite()) for term in terms.values())


def test_the_renderer_learns_a_batch(batch):
    config = replace(small(point_noise=0.0), learning_rate=5e-3)
    state = start(light_train.LIGHT, config)
    seen = [float(light_train.renderer_step(state, batch, config)["psnr"]) for _ in range(40)]
    assert seen[-1] > seen[0] + 1


def test_the_keypoints_learn_the_guides(batch):
    config = replace(small(), learning_rate=3e-3)
    state, seen = start(light_train.KEYPOINTS, config), []
    step = lambda: seen.append(light_train.keypoint_step(state, batch, config))  # noqa: E731
    parts = changed(state, step)
    assert parts == {"model.detector", "model.expression_encoder", "model.expression_decoder"}
    for _ in range(40):
        step()
    for term in ("canonical", "points"):
        assert seen[-1][term].item() < 0.5 * seen[0][term].item()


def test_eyes_and_mouth_weigh_more():
    points = torch.full((1, len(GUIDES), 3), 5.0)  # far away
    assert torch.equal(light_train.attention(points), torch.ones(1, 1, 64, 64))
    points[:, EYES.start, :2] = torch.tensor([-0.5, 0.25])
    points[:, MOUTH.start, :2] = 0.5
    weight = light_train.attention(points)[0, 0]
    assert float(weight.max()) == pytest.approx(3, abs=0.1)
    assert weight[40, 16] > 2.9  # y 0.25, x -0.5
    assert weight[48, 48] > 2.9
    assert weight[0, 0] == pytest.approx(1, abs=1e-3)


def test_windows_show_the_middle():
    picture = torch.zeros(1, 1, 128, 128)
    picture[..., 63:65, 63:65] = 1
    for _ in range(50):
        window = picture[light_train.random_window(128)]
        assert window.shape[-2:] == (64, 64)
        assert window.sum() == 4


def test_a_missing_feature_network_is_explained(monkeypatch):
    monkeypatch.delenv(DEV_WEIGHTS, raising=False)
    with pytest.raises(InputError, match=r"set PORTRAYAL_DEV_WEIGHTS .* or light_training\.losses\.features to 0"):
        light_train.frozen(small(losses=LightLosses(features=1)))


def test_the_preview_has_six_rows(batch):
    config = small()
    sheet = light_train.preview(start(light_train.LIGHT, config), batch, config)
    assert sheet.shape == (6 * 64, 4 * 64, 3)
    assert np.array_equal(sheet[:64, :64], batch["source"][0].permute(1, 2, 0).numpy())
