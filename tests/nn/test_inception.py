"""The network of the Frechet Inception distance."""

import torch

from portrayal.nn.inception import Inception
from tests.parity import parity_fixture


def test_parity_with_pytorch_fid():
    fixture = parity_fixture("fid_inception")
    with torch.device("meta"):
        net = Inception()
    net = fixture.load(net)
    for name in ("small", "large", "299"):
        blocks = net.blocks(fixture.inputs[f"image_{name}"])
        fixture.check(f"features_{name}", blocks[-1])
        if name == "small":
            for channels, block in zip((64, 192, 768), blocks, strict=False):
                fixture.check(f"block_{channels}_small", block)
