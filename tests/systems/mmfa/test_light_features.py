"""The folded feature network is MobileFaceNet's beginning, and the distance is a share."""

import pytest
import torch

from portrayal.nn.mobilefacenet import MobileFaceNet
from portrayal.systems.mmfa.light_features import FoldedFeatures, feature_distance


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = MobileFaceNet().eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
        if isinstance(module, torch.nn.PReLU):
            torch.nn.init.uniform_(module.weight, 0.1, 0.5)
    return net


def test_folding_changes_nothing(net):
    pictures = torch.rand(2, 3, 64, 64)
    maps = FoldedFeatures(net)(pictures)
    x = net.dw_conv1(net.conv1((pictures * 255 - 127.5) / 128))
    wanted = [x]
    for i, block in enumerate(net.blocks[:7]):
        x = block(x)
        if i in (0, 3, 6):
            wanted.append(x)
    assert [m.shape[1:] for m in maps] == [(64, 32, 32), (64, 16, 16), (64, 16, 16), (128, 8, 8)]
    for mine, theirs in zip(maps, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def test_the_bend_has_the_gradient_of_its_prelu(net):
    x = torch.randn(2, 3, 48, 48, requires_grad=True)
    features = FoldedFeatures(net)
    features(x)[1].square().sum().backward()
    mine, x.grad = x.grad, None
    net.requires_grad_(False)
    y = net.dw_conv1(net.conv1((x * 255 - 127.5) / 128))
    net.blocks[0](y).square().sum().backward()
    torch.testing.assert_close(mine, x.grad, rtol=1e-3, atol=1e-4 * float(mine.abs().max()))


def test_the_distance_is_a_share_of_the_maps_size(net):
    features, truth = FoldedFeatures(net), torch.rand(1, 3, 64, 64)
    assert float(feature_distance(features, truth, truth)) == 0
    wanted = [
        float((a - b).abs().mean() / b.abs().mean()) for a, b in zip(features(1 - truth), features(truth), strict=True)
    ]
    assert float(feature_distance(features, 1 - truth, truth)) == pytest.approx(sum(wanted) / 4, rel=1e-4)
