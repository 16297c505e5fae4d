"""The feature networks of the perceptual losses: they pass gradients, stay frozen, and say when weights are missing."""

import pytest
import torch

from portrayal.errors import InputError
from portrayal.nn.imagenet import vgg19
from portrayal.nn.mobilefacenet import MobileFaceNet
from portrayal.nn.vgg_face import vgg_face
from portrayal.systems.mmfa import losses
from portrayal.systems.mmfa.features import (
    IdentityFeatures,
    VggFaceFeatures,
    VggPyramid,
    load_features,
)

LANDMARKS = torch.rand(1, 478, 3, generator=torch.Generator().manual_seed(0)) * 40 + 12


@pytest.fixture(autouse=True)
def _no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("PORTRAYAL_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("PORTRAYAL_DEV_WEIGHTS", raising=False)


def networks():
    torch.manual_seed(0)
    yield VggPyramid(vgg19()), 2 * 5
    yield VggFaceFeatures(vgg_face()), 5
    yield IdentityFeatures(MobileFaceNet()), 4
    yield load_features("tracker"), 4


def test_every_network_gives_maps_and_passes_gradients_to_the_picture() -> None:
    for network, count in networks():
        image, truth = torch.rand(1, 3, 64, 64, requires_grad=True), torch.rand(1, 3, 64, 64)
        assert len(network(truth, LANDMARKS)) == count
        loss = losses.perceptual(image, truth, LANDMARKS, network)
        loss.backward()
        assert bool(loss.isfinite())
        assert float(image.grad.abs().sum()) > 0, type(network).__name__
        assert all(p.grad is None for p in network.parameters())


def test_they_stay_in_evaluation_mode() -> None:
    for network, _ in networks():
        network.train()
        assert not any(module.training for module in network.modules())


def test_only_networks_for_pictures_in_general_see_the_small_outputs() -> None:
    assert [network.finest_only for network, _ in networks()] == [False, True, True, False]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("vgg19", r"run: portrayal weights get vgg19"),
        ("vgg-face", r"vgg_face_dag\.pth is missing; download https://"),
        ("identity", r"needs MobileFaceNet's weights; set PORTRAYAL_DEV_WEIGHTS .* loss\.perceptual_networks"),
    ],
)
def test_missing_weights_name_the_remedy(name, sentence) -> None:
    with pytest.raises(InputError, match=sentence):
        load_features(name)
