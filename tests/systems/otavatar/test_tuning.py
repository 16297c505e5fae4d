"""The generator tuned to one photo: nearer to it, while other faces stay."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.generator import TriplaneGenerator
from portrayal.systems.otavatar.pairs import Faces
from portrayal.systems.otavatar.tuning import other_latents, tune_generator
from tests.systems.otavatar.test_generator import cameras

CONFIG = replace(Config.tiny(), avatar=replace(Config.tiny().avatar, tuning_steps=12, tuning_rate=3e-3))


@pytest.fixture(scope="module")
def generator() -> TriplaneGenerator:
    torch.manual_seed(0)
    return TriplaneGenerator(CONFIG.generator).requires_grad_(False)


@pytest.fixture(scope="module")
def case(generator: TriplaneGenerator) -> tuple[torch.Tensor, Faces]:
    """Latents, and a photo that they do not give."""
    torch.manual_seed(1)
    ws = generator.broadcast(torch.randn(1, 16))
    picture = generator(ws, cameras(0.1)) * 0.5 + 0.3
    return ws, Faces(picture, torch.rand(1, 478, 2) * 32, cameras(0.1), torch.zeros(1, 73, 27))


def tuned(generator: TriplaneGenerator, case: tuple[torch.Tensor, Faces], locality: float) -> TriplaneGenerator:
    config = replace(CONFIG, avatar=replace(CONFIG.avatar, locality=locality))
    weights = tune_generator(generator, *case, {}, config)
    assert weights is not None
    copy = TriplaneGenerator(CONFIG.generator)
    copy.load_state_dict(generator.state_dict() | weights)
    return copy.requires_grad_(False)


def test_the_photo_comes_nearer_and_other_faces_are_held(
    generator: TriplaneGenerator, case: tuple[torch.Tensor, Faces]
) -> None:
    ws, faces = case
    before = {name: x.clone() for name, x in generator.state_dict().items()}
    free, held = tuned(generator, case, 0.0), tuned(generator, case, 300.0)
    assert all(torch.equal(x, before[name]) for name, x in generator.state_dict().items())
    errors = [float((g(ws, faces.camera) - faces.picture).abs().mean()) for g in (generator, free, held)]
    assert errors[1] < 0.8 * errors[0]
    assert errors[2] < errors[0]
    others = torch.cat([other_latents(generator, ws, faces.camera, radius=0.3, step=100 + i) for i in range(4)])
    planes, camera = generator.planes(others), faces.camera.expand(4, -1)
    raw = generator.view(planes, others, camera, enlarge=False).raw
    moved = [
        float((g.view(g.planes(others), others, camera, enlarge=False).raw - raw).square().mean()) for g in (free, held)
    ]
    assert moved[1] < 0.7 * moved[0]


def test_the_weights_are_what_half_precision_keeps(
    generator: TriplaneGenerator, case: tuple[torch.Tensor, Faces]
) -> None:
    weights = tune_generator(generator, *case, {}, CONFIG)
    assert weights is not None
    assert weights.keys() == generator.drawing_parameters().keys()
    assert all(torch.equal(x, x.half().float()) for x in weights.values())
    assert not any(name.startswith("backbone.mapping") for name in weights)


def test_other_faces_lie_around_the_latents(generator: TriplaneGenerator) -> None:
    ws = generator.broadcast(torch.randn(1, 16))
    found = [other_latents(generator, ws, cameras(0.0), radius=0.4, step=step) for step in (0, 1, 0)]
    assert all(float((x - ws).square().mean().sqrt()) == pytest.approx(0.4, rel=1e-4) for x in found)
    assert torch.equal(found[0], found[2])
    assert not torch.allclose(found[0], found[1])
