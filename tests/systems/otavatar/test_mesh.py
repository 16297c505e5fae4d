"""The head in space that a mesh is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from portrayal.nn.rendering.surface import extract_surface
from portrayal.systems import otavatar
from portrayal.systems.otavatar import animate
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.model import Otavatar
from portrayal.types import Portrait


@pytest.fixture
def model() -> Otavatar:
    torch.manual_seed(0)
    return animate.build(Config.tiny()).eval().requires_grad_(False)


def test_it_is_what_cameras_see(model: Otavatar, portrait: Portrait) -> None:
    """Its densities are those of the planes of the face at rest, tuned where the source is."""
    source = animate.encode_source(model, portrait)
    faces = animate.framed(model, portrait)
    ws = model.latents(source.identity, faces.window)
    points = torch.rand(1, 200, 3) - 0.5
    expected = model.generator.density(model.generator.planes(ws), points)[0]
    density, _ = otavatar.head_field(model, source).density(points[0])
    torch.testing.assert_close(density, expected, atol=1e-4, rtol=1e-4)
    tuned = {name: x + 0.1 for name, x in model.generator.drawing_parameters().items()}
    other, _ = otavatar.head_field(model, replace(source, tuned=tuned)).density(points[0])
    assert float((other - density).abs().mean()) > 1e-3


def test_a_surface_with_colours(model: Otavatar, portrait: Portrait) -> None:
    """At a level that an untrained density reaches somewhere."""
    field = otavatar.head_field(model, animate.encode_source(model, portrait))
    points = torch.rand(2000, 3) - 0.5
    middle = float(torch.nn.functional.softplus(field.density(points)[0] - 1).median())
    surface = extract_surface(field, box_size=field.box_size, device=torch.device("cpu"), resolution=24, level=middle)
    assert surface is not None
    assert surface.points.shape == surface.colours.shape
    assert surface.points.min() > -0.55 < surface.points.max() < 0.55
    assert 0 <= surface.colours.min() < surface.colours.max() <= 1
