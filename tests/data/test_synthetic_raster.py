"""The software renderer against slow loops and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from portrayal.data.synthetic_hair import STYLES, comb
from portrayal.data.synthetic_raster import (
    ambient_light,
    directional_light,
    incidence,
    rasterise,
    sh_basis,
    vertex_normals,
)
from portrayal.data.synthetic_shape import CENTRE, head_mesh, head_radius, mean_points, stitch, to_direction


def slow_raster(points: np.ndarray, triangles: np.ndarray, size: int) -> np.ndarray:
    """(size, size) nearest triangle whose inside holds the pixel's centre, -1 for none."""
    out = np.full((size, size), -1)
    depth = np.full((size, size), np.inf)
    for k, (a, b, c) in enumerate(points[triangles].astype(float)):
        area = (b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0]
        if area <= 0:
            continue
        for row in range(size):
            for column in range(size):
                p = np.array([column + 0.5, row + 0.5])
                v = ((p - a[:2])[0] * (c - a)[1] - (p - a[:2])[1] * (c - a)[0]) / area
                w = ((b - a)[0] * (p - a[:2])[1] - (b - a)[1] * (p - a[:2])[0]) / area
                z = a[2] + v * (b - a)[2] + w * (c - a)[2]
                if min(v, w, 1 - v - w) >= 0 and z < depth[row, column]:
                    out[row, column], depth[row, column] = k, z
    return out


def test_raster_against_a_loop() -> None:
    random = np.random.default_rng(0)
    points = random.uniform(-4, 28, (40, 3)).astype(np.float32)
    triangles = random.integers(0, 40, (30, 3))
    seen = rasterise(points, triangles, width=24, height=24, both_sides=np.zeros(30, bool))
    fast = np.full(24 * 24, -1)
    fast[seen.pixels] = seen.triangles
    assert (fast.reshape(24, 24) == slow_raster(points, triangles, 24)).mean() > 0.995  # rounding of equal depths


def test_neighbours_share_no_pixel_and_leave_none_out() -> None:
    random = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0)), -1) * 4 - 2
    grid[1:-1, 1:-1] += random.uniform(-1.2, 1.2, (4, 4, 2))
    grid[2, 2] = [6.5, 6.5]  # a corner on a pixel's centre
    points = np.concatenate([grid.reshape(-1, 2), np.zeros((36, 1))], 1).astype(np.float32)
    a = np.arange(36).reshape(6, 6)
    triangles = np.concatenate(
        [
            np.stack([a[:-1, :-1], a[:-1, 1:], a[1:, :-1]], -1).reshape(-1, 3),
            np.stack([a[:-1, 1:], a[1:, 1:], a[1:, :-1]], -1).reshape(-1, 3),
        ]
    )
    one_by_one = [
        rasterise(points, triangles[[k]], width=16, height=16, both_sides=np.zeros(1, bool)).pixels
        for k in range(len(triangles))
    ]
    counts = np.bincount(np.concatenate(one_by_one), minlength=256)
    assert (counts == 1).all()


def test_interpolation_is_linear_in_the_picture() -> None:
    points = np.array([[1, 2, 5], [30, 4, 9], [8, 28, 1]], np.float32)
    triangles = np.array([[0, 1, 2]])
    seen = rasterise(points, triangles, width=32, height=32, both_sides=np.zeros(1, bool))
    place = seen.interpolate(triangles, points)
    assert len(seen.pixels) > 200
    assert np.allclose(place[:, 0], seen.pixels % 32 + 0.5, atol=1e-4)
    assert np.allclose(place[:, 1], seen.pixels // 32 + 0.5, atol=1e-4)


def test_seen_from_behind_only_where_asked() -> None:
    points = np.array([[1, 1, 0], [1, 9, 0], [9, 1, 0]], np.float32)
    triangles = np.array([[0, 1, 2]])
    for both in (False, True):
        seen = rasterise(points, triangles, width=10, height=10, both_sides=np.array([both]))
        assert (len(seen.pixels) > 0) == both


def test_normals_of_a_sphere() -> None:
    polar, azimuth = np.linspace(0.05, np.pi - 0.05, 24)[:, None], (np.arange(40) / 20 * np.pi)[None]
    points = to_direction(polar, azimuth).reshape(-1, 3).astype(np.float32)
    triangles = stitch(np.arange(len(points)).reshape(24, 40), closed=True)
    normals = vertex_normals(points, triangles, incidence(triangles, len(points)))
    side = np.sign((normals * points).sum(1).mean())
    assert (side * (normals * points).sum(1))[40:-40].min() > 0.99


def test_light_is_a_clamped_cosine_up_to_second_order() -> None:
    random = np.random.default_rng(2)
    normals = random.standard_normal((4000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    key = np.array([0.36, -0.48, -0.8], np.float32)
    seen = sh_basis(normals.astype(np.float32)) @ directional_light(key, np.array([1, 0.5, 0], np.float32))
    exact = np.maximum(normals @ key, 0)
    assert np.abs(seen[:, 0] - exact).max() < 0.1
    assert np.abs(seen[:, 0] - exact).mean() < 0.04
    assert np.allclose(seen[:, 1], seen[:, 0] / 2, atol=1e-5)
    assert np.abs(seen[:, 2]).max() == 0
    even = sh_basis(normals.astype(np.float32)) @ ambient_light(np.array([0.2, 0.3, 0.4], np.float32))
    assert np.allclose(even, [0.2, 0.3, 0.4], atol=1e-5)


def test_harmonics_are_orthonormal() -> None:
    n = 200_000
    random = np.random.default_rng(3).standard_normal((n, 3))
    basis = sh_basis((random / np.linalg.norm(random, axis=1, keepdims=True)).astype(np.float32))
    gram = 4 * np.pi * basis.T.astype(float) @ basis / n
    assert np.abs(gram - np.eye(9)).max() < 0.03  # Monte Carlo


def test_head_is_closed_and_keeps_the_landmarks() -> None:
    head = head_mesh()
    assert np.allclose(head.mean[:468], mean_points(), atol=1e-5)
    skin = head.triangles[: len(head.parts) - (head.parts == 4).sum()]
    edges = np.sort(np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]]), 1)
    ear_start = len(head.mean) - head.neck.sum() - head.ears
    _, uses = np.unique(edges[(edges < ear_start).all(1)], axis=0, return_counts=True)
    assert (uses == 2).all()  # every edge of the head between two triangles: no hole
    mean = head.mean[skin[(skin < ear_start).all(1)]]
    outwards = np.cross(mean[:, 2] - mean[:, 0], mean[:, 1] - mean[:, 0])
    assert ((outwards * (mean.mean(1) - CENTRE)).sum(1) > 0).mean() > 0.97


@pytest.mark.parametrize("name", sorted(STYLES))
def test_hair_lies_on_the_head(name: str) -> None:
    hair = comb(STYLES[name], np.random.default_rng(0))
    if name == "bald":
        assert hair is None
        return
    assert hair is not None
    assert np.isfinite(hair.points).all()
    assert hair.triangles.max() == len(hair.points) - 1
    assert 0 <= hair.texture.min() <= hair.texture.max() <= 1
    crown = hair.points[:64].mean(0)  # the first row
    above = float(CENTRE[1] - crown[1] - head_radius(np.zeros(1), np.zeros(1)).item())
    assert 0.0 < above < 0.6
    face = hair.points[(np.abs(hair.points[:, 0]) < 0.3) & (hair.points[:, 2] < -0.5)]
    assert face[:, 1].max() < -0.4  # nothing hangs over the eyes
