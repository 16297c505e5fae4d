"""Head pose by binned angles."""

import torch

from portrayal.nn.hopenet import Hopenet, bins_to_degrees
from tests.parity import parity_fixture


def test_parity_with_deep_head_pose():
    fixture = parity_fixture("hopenet")
    with torch.device("meta"):
        net = Hopenet()
    net = fixture.load(net)
    logits = net(fixture.inputs["image"])
    for name, value in zip(("yaw", "pitch", "roll"), logits, strict=True):
        fixture.check(f"{name}_logits", value)
    fixture.check("degrees", torch.stack([bins_to_degrees(value) for value in logits], 1))


def test_a_sharp_bin_gives_its_lower_edge():
    logits = torch.full((2, 66), -100.0)
    logits[0, 33] = logits[1, 0] = 100
    torch.testing.assert_close(bins_to_degrees(logits), torch.tensor([0.0, -99.0]))
