"""The discriminator against its operators by definition, and in both public layouts."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.nn.resample import binomial_filter
from portrayal.nn.stylegan2_discriminator import Discriminator, EqualConv, append_deviation
from portrayal.weights.convert.stylegan2 import discriminator_from_nvidia, discriminator_from_rosinality
from tests.nn.stylegan2_reference import affine, fir, upfirdn2d


def small(*, label_dim: int = 0, clamp: float | None = None) -> Discriminator:
    net = Discriminator(16, label_dim=label_dim, channel_base=64, channel_max=8, clamp=clamp)
    for p in net.parameters():
        if p.ndim == 1:
            p.data += 0.2 * torch.randn(p.shape)
    return net


def convolution(layer: EqualConv, x: Tensor, *, half: bool = False) -> Tensor:
    """Blur at full size, then every second result of the convolution."""
    k = layer.weight.shape[-1]
    weight = layer.weight / math.sqrt(layer.weight[0].numel())
    if half:
        pad = {1: (1, 1), 3: (2, 2)}[k]
        y = F.conv2d(upfirdn2d(x, fir(), pad=pad), weight)[..., ::2, ::2]
    else:
        y = F.conv2d(x, weight, padding=k // 2)
    if layer.bias is not None:
        y = F.leaky_relu(y + layer.bias.reshape(1, -1, 1, 1), 0.2) * math.sqrt(2)
        y = y if layer.clamp is None else y.clamp(-layer.clamp, layer.clamp)
    return y


def by_definition(net: Discriminator, images: Tensor) -> Tensor:
    x = convolution(net.from_rgb, images)
    for block in net.blocks:
        inner = convolution(block.conv1, convolution(block.conv0, x), half=True)
        x = (inner + convolution(block.skip, x, half=True)) / math.sqrt(2)
    x = convolution(net.conv, append_deviation(x, net.group))
    x = F.leaky_relu(affine(net.hidden, x.flatten(1)), 0.2) * math.sqrt(2)
    return affine(net.logits, x)


@pytest.mark.parametrize("clamp", [None, 0.7])
@torch.no_grad()
def test_discriminator_by_definition(clamp: float | None) -> None:
    net, images = small(clamp=clamp), torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(net(images), by_definition(net, images)[:, 0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_label_is_projected_on() -> None:
    net, images, label = small(label_dim=5), torch.randn(2, 3, 16, 16), torch.randn(2, 5)
    assert net.mapping is not None
    features, direction = by_definition(net, images), net.mapping(None, label)
    expected = (features * direction).sum(1) / math.sqrt(8)
    torch.testing.assert_close(net(images, label), expected, atol=1e-4, rtol=1e-4)


def test_deviation_by_hand() -> None:
    """Pictures 0 and 2, 1 and 3 are the groups."""
    x = torch.tensor([1.0, 5.0, 3.0, 5.0])[:, None, None, None].expand(4, 2, 2, 2)
    y = append_deviation(x, 2)
    assert y.shape == (4, 3, 2, 2)
    torch.testing.assert_close(y[:, :2], x)
    torch.testing.assert_close(y[:, 2, 0, 0], torch.tensor([1.0, 1e-4, 1.0, 1e-4]))
    assert append_deviation(x[:1], 4)[0, 2].max() < 1e-3
    with pytest.raises(ValueError, match="3 pictures does not divide"):
        append_deviation(x[:3], 2)


def test_every_parameter_is_trained_twice_over() -> None:
    net = small(label_dim=2)
    images = torch.randn(2, 3, 16, 16, requires_grad=True)
    logits = net(images, torch.randn(2, 2))
    (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    (logits.sum() + slope.square().sum()).backward()
    for name, p in net.named_parameters():
        assert p.grad is not None, name
        assert bool(p.grad.isfinite().all()), name


@torch.no_grad()
def test_half_precision_gives_float32_logits_nearby() -> None:
    net, images = small(), torch.randn(4, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(images)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, net(images), atol=0.1, rtol=0.1)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        small()(torch.randn(1, 3, 8, 8))
    with pytest.raises(ValueError, match="needs a label"):
        small(label_dim=2)(torch.randn(1, 3, 16, 16))


def as_rosinality(name: str) -> str:
    """Our name in that layout, written down from its modules' order."""
    tail = name.rsplit(".", 1)[1]
    index = {"weight": "0", "bias": "1"}[tail]
    if m := re.match(r"blocks\.(\d+)\.(conv0|conv1|skip)\.", name):
        where = {"conv0": f"conv1.{index}", "conv1": f"conv2.{int(index) + 1}", "skip": f"skip.{int(index) + 1}"}[m[2]]
        return f"convs.{int(m[1]) + 1}.{where}.{tail}"
    stem = {"from_rgb": f"convs.0.{index}", "conv": f"final_conv.{index}", "hidden": "final_linear.0"}
    return f"{(stem | {'logits': 'final_linear.1'})[name.split('.')[0]]}.{tail}"


def as_nvidia(name: str) -> str:
    if name.startswith("blocks."):
        _, index, rest = name.split(".", 2)
        return f"b{16 >> int(index)}.{rest}"
    stem, rest = name.split(".", 1)
    if stem == "mapping":
        return re.sub(r"mapping\.layers\.(\d+)", r"mapping.fc\1", name)
    return {"from_rgb": "b16.fromrgb", "conv": "b4.conv", "hidden": "b4.fc", "logits": "b4.out"}[stem] + f".{rest}"


def test_both_layouts_come_back() -> None:
    plain, conditional = small().state_dict(), small(label_dim=3).state_dict()
    theirs = {as_rosinality(name): value for name, value in plain.items()}
    theirs["convs.1.conv2.0.kernel"] = theirs["convs.1.skip.0.kernel"] = binomial_filter()
    assert discriminator_from_rosinality(theirs).keys() == plain.keys()
    net = small()
    net.load_state_dict(discriminator_from_rosinality(theirs))
    torch.testing.assert_close(net.state_dict(), plain)
    theirs = {as_nvidia(name): value for name, value in conditional.items() if not name.endswith("w_mean")}
    theirs["b16.resample_filter"] = theirs["b8.conv1.resample_filter"] = binomial_filter()
    torch.testing.assert_close(discriminator_from_nvidia(theirs), dict(conditional))


def test_another_blur_is_refused() -> None:
    theirs = {"b16.resample_filter": torch.full((4, 4), 1 / 16)}
    with pytest.raises(ValueError, match=r"b16.resample_filter.*\[1, 3, 3, 1\]"):
        discriminator_from_nvidia(theirs)
