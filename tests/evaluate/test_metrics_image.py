"""Picture metrics against scikit-image, torchmetrics and closed forms."""

import math
from functools import partial

import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.image import (
    MultiScaleStructuralSimilarityIndexMeasure,
    PeakSignalNoiseRatio,
    StructuralSimilarityIndexMeasure,
)

from portrayal.evaluate.metrics_image import L1, LpipsDistance, MsSsim, Psnr, Ssim, TrackerPerceptual
from portrayal.evaluate.networks import Networks, TrackerMaps
from portrayal.evaluate.view import View
from portrayal.nn.lpips import Lpips
from tests.evaluate.made_views import pictures

A, B = pictures(4, seed=1), pictures(4, seed=2)


def measure(metric, a=A, b=B, chunk=3):
    """Streamed in chunks."""
    for x, y in zip(a.split(chunk), b.split(chunk), strict=True):
        metric.update(View(x), View(y))
    return float(metric.compute())


def test_psnr():
    mine = measure(Psnr())
    theirs = [peak_signal_noise_ratio(b.numpy(), a.numpy(), data_range=1) for a, b in zip(A, B, strict=True)]
    assert mine == pytest.approx(sum(theirs) / 4, rel=1e-5)
    tm = PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3))
    assert mine == pytest.approx(float(tm(A, B)), rel=1e-5)
    assert measure(Psnr(), torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1)) == pytest.approx(20, rel=1e-5)
    assert measure(Psnr(), A, A) == 100  # perfect frames do not make the mean infinite


def test_ssim():
    mine = measure(Ssim())
    kwargs = {"win_size": 11, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    theirs = [structural_similarity(a.numpy(), b.numpy(), channel_axis=0, **kwargs) for a, b in zip(A, B, strict=True)]
    assert mine == pytest.approx(sum(theirs) / 4, abs=1e-5)  # float32
    tm = StructuralSimilarityIndexMeasure(data_range=1.0, return_full_image=True)
    tm.update(A, B)
    assert mine == pytest.approx(float(tm.compute()[1][..., 5:-5, 5:-5].mean()), rel=1e-4)
    assert measure(Ssim(), A, A) == pytest.approx(1, abs=1e-6)
    assert measure(Ssim(), A[:1], B[:1]) < 1  # a single frame too


def slow_ms_ssim(a, b):
    """Of two (h, w) pictures in float64, with scipy's Gaussian."""
    blur = partial(gaussian_filter, sigma=1.5, truncate=3.5)
    inside, value = (slice(5, -5),) * 2, 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        ma, mb = blur(a), blur(b)
        va, vb, vab = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
        contrast, luminance = (2 * vab + 9e-4) / (va + vb + 9e-4), (2 * ma * mb + 1e-4) / (ma**2 + mb**2 + 1e-4)
        value *= (contrast * (luminance if scale == 4 else 1))[inside].mean() ** weight
        if scale < 4:
            a, b = (x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).mean((1, 3)) for x in (a, b))
    return value


def test_ms_ssim():
    a, b = pictures(2, seed=1, height=176, width=192), pictures(2, seed=2, height=176, width=192)
    b = 0.8 * a + 0.2 * b
    slow = [
        slow_ms_ssim(x.double().numpy(), y.double().numpy())
        for x, y in zip(a.flatten(0, 1), b.flatten(0, 1), strict=True)
    ]
    assert measure(MsSsim(), a, b) == pytest.approx(sum(slow) / 6, abs=1e-4)
    theirs = MultiScaleStructuralSimilarityIndexMeasure(data_range=1.0, normalize="relu")(a, b)
    assert measure(MsSsim(), a, b) == pytest.approx(float(theirs), abs=0.01)  # theirs counts a mirrored border
    assert measure(MsSsim(), a, a) == pytest.approx(1, abs=1e-6)


def test_l1():
    assert measure(L1()) == pytest.approx(float((A - B).abs().mean()), rel=1e-5)
    assert measure(L1(), torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.25)) == 0.25


def test_streaming_is_the_same_as_at_once_and_reset_empties():
    metric = L1()
    once = measure(metric, chunk=4)
    metric.reset()
    assert measure(metric, chunk=1) == pytest.approx(once, rel=1e-9)


def test_lpips_is_the_mean_over_frames():
    torch.manual_seed(0)
    net = Lpips("squeeze").eval()  # the distance itself is proven by the parity fixtures
    mine = measure(LpipsDistance(net))
    with torch.no_grad():
        assert mine == pytest.approx(float(net(A, B).mean()), rel=1e-5)


def test_perceptual_distance_on_the_tracker():
    metric = TrackerPerceptual(Networks().tracker_maps)
    assert measure(metric, A, A) == 0
    distances = []
    for share in (0.1, 0.4, 1.0):
        metric.reset()
        distances.append(measure(metric, A, (1 - share) * A + share * B))
    assert 0 < distances[0] < distances[1] < distances[2]
    assert distances[2] < 4 * 4  # unit vectors are at most 2 apart, in each of four maps
    metric.reset()
    assert measure(metric, B, A) == pytest.approx(distances[2], rel=1e-5)


def test_tracker_maps():
    maps = TrackerMaps()(pictures(2))
    assert [tuple(m.shape[2:]) for m in maps] == [(64, 64), (32, 32), (16, 16), (8, 8)]
    assert math.fsum(m.shape[1] for m in maps) == TrackerMaps().channels
