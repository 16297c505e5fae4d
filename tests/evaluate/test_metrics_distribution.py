"""Distances between sets: pytorch-fid's numbers, torchmetrics, scipy, closed forms."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from portrayal.errors import InputError
from portrayal.evaluate.distances import frechet_distance, kernel_distance
from portrayal.evaluate.metrics_distribution import Frechet, Fvd, Kernel
from portrayal.evaluate.view import View
from tests.evaluate.made_views import pictures
from tests.parity import parity_fixture


class Blocks(nn.Module):
    """A feature network for tests: means over 2 x 2 blocks of the picture (or over a clip), 12 numbers."""

    num_features = 12

    def forward(self, images):
        images = images.mean(2) if images.ndim == 5 else images
        return nn.functional.adaptive_avg_pool2d(images.float(), 2).flatten(1)


def test_parity_of_the_frechet_distance_with_pytorch_fid():
    fixture = parity_fixture("fid_frechet")
    moments = {}
    for name in ("set_a", "set_b", "few_a", "few_b"):
        x = fixture.inputs[name].double()
        moments[name] = (x.mean(0), x.mT.cov())
        fixture.check(f"mean_{name}", moments[name][0])
        fixture.check(f"cov_{name}", moments[name][1])
    diag_a, diag_b = fixture.inputs["diag_a"].double(), fixture.inputs["diag_b"].double()
    diag_a[6:], diag_b[4:7] = 0, 0
    pairs = {
        "distance": (*moments["set_a"], *moments["set_b"]),
        "distance_same": (*moments["set_a"], *moments["set_a"]),
        "distance_few": (*moments["few_a"], *moments["few_b"]),
        "distance_diagonal_singular": (moments["set_a"][0], diag_a.diag(), moments["set_b"][0], diag_b.diag()),
    }
    limits = {"distance_few": {"rel": 1e-7}, "distance_same": {"abs": 1e-9}}
    for name, arguments in pairs.items():
        value = frechet_distance(*arguments)
        fixture.check(name, value[None])
        exact = float(fixture.arrays[f"extra.{name}_float64"].item())
        assert float(value) == pytest.approx(exact, **limits.get(name, {"rel": 1e-9}))


def test_frechet_distance_in_one_dimension():
    value = frechet_distance(*[torch.tensor(x).double() for x in ([1.0], [[4.0]], [3.0], [[9.0]])])
    assert float(value) == pytest.approx((1 - 3) ** 2 + (2 - 3) ** 2)


def test_frechet_against_scipy_and_torchmetrics():
    a, b = pictures(40, seed=1), 0.7 * pictures(50, seed=2)
    metric = Frechet(Blocks(), 12)
    metric.update(View(a[:17]), View(b[:20]))
    metric.update(View(a[17:]), View(b[20:]))
    x, y = (Blocks()(images).double().numpy() for images in (a, b))
    cross = sqrtm(np.cov(x.T) @ np.cov(y.T)).real
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(np.cov(x.T) + np.cov(y.T) - 2 * cross)
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-7)
    theirs = FrechetInceptionDistance(feature=Blocks(), normalize=True, input_img_size=(3, 48, 64))
    theirs.set_dtype(torch.float64)
    theirs.update(b, real=True)
    theirs.update(a, real=False)
    assert float(metric.compute()) == pytest.approx(float(theirs.compute()), rel=1e-3)  # theirs adds up in float32


def test_a_source_counts_once_per_clip():
    metric = Frechet(Blocks(), 12)
    source = View(pictures(1))
    for clip in ("a", "a", "b"):
        metric.update(View(pictures(2), clip=clip), source)
    assert metric.counts.tolist() == [6, 2]


def test_kernel_distance_against_loops_and_torchmetrics():
    a, b = pictures(9, seed=1), pictures(9, seed=2)
    x, y = Blocks()(a).double(), Blocks()(b).double()

    def mean(pairs):
        values = [(float(u @ v) / 12 + 1) ** 3 for u, v in pairs]
        return sum(values) / len(values)

    off = [(i, j) for i in range(9) for j in range(9) if i != j]
    expected = mean([(x[i], x[j]) for i, j in off]) + mean([(y[i], y[j]) for i, j in off])
    expected -= 2 * mean([(u, v) for u in x for v in y])
    assert float(kernel_distance(x, y)) == pytest.approx(expected, rel=1e-9)
    theirs = KernelInceptionDistance(feature=Blocks(), normalize=True, subsets=3, subset_size=9)
    theirs.update(a, real=True)
    theirs.update(b, real=False)
    metric = Kernel(Blocks(), subset_size=9)
    metric.update(View(a), View(b))
    assert float(metric.compute()) == pytest.approx(float(theirs.compute()[0]), rel=1e-3)  # theirs in float32


def test_kernel_distance_is_the_same_twice_and_near_zero_for_one_distribution():
    a = pictures(60, seed=3)

    def run():
        metric = Kernel(Blocks(), subsets=20, subset_size=15)
        metric.update(View(a[:30]), View(a[30:]))
        return float(metric.compute())

    assert run() == run()
    assert abs(run()) < 0.01


def test_fvd_sees_windows():
    metric = Fvd(Blocks(), 12, frames=4)
    a, b = pictures(10, seed=1), pictures(9, seed=2)
    for clip in range(3):
        metric.update(View(a + 0.01 * clip, clip=str(clip)), View(b, clip=str(clip)))
    assert metric.counts.tolist() == [6, 6]  # two whole windows of each clip
    first = a[:4].mean(0, keepdim=True)
    torch.testing.assert_close(metric.measure(View(a))[:1], Blocks()(first))
    assert float(metric.compute()) > 0
    with pytest.raises(InputError, match="c: FVD needs at least 4 frames, it has 3"):
        metric.update(View(a[:3], clip="c"), View(b))


def test_too_few_samples():
    for metric in (Frechet(Blocks(), 12), Kernel(Blocks())):
        metric.update(View(pictures(1)), View(pictures(1)))
        with pytest.raises(InputError, match="at least two"):
            metric.compute()
