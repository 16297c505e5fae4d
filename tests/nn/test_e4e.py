"""e4e's encoder: equal to the public one, opened layer by layer."""

from __future__ import annotations

import pytest
import torch

from portrayal.nn.e4e import E4eEncoder
from tests.parity import parity_fixture

SMALL = ((16, 1), (16, 1), (32, 2), (32, 1))


def small(size: int = 32) -> E4eEncoder:
    torch.manual_seed(0)
    return E4eEncoder(size, w_dim=24, trunk=SMALL).eval()


@pytest.mark.slow
@torch.no_grad()
def test_parity_of_the_encoder() -> None:
    fixture = parity_fixture("e4e_encoder_256")
    with torch.device("meta"):
        net = E4eEncoder(fixture.configuration["image_resolution"])
    fixture.load(net)
    image = fixture.inputs["image"]
    stem = net.input_layer(image)
    fixture.check("stem", stem)
    fixture.check("body_first3", net.body[:3](stem))
    fixture.check("w_plus", net(image))


@torch.no_grad()
def test_layers_open_one_after_the_other() -> None:
    net, image = small(), torch.rand(2, 3, 32, 32) * 2 - 1
    assert net.layers == 8
    everything = net(image)
    assert everything.shape == (2, 8, 24)
    for count in (1, 2, 4, 8):
        opened = net(image, layers=count)
        torch.testing.assert_close(opened[:, :count], everything[:, :count])
        assert torch.equal(opened[:, count:], opened[:, :1].expand(-1, 8 - count, -1))
    assert not torch.allclose(everything[:, 7], everything[:, 0])


@torch.no_grad()
def test_larger_pictures_are_averaged_down() -> None:
    net, image = small(), torch.rand(2, 3, 32, 32) * 2 - 1
    blocks = image.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(net(blocks), net(image))


def test_closed_heads_and_maps_learn_nothing() -> None:
    net = small().train()
    net(torch.rand(2, 3, 32, 32), layers=2).square().sum().backward()
    learned = {name.rsplit(".", 1)[0] for name, p in net.named_parameters() if p.grad is not None}
    assert "styles.1.linear" in learned
    assert not any(name.startswith(("styles.2", "styles.7", "latlayer")) for name in learned)


def test_what_does_not_fit_is_explained() -> None:
    with pytest.raises(ValueError, match="at least 32 x 32"):
        E4eEncoder(16)
    with pytest.raises(ValueError, match="multiples of 16"):
        E4eEncoder(32, trunk=((8, 1), (16, 1), (16, 1), (32, 1)))
    for size in ((16, 16), (48, 48), (64, 32)):
        with pytest.raises(ValueError, match=r"reads \(b, 3, 32, 32\)"):
            small()(torch.zeros(1, 3, *size))
    with pytest.raises(ValueError, match="1 to 8 layers"):
        small()(torch.zeros(1, 3, 32, 32), layers=9)


def test_an_encoder_of_one_layer_gives_w_alone() -> None:
    torch.manual_seed(0)
    encoder = E4eEncoder(32, w_dim=8, layers=1, trunk=((16, 1), (16, 1), (16, 1), (16, 1)))
    w = encoder(torch.randn(2, 3, 32, 32))
    assert w.shape == (2, 1, 8)
    w.square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
