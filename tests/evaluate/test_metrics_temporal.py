"""Temporal metrics on motions that are known."""

import math

import pytest
import torch
from torch import nn

from portrayal.errors import InputError
from portrayal.evaluate.identity import IdentityNetwork
from portrayal.evaluate.metrics_temporal import Flicker, IdentityDrift, LandmarkJitter, flow_between, warp_back
from portrayal.evaluate.view import View
from portrayal.face.smooth import jitter_score
from tests.evaluate.made_views import faces, pictures

NETWORK = IdentityNetwork(nn.Identity(), name="given", size=(8, 8), aligned_points=((1.0, 1.0),) * 5)


def moving(count, step=2, *, height=96, width=96):
    """A picture that moves `step` pixels to the right each frame."""
    wide = pictures(1, seed=4, height=height, width=width + step * count)[0]
    wide = (wide + pictures(1, seed=5, height=height * 4, width=4 * wide.shape[2])[0, :, ::4, ::4]) / 2
    return torch.stack([wide[:, :, step * (count - t) : step * (count - t) + width] for t in range(count)])


def test_jitter_is_the_mean_over_clips():
    metric = LandmarkJitter()
    scores = []
    for clip, noise in (("calm", 0.1), ("shaky", 1.0)):
        still = faces(1).landmarks.expand(9, -1, -1)
        landmarks = still + noise * torch.randn(9, 478, 3, generator=torch.Generator().manual_seed(1))
        params = faces(9).replace(landmarks=landmarks)
        times = tuple(t / 25 for t in range(9))
        scores.append(jitter_score(landmarks, times))
        for part in (slice(0, 4), slice(4, 9)):  # in chunks
            metric.update(View(pictures(9)[part], clip=clip, params=params[part], times=times[part]), View(pictures(1)))
    assert scores[1] > 5 * scores[0]
    assert float(metric.compute()) == pytest.approx(sum(scores) / 2, rel=1e-5)


def test_flow_of_a_known_motion():
    frames = moving(2)
    flow, visible = flow_between(frames[0], frames[1])
    middle = flow[:, 16:-16, 16:-16]
    assert middle[0].median() == pytest.approx(2, abs=0.1)
    assert middle[1].median() == pytest.approx(0, abs=0.1)
    assert visible[16:-16, 16:-16].mean() > 0.95
    assert visible[:, -2:].sum() == 0  # these points leave the picture


def test_warp_back_reads_where_the_flow_points():
    later = torch.arange(20.0).view(1, 4, 5)
    flow = torch.zeros(2, 4, 5)
    flow[0] = 1
    torch.testing.assert_close(warp_back(later, flow)[:, :, :4], later[:, :, 1:])


def test_flicker():
    frames = moving(4)

    def measure(generated):
        metric = Flicker()
        for part in (slice(0, 3), slice(3, 4)):
            metric.update(View(generated[part]), View(frames[part]))
        return float(metric.compute())

    true = measure(frames)
    brighter = frames.clone()
    brighter[1::2] += 0.1  # every second frame is lighter by 0.1: squared, x 1000, that is 10
    assert true < 0.5
    assert measure(brighter) == pytest.approx(10, abs=1)
    still = frames[:1].expand(4, -1, -1, -1)
    assert measure(still) > 3 * true  # it does not follow the motion


def test_flicker_of_large_frames_is_measured_on_small_ones():
    metric = Flicker()
    large = pictures(2, height=300, width=600)
    metric.update(View(large), View(large))
    generated, reference = metric._parts[0]
    assert tuple(generated.shape) == tuple(reference.shape) == (2, 3, 256, 512)


def test_identity_drift():
    angles = torch.tensor([0.0, 0.1, 0.2, 0.4])
    embedding = torch.stack([angles.cos(), angles.sin()], 1) * 3
    metric = IdentityDrift(NETWORK)
    for part in (slice(0, 2), slice(2, 4)):
        metric.update(View(pictures(4)[part], clip="a", embedding=embedding[part]), View(pictures(1)))
    metric.update(View(pictures(2), clip="b", embedding=torch.ones(2, 2)), View(pictures(1)))
    expected = sum(1 - math.cos(a) for a in (0.1, 0.2, 0.4)) / 3
    assert float(metric.compute()) == pytest.approx(expected / 2, rel=1e-4)  # clip b does not drift


def test_clips_that_are_too_short_do_not_count():
    metric = IdentityDrift(NETWORK)
    metric.update(View(pictures(1), embedding=torch.ones(1, 2)), View(pictures(1)))
    with pytest.raises(InputError, match="every clip was too short"):
        metric.compute()


def test_sums_of_several_processes_include_the_clip_at_hand(monkeypatch):
    metric = IdentityDrift(NETWORK)
    metric.update(View(pictures(2), embedding=torch.tensor([[1.0, 0], [0, 1]])), View(pictures(1)))
    gathered = []

    def gather(state, group=None):
        gathered.append(state)
        return [state, state]  # the other process measured the same

    metric.sync(dist_sync_fn=gather, distributed_available=lambda: True)
    assert float(metric.total) == pytest.approx(2)
    assert int(metric.count) == 2
    assert gathered
