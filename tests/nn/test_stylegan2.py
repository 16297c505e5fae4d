"""StyleGAN2's generator against its operators by definition; truncation, mixing, noise, precision, gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from portrayal.nn.resample import binomial_filter, blur, double, halve
from portrayal.nn.stylegan2 import (
    Generator,
    MappingNetwork,
    SynthesisNetwork,
    draw_crossovers,
    mix_styles,
    sizes,
    truncate,
)
from portrayal.nn.stylegan2_inference import FoldedSynthesis
from portrayal.nn.stylegan2_layers import EqualLinear, StyledConv, modulated_conv
from tests.nn import stylegan2_reference as reference


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noisy(network: SynthesisNetwork, seed: int = 0) -> SynthesisNetwork:
    """With noise and biases that are not zero, as after training."""
    random = seeded(seed)
    for name, p in network.named_parameters():
        if name.endswith(("noise_strength", "bias")):
            p.data += 0.3 * torch.randn(p.shape, generator=random)
    return network


def small_synthesis(size: int = 16, *, clamp: float | None = None) -> SynthesisNetwork:
    return noisy(SynthesisNetwork(size, 16, channels=5, channel_base=128, channel_max=16, clamp=clamp))


@settings(max_examples=15, deadline=None)
@given(b=st.integers(1, 3), c=st.integers(1, 4), h=st.integers(1, 5), w=st.integers(1, 5), seed=st.integers(0, 999))
def test_resampling_by_definition(b: int, c: int, h: int, w: int, seed: int) -> None:
    x = torch.randn(b, c, 2 * h, 2 * w, generator=seeded(seed))
    f = reference.fir()
    torch.testing.assert_close(binomial_filter(), f)
    torch.testing.assert_close(double(x), reference.upfirdn2d(x, f, up=2, pad=(2, 1), gain=4), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(halve(x), reference.upfirdn2d(x, f, down=2, pad=(1, 1)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        blur(x, padding=2, gain=3), reference.upfirdn2d(x, f, pad=(2, 2), gain=3), atol=1e-5, rtol=1e-5
    )


@settings(max_examples=20, deadline=None)
@given(
    b=st.integers(1, 3),
    c_in=st.integers(1, 5),
    c_out=st.integers(1, 5),
    kernel=st.sampled_from([1, 3]),
    demodulate=st.booleans(),
    up=st.booleans(),
    seed=st.integers(0, 999),
)
def test_modulated_convolution_is_the_grouped_one(
    b: int, c_in: int, c_out: int, kernel: int, demodulate: bool, up: bool, seed: int
) -> None:
    random = seeded(seed)
    up = up and kernel == 3
    x = torch.randn(b, c_in, 4, 6, generator=random, requires_grad=True)
    weight = torch.randn(c_out, c_in, kernel, kernel, generator=random, requires_grad=True)
    style = (1 + 0.5 * torch.randn(b, c_in, generator=random)).requires_grad_()
    mine = modulated_conv(x, weight, style, demodulate=demodulate, double_size=up)
    theirs = reference.grouped_modulated_conv(x, weight, style, demodulate=demodulate, up=up)
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
    probe = torch.randn(mine.shape, generator=random)
    for a, e in zip(
        torch.autograd.grad((mine * probe).sum(), (x, weight, style)),
        torch.autograd.grad((theirs * probe).sum(), (x, weight, style)),
        strict=True,
    ):
        torch.testing.assert_close(a, e, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("clamp", [None, 0.8])
@pytest.mark.parametrize("noise", [False, True])
@torch.no_grad()
def test_plain_and_folded_paths_by_definition(batch: int, clamp: float | None, noise: bool) -> None:
    net = small_synthesis(clamp=clamp)
    ws = torch.randn(batch, net.layers, 16, generator=seeded(1))
    expected = reference.synthesis(net, ws, noise=noise)
    torch.testing.assert_close(net(ws, noise="const" if noise else "none"), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(FoldedSynthesis(net, noise=noise)(ws), expected, atol=1e-4, rtol=1e-4)
    channels_last = net.to(memory_format=torch.channels_last)
    torch.testing.assert_close(channels_last(ws, noise="const" if noise else "none"), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_folding_covers_wide_layers_and_large_maps() -> None:
    """The cheaper side of each layer is scaled: the weight where the map is large, the map where the weight is."""
    net = noisy(SynthesisNetwork(32, 8, channel_base=128, channel_max=24))
    ws = torch.randn(1, net.layers, 8, generator=seeded(2))
    torch.testing.assert_close(FoldedSynthesis(net)(ws), reference.synthesis(net, ws), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_half_precision_is_close_and_styles_stay_exact() -> None:
    net = small_synthesis()
    ws = torch.randn(2, net.layers, 16, generator=seeded(3))
    exact = net(ws)
    assert torch.equal(exact, net(ws))
    with torch.autocast("cpu", torch.bfloat16):
        half = net(ws)
        style = net.blocks[0].conv1.conv.affine(ws[:, 0])
    assert half.dtype == style.dtype == torch.float32
    torch.testing.assert_close(style, net.blocks[0].conv1.conv.affine(ws[:, 0]))
    for image in (half, FoldedSynthesis(net, dtype=torch.bfloat16)(ws)):
        error = float((image - exact).std() / exact.std())
        assert 0 < error < 0.02


def test_folded_network_keeps_its_weights_while_the_other_is_trained() -> None:
    net = small_synthesis()
    ws = torch.randn(1, net.layers, 16, generator=seeded(4))
    folded = FoldedSynthesis(net)
    before = folded(ws)
    assert not before.requires_grad
    for p in net.parameters():
        p.data += 1
    torch.testing.assert_close(folded(ws), before)
    assert not torch.allclose(FoldedSynthesis(net)(ws), before)


def test_every_parameter_is_trained_and_second_derivatives_exist() -> None:
    net = Generator(8, z_dim=6, w_dim=8, mapping_layers=2, channel_base=64, channel_max=8)
    ws = net.broadcast(net.mapping(torch.randn(2, 6, generator=seeded(5))))
    image = net.synthesis(ws, noise="random", generator=seeded(6))
    (slope,) = torch.autograd.grad(image.square().sum(), ws, create_graph=True)
    (image.mean() + slope.square().sum()).backward()
    for name, p in net.named_parameters():
        assert p.grad is not None, name
        assert bool(p.grad.isfinite().all()), name


def test_noise_modes() -> None:
    layer = StyledConv(3, 4, 8, size=6)
    x, w = torch.randn(2, 3, 6, 6), torch.randn(2, 8)
    x[1], w[1] = x[0], w[0]
    torch.testing.assert_close(layer(x, w, noise="const"), layer(x, w, noise="none"))  # strength begins at 0
    layer.noise_strength.data.fill_(1.0)
    drawn = layer(x, w, noise="random", generator=seeded(7))
    torch.testing.assert_close(drawn, layer(x, w, noise="random", generator=seeded(7)))
    assert not torch.allclose(drawn, layer(x, w, noise="random", generator=seeded(8)))
    assert not torch.allclose(drawn[0], drawn[1])
    stored = layer(x, w, noise="const")
    torch.testing.assert_close(stored[0], stored[1])
    assert not torch.allclose(stored, layer(x, w, noise="none"))


def test_equalised_layers_scale_at_run_time() -> None:
    layer = EqualLinear(4, 3, rate=0.01, bias=0.5)
    x = torch.randn(2, 4)
    torch.testing.assert_close(layer(x), x @ (layer.weight * 0.01 / 2).T + 0.5)
    active = EqualLinear(1, 1, active=True)
    active.weight.data.fill_(1.0)
    torch.testing.assert_close(active(torch.tensor([[2.0], [-2.0]])).flatten(), torch.tensor([2.0, -0.4]) * 2**0.5)


def test_truncation_by_hand() -> None:
    ws = torch.tensor([2.0, 4.0]).expand(1, 3, 2)
    centre = torch.tensor([0.0, 2.0])
    half, whole = [1.0, 3.0], [2.0, 4.0]
    assert truncate(ws, centre, 0.5).tolist() == [[half, half, half]]
    assert truncate(ws, centre, 0.5, layers=2).tolist() == [[half, half, whole]]
    torch.testing.assert_close(truncate(ws, centre, 1.0), ws)


def test_mixing_takes_the_other_from_the_crossover_on() -> None:
    a, b = torch.zeros(3, 4, 1), torch.ones(3, 4, 1)
    mixed = mix_styles(a, b, torch.tensor([1, 3, 4]))[..., 0]
    assert mixed.tolist() == [[0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_crossovers_are_uniform_and_mix_as_often_as_asked() -> None:
    at = draw_crossovers(4000, 5, probability=0.8, generator=seeded(9))
    counts = torch.bincount(at, minlength=6) / 4000
    assert counts[0] == 0
    assert counts[1:5].tolist() == pytest.approx([0.2] * 4, abs=0.03)
    assert float(counts[5]) == pytest.approx(0.2, abs=0.03)


def test_mean_of_w() -> None:
    net = MappingNetwork(4, 6, layers=2)
    many = net.measure_mean(8000, generator=seeded(10))
    torch.testing.assert_close(many, net.measure_mean(8000, generator=seeded(11)), atol=0.1, rtol=0)
    w = torch.ones(3, 6)
    net.follow_mean(w, decay=0.9)
    net.follow_mean(w, decay=0.9)
    torch.testing.assert_close(net.w_mean, torch.full((6,), 0.19))


def test_mapping_ignores_the_length_of_z_and_reads_the_label() -> None:
    net = MappingNetwork(4, 6, label_dim=3, layers=2)
    z, label = torch.randn(2, 4), torch.randn(2, 3)
    torch.testing.assert_close(net(z, label), net(5 * z, label))
    assert not torch.allclose(net(z, label), net(z, label.flip(0)))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="power of two"):
        sizes(48)
    with pytest.raises(ValueError, match="labels of 3 numbers, got 0"):
        MappingNetwork(4, 6, label_dim=3)(torch.randn(1, 4))
    with pytest.raises(ValueError, match="labels of 0 numbers, got 3"):
        MappingNetwork(4, 6)(torch.randn(1, 4), torch.randn(1, 3))
    net = small_synthesis(8)
    for draw in (net, FoldedSynthesis(net)):
        with pytest.raises(ValueError, match=r"\(b, 4, 16\)"):
            draw(torch.randn(1, 3, 16))


def test_number_of_layers() -> None:
    with torch.device("meta"):
        assert SynthesisNetwork(256, 512).layers == 14
        assert SynthesisNetwork(1024, 512, channel_base=32768).layers == 18


def test_w_is_shared_between_a_picture_and_the_next_block() -> None:
    """The last w of a block colours its picture and is the first of the next block; the last of all only colours."""
    net = small_synthesis(8)
    ws = torch.randn(1, net.layers, 16, generator=seeded(12))
    used: list[Tensor] = list(net.styles_of_blocks(ws))
    torch.testing.assert_close(used[0][:, -1], used[1][:, 0])
    assert [u.shape[1] for u in used] == [2, 3]
