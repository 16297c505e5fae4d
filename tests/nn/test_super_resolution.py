"""Super-resolution: shapes, what it depends on, gradients. Its numbers are in `test_eg3d_parity`."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from portrayal.nn.super_resolution import SuperResolution, split_feature


def small() -> SuperResolution:
    torch.manual_seed(0)
    return SuperResolution(6, 8, input_size=8, widths=(5, 4))


def test_shape_and_gradients() -> None:
    net, feature = small(), torch.randn(2, 6, 4, 4, requires_grad=True)
    image = net(feature[:, :3], feature, torch.randn(2, 7, 8))
    assert image.shape == (2, 3, 32, 32) == (2, 3, net.size, net.size)
    image.square().sum().backward()
    assert feature.grad is not None
    assert feature.grad.abs().sum() > 0
    # The noise is left out, so its strength cannot learn.
    assert all((p.grad is None) == name.endswith("noise_strength") for name, p in net.named_parameters())


def test_only_the_last_style_counts() -> None:
    net, feature, ws = small(), torch.randn(1, 6, 8, 8), torch.randn(1, 7, 8)
    first, last = ws.clone(), ws.clone()
    first[:, 0] += 1
    last[:, -1] += 1
    image = net(feature[:, :3], feature, ws)
    assert torch.equal(net(feature[:, :3], feature, first), image)
    assert not torch.allclose(net(feature[:, :3], feature, last), image)


def test_a_picture_of_the_input_size_is_not_resized() -> None:
    net, ws = small(), torch.randn(1, 1, 8)
    feature = torch.randn(1, 6, 16, 16)
    resized = F.interpolate(feature, size=(8, 8), mode="bilinear", antialias=True)
    torch.testing.assert_close(net(feature[:, :3], feature, ws), net(resized[:, :3], resized, ws))


def test_rays_become_pictures() -> None:
    rendered = torch.rand(1, 6, 4)
    rgb, feature = split_feature(rendered, height=2, width=3)
    torch.testing.assert_close(feature[0, :, 1, 2], rendered[0, 5] * 2 - 1)
    torch.testing.assert_close(rgb, feature[:, :3])
