"""Finding w_id: descent from the average, early stop, divergence; and that a known face is found again."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from portrayal.errors import InputError
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.controller import Controller
from portrayal.systems.otavatar.descent import Watch
from portrayal.systems.otavatar.generator import TriplaneGenerator
from portrayal.systems.otavatar.inversion import find_identity, invert_portrait, limit
from portrayal.systems.otavatar.pairs import Faces
from portrayal.systems.otavatar.training_config import LossWeights
from tests.systems.otavatar.test_generator import cameras

CONFIG = Config.tiny().decouple


def towards(target: torch.Tensor):
    return lambda w, bias, step: (w - target).square().sum() + bias.square().sum()


def test_it_starts_at_the_average_and_descends() -> None:
    mean, target = torch.full((4,), 2.0), torch.full((4,), 2.3)
    seen = []
    found = find_identity(towards(target), mean, 2, CONFIG, steps=80, watch=Watch(lambda *about: seen.append(about)))
    assert found.losses[0] == pytest.approx(2 * 4 * 0.3**2, rel=1e-4)
    assert (found.w - target).abs().max() < 0.05
    assert found.w.shape == (2, 4)
    assert [done for done, _, _ in seen] == list(range(1, 81))
    assert seen[0][1:] == (80, pytest.approx(found.losses[0]))


def test_the_last_step_is_in_the_result() -> None:
    found = find_identity(towards(torch.ones(4)), torch.zeros(4), 1, CONFIG, steps=1)
    torch.testing.assert_close(found.w, torch.full((1, 4), CONFIG.identity_rate))


def test_it_stops_early() -> None:
    found = find_identity(
        lambda w, bias, step: 1 + 0 * w.sum() + 0 * bias.sum(),
        torch.zeros(4),
        1,
        CONFIG,
        steps=80,
        watch=Watch(patience=5),
    )
    assert len(found.losses) == 6


def test_a_diverging_inversion_is_restarted_once_with_smaller_steps() -> None:
    def cliff(w, bias, step):
        loss = (w - 1).square().sum() + bias.square().sum()
        return loss / 0 if float(w.detach().max()) > 0.02 else loss

    found = find_identity(cliff, torch.zeros(4), 1, CONFIG, steps=5)
    assert found.w.max() == pytest.approx(5 * CONFIG.identity_rate / 10, rel=0.05)
    with pytest.raises(InputError, match="diverged twice"):
        find_identity(cliff, torch.zeros(4), 1, CONFIG, steps=50)


def test_without_a_bias() -> None:
    found = find_identity(
        lambda w, bias, step: (w - 1).square().sum(), torch.zeros(4), 1, replace(CONFIG, bias_intrinsics=False), steps=3
    )
    assert torch.equal(found.bias, torch.zeros(1, 18))


def test_latents_stay_near_the_average() -> None:
    ws = torch.tensor([[[9.0, -9.0], [0.0, 1.0]]])
    mean = torch.tensor([1.0, -1.0])
    assert limit(ws, mean, 5.0).tolist() == [[[6.0, -6.0], [0.0, 1.0]]]
    assert limit(ws, mean, None) is ws


class Recording(nn.Module):
    """A feature network that remembers the sizes of what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        self.sizes.append(images.shape[-1])
        return [images]


def test_a_generated_face_is_found_again() -> None:
    torch.manual_seed(0)
    config = Config.tiny()
    generator = TriplaneGenerator(config.generator).requires_grad_(False)
    controller = Controller(config.controller, layers=generator.layers, w_dim=16).requires_grad_(False)
    window, camera = torch.randn(1, 73, 27), cameras(0.2)
    ws = generator.broadcast(torch.randn(1, 16)) + controller(window)
    faces = Faces(generator(ws, camera), torch.rand(1, 478, 2) * 32, camera, window)
    network = Recording()
    settings = replace(
        config.decouple,
        identity_steps=60,
        motion_steps=4,
        identity_rate=0.05,
        perceptual_network="tracker",
        losses=LossWeights(perceptual=1, gram=0, identity=0, local=0),
    )
    found = invert_portrait(generator, controller, faces, {"perceptual": network}, settings)
    assert len(found.losses) == 64
    assert found.losses[59] < 0.5 * found.losses[0]
    # Two sizes of the rendering in every step, of both pictures; four more of the final picture in the last four.
    assert len(network.sizes) == 2 * (64 * 2 + 4 * 4)
    assert network.sizes[-1] == 32 // 8
