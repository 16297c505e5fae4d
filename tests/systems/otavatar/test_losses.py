"""L of Algorithm 1: zero for equal pictures, and each term sees what it is for."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from portrayal.errors import InputError
from portrayal.face.features import TrackerMaps
from portrayal.face.topology import LEFT_EYE, LIPS_OUTER, RIGHT_EYE
from portrayal.nn.mobilefacenet import MobileFaceNet
from portrayal.nn.pretrained import DEV_WEIGHTS
from portrayal.systems.otavatar import losses
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.generator import TriplaneGenerator, View
from portrayal.systems.otavatar.pairs import Faces
from portrayal.systems.otavatar.training_config import DecoupleConfig, LossWeights
from tests.data.made_faces import draw_face

SIZE = 128
WEIGHTS = LossWeights()


@pytest.fixture(scope="module")
def faces() -> Faces:
    picture, points = draw_face(SIZE, (64, 62), 44, 0.0)
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    return Faces(image, torch.from_numpy(points[None, :, :2]), torch.zeros(1, 25), torch.zeros(1, 70, 27))


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"perceptual": TrackerMaps(), "identity": MobileFaceNet().eval()}


def test_equal_pictures_cost_nothing(faces, networks) -> None:
    with torch.no_grad():
        terms = losses.picture_terms(faces.picture, faces, networks, WEIGHTS, scales=2)
        other = losses.picture_terms(-faces.picture, faces, networks, WEIGHTS, scales=2)
    assert set(terms) == {"perceptual", "local", "pixel", "identity"}
    for name, term in terms.items():
        assert term.item() == pytest.approx(0, abs=1e-5), name
        assert other[name].item() > 1e-3, name


@pytest.mark.parametrize("part", [LIPS_OUTER, RIGHT_EYE, LEFT_EYE])
def test_the_local_term_sees_the_mouth_and_both_eyes_of_the_made_picture(faces, part) -> None:
    x, y = faces.landmarks[0, list(part)].mean(0).round().int().tolist()
    made = faces.picture.clone().requires_grad_()
    with torch.no_grad():
        made[..., y - 3 : y + 3, x - 3 : x + 3] += 0.5
    term = losses.local(made, faces.picture, faces.landmarks)
    assert term > 0.01
    term.backward()
    assert made.grad[..., y - 2 : y + 2, x - 2 : x + 2].abs().sum() > 0
    elsewhere = faces.picture.clone()
    elsewhere[..., :12, :] = 1
    assert losses.local(elsewhere, faces.picture, faces.landmarks) == 0


def test_a_region_is_its_box_with_a_margin() -> None:
    points = torch.tensor([[[40.0, 20.0], [60.0, 30.0]]])
    grid = (losses.region_grid(points, 100, side=0.2, margin=0.1) + 1) * 50
    assert grid.shape == (1, 20, 20, 2)
    # From 30 to 70 across and 10 to 40 down, in the middles of 20 steps.
    torch.testing.assert_close(grid[0, 0, 0], torch.tensor([31.0, 10.75]))
    torch.testing.assert_close(grid[0, 19, 19], torch.tensor([69.0, 39.25]))


def test_gram_matrices_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    torch.testing.assert_close(losses.gram_matrix(maps), torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]) / 4)


def test_the_gram_term_is_of_the_first_scale(faces) -> None:
    class Same(nn.Module):
        def forward(self, images):
            return [images]

    made = faces.picture * 0.5
    plain, styled = (losses.perceptual(Same(), made, faces.picture, scales=3, gram=g) for g in (0.0, 2.0))
    first = losses.gram_matrix(made / 2 + 0.5) - losses.gram_matrix(faces.picture / 2 + 0.5)
    torch.testing.assert_close(styled - plain, 2 * first.abs().mean())


def test_both_pictures_count_and_weights_multiply(faces) -> None:
    weights = LossWeights(perceptual=0, identity=0, local=0, pixel=1)
    grey = torch.zeros(1, 3, 64, 64)
    raw = losses.view_loss(View(grey, grey[:, :1], None), faces, {}, weights)
    both = losses.view_loss(View(grey, grey[:, :1], torch.zeros(1, 3, SIZE, SIZE)), faces, {}, weights)
    assert both > 1.5 * raw > 0
    doubled = losses.view_loss(View(grey, grey[:, :1], None), faces, {}, replace(weights, pixel=2))
    torch.testing.assert_close(doubled, 2 * raw)


def test_densities() -> None:
    torch.manual_seed(0)
    generator = TriplaneGenerator(Config.tiny().generator)
    planes = torch.randn(1, 3, 8, 16, 16, requires_grad=True)
    torch.manual_seed(1)
    loss = losses.density_loss(generator, planes, LossWeights(density_points=100))
    loss.backward()
    assert loss > 0
    assert planes.grad.abs().sum() > 0
    assert losses.density_loss(generator, planes, LossWeights(variation=0, monotonic=0)) == 0
    assert losses.density_loss(generator, torch.zeros_like(planes), LossWeights(density_points=100)) == 0


def test_networks_come_as_configured(monkeypatch) -> None:
    assert losses.feature_networks(Config.tiny().decouple) == {}
    assert set(losses.feature_networks(Config.compact().inversion)) == {"perceptual"}
    monkeypatch.delenv(DEV_WEIGHTS, raising=False)
    wanted = DecoupleConfig(perceptual_network="tracker", identity_network="mobilefacenet")
    with pytest.raises(InputError, match=r"set PORTRAYAL_DEV_WEIGHTS .* decouple\.losses\.identity to 0"):
        losses.feature_networks(wanted)
