"""Convolution blocks: sizes, and what each is made of."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from portrayal.nn.antialias import AntialiasDownsample, gaussian_kernel
from portrayal.nn.blocks import Bottleneck, DownBlock, Hourglass, ResBlock, UpBlock


@pytest.mark.parametrize(("dims", "size"), [(2, (8, 12)), (3, (3, 8, 12))])
def test_blocks_change_height_and_width_only(dims: int, size: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *size)
    halved, doubled = (*size[:-2], 4, 6), (*size[:-2], 16, 24)
    assert DownBlock(dims, 3, 5)(x).shape == (2, 5, *halved)
    assert UpBlock(dims, 3, 5)(x).shape == (2, 5, *doubled)
    assert ResBlock(dims, 3)(x).shape == x.shape


@pytest.mark.parametrize("dims", [2, 3])
def test_hourglass_joins_its_input_and_trains_every_weight(dims: int) -> None:
    x = torch.randn(2, 3, *((2,) if dims == 3 else ()), 8, 8)
    net = Hourglass(dims, 3, first=4, largest=8, levels=3)
    y = net(x)
    assert y.shape[1] == net.channels == 7
    torch.testing.assert_close(y[:, 4:], x)
    y.square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())


def test_bottleneck_strides_with_a_learned_shortcut() -> None:
    x = torch.randn(1, 8, 6, 6)
    assert Bottleneck(8)(x).shape == x.shape
    assert Bottleneck(8, stride=2)(x).shape == (1, 8, 3, 3)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_antialias_keeps_a_constant_and_takes_every_nth_pixel(factor: int) -> None:
    down = AntialiasDownsample(3, factor)
    torch.testing.assert_close(down(torch.full((1, 3, 64, 64), 0.7))[0, 0, 8, 8], torch.tensor(0.7))
    x = torch.rand(1, 3, 16, 16)
    kernel = gaussian_kernel(factor).expand(3, 1, -1, -1)
    smooth = F.conv2d(x, kernel, padding=kernel.shape[-1] // 2, groups=3)
    torch.testing.assert_close(down(x), smooth[..., ::factor, ::factor])
