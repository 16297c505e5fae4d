"""Surfaces of densities: an ellipsoid's place, size, direction and colours; what floats, what is cut, what is empty."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from portrayal.nn.rendering.surface import Surface, extract_surface

AXES = (0.3, 0.2, 0.1)
MIDDLE = (0.05, 0.1, -0.1)


class Ellipsoid:
    """Dense inside half axes `AXES` around `MIDDLE`; colours are places. `crumbs`: a little ball beside it, too."""

    def __init__(self, *, dense: float = 40.0, crumbs: bool = False) -> None:
        self.dense, self.crumbs = dense, crumbs

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        inside = 1 - ((points - torch.tensor(MIDDLE)) / torch.tensor(AXES)).norm(dim=-1)
        if self.crumbs:
            inside = inside.maximum(1 - (points + 0.4).norm(dim=-1) / 0.07)
        return 11 + self.dense * inside, points  # raw 11 is a density of 10

    def colour(self, state: Tensor) -> Tensor:
        return torch.cat([state + 0.5, state], -1)


def extract(field: Ellipsoid, **changes: float) -> Surface:
    surface = extract_surface(field, **{"box_size": 1.0, "device": torch.device("cpu"), "resolution": 48} | changes)
    assert surface is not None
    return surface


def volume(surface: Surface) -> float:
    """By the divergence theorem; negative where triangles look inwards."""
    a, b, c = (surface.points[surface.triangles[:, i]].astype(np.float64) for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def test_an_ellipsoid() -> None:
    surface = extract(Ellipsoid())
    reached = (surface.points - MIDDLE) / AXES
    assert np.abs(np.linalg.norm(reached, axis=1) - 1).max() < 0.01
    assert volume(surface) == pytest.approx(4 / 3 * np.pi * np.prod(AXES), rel=0.02), "outwards"
    assert surface.colours == pytest.approx(surface.points + 0.5, abs=1e-5)
    edges = np.sort(surface.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}, "closed"


def test_only_the_largest_thing_counts() -> None:
    assert len(extract(Ellipsoid(crumbs=True)).points) == len(extract(Ellipsoid()).points)


def test_what_leaves_the_cube_is_closed_at_its_border() -> None:
    surface = extract(Ellipsoid(), box_size=0.4)
    assert np.abs(surface.points).max() < 0.21
    assert volume(surface) > 0
    edges = np.sort(surface.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}


def test_fog_has_no_surface() -> None:
    field = Ellipsoid(dense=0.0)
    options = {"box_size": 1.0, "device": torch.device("cpu"), "resolution": 16}
    assert extract_surface(field, **options, level=11.0) is None  # type: ignore[arg-type]
