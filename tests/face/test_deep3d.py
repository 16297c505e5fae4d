"""Deep3D's camera and light: its numbers, and conventions by hand."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from portrayal.face.deep3d import (
    deep3d_project,
    deep3d_rotation,
    deep3d_shade,
    deep3d_to_camera,
    deep3d_transform,
    spherical_harmonics,
)
from tests.parity import parity_fixture


def test_parity() -> None:
    fixture = parity_fixture("deep3d_camera")
    given = fixture.inputs
    rotation = deep3d_rotation(given["angles"])
    moved = deep3d_transform(given["points"], rotation, given["translation"])
    fixture.check("rotation", rotation)
    fixture.check("transformed", moved)
    fixture.check("camera", deep3d_to_camera(moved))
    fixture.check("image_points", deep3d_project(deep3d_to_camera(moved)))
    normals = F.normalize(given["normals_raw"], dim=-1)
    fixture.check("color", deep3d_shade(given["texture"], normals, given["gamma"]))


def test_axes_by_hand() -> None:
    quarter = math.pi / 2
    turns = deep3d_rotation(torch.tensor([[quarter, 0, 0], [0, quarter, 0], [0, 0, quarter]]))
    x, y, z = torch.eye(3)
    torch.testing.assert_close(y @ turns[0], z, atol=1e-6, rtol=0)
    torch.testing.assert_close(z @ turns[1], x, atol=1e-6, rtol=0)
    torch.testing.assert_close(x @ turns[2], y, atol=1e-6, rtol=0)
    middle = deep3d_project(deep3d_to_camera(torch.zeros(1, 3)))
    torch.testing.assert_close(middle, torch.full((1, 2), 112.0))
    nearer = deep3d_project(deep3d_to_camera(torch.tensor([[1.0, 1, 1]])))
    assert bool((nearer > 112 + 101.5).all())


def test_no_light_is_the_ambient_light() -> None:
    texture, normals = torch.rand(1, 5, 3), F.normalize(torch.randn(1, 5, 3), dim=-1)
    shaded = deep3d_shade(texture, normals, torch.zeros(1, 27))
    torch.testing.assert_close(shaded, texture * 0.8 * math.sqrt(math.pi) / 2)
    assert spherical_harmonics(normals).shape == (1, 5, 9)
