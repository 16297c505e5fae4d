"""LPIPS with each backbone."""

import pytest
import torch

from portrayal.nn.lpips import BACKBONES, Lpips, unit_length
from tests.parity import parity_fixture


@pytest.mark.parametrize("net", list(BACKBONES))
def test_parity_with_the_lpips_package(net):
    fixture = parity_fixture(f"lpips_{net}")
    with torch.device("meta"):
        metric = Lpips(net)
    metric = fixture.load(metric)
    a, b, c, d = ((fixture.inputs[f"image_{x}"] + 1) / 2 for x in "abcd")
    fixture.check("distance", metric(a, b)[:, None, None, None])
    fixture.check("distance_01_normalize", metric(a, b)[:, None, None, None])
    fixture.check("distance_near", metric(a, 0.9 * a + 0.1 * b)[:, None, None, None])
    fixture.check("per_layer", metric.per_layer(a, b))
    fixture.check("distance_same", metric(a, a)[:, None, None, None])
    fixture.check("distance_72x88", metric(c, d)[:, None, None, None])


def test_unit_length():
    features = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(unit_length(features).flatten(), torch.tensor([0.6, 0.8]))
    assert unit_length(torch.zeros(1, 2, 1, 1)).abs().max() == 0
