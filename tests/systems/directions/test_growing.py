"""A model of twice the size begins where the smaller one is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from portrayal.errors import InputError
from portrayal.nn.stylegan2_layers import double
from portrayal.systems.directions import train_stylegan as stylegan
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.growing import grown
from portrayal.systems.directions.parts import build_discriminator, build_encoder, build_generator
from tests.systems.directions.training import start, values

SMALL = Config.tiny()
LARGE = replace(SMALL, image_size=64, encoder=replace(SMALL.encoder, side=32))


def fill(network: nn.Module, smaller: nn.Module) -> None:
    network.load_state_dict(grown(network, smaller.state_dict()))


@torch.no_grad()
def test_a_generator_draws_the_same_picture_enlarged() -> None:
    torch.manual_seed(0)
    smaller, larger = build_generator(SMALL), build_generator(LARGE)
    fill(larger, smaller)
    w = smaller.mapping(torch.randn(2, SMALL.generator.w_dim))
    enlarged = double(smaller.synthesis(smaller.broadcast(w)))
    torch.testing.assert_close(larger.synthesis(larger.broadcast(w)), enlarged)


def test_a_grown_block_learns() -> None:
    torch.manual_seed(0)
    larger = build_generator(LARGE)
    fill(larger, build_generator(SMALL))
    larger(torch.randn(2, SMALL.generator.w_dim)).square().mean().backward()
    slope = larger.synthesis.blocks[-1].to_rgb.conv.weight.grad
    assert slope is not None
    assert bool(slope.any())


@torch.no_grad()
def test_an_encoder_sees_the_same_and_repeats_its_last_layer() -> None:
    torch.manual_seed(0)
    smaller, larger = build_encoder(SMALL).eval(), build_encoder(LARGE).eval()
    fill(larger, smaller)
    picture = torch.rand(2, 3, 64, 64) * 2 - 1
    codes, before = larger(picture), smaller(nn.functional.avg_pool2d(picture, 2))
    assert codes.shape == (2, 10, SMALL.generator.w_dim)
    torch.testing.assert_close(codes[:, :8], before)
    torch.testing.assert_close(codes[:, 8:], before[:, 7:].expand(-1, 2, -1))


def test_a_discriminator_keeps_what_is_behind_its_new_block() -> None:
    torch.manual_seed(0)
    smaller, larger = build_discriminator(SMALL), build_discriminator(LARGE)
    own = {name: value.clone() for name, value in larger.state_dict().items()}
    fill(larger, smaller)
    now, old = larger.state_dict(), smaller.state_dict()
    assert torch.equal(now["blocks.1.conv0.weight"], old["blocks.0.conv0.weight"])
    assert torch.equal(now["logits.weight"], old["logits.weight"])
    for name in ("from_rgb.weight", "blocks.0.conv0.weight"):
        assert torch.equal(now[name], own[name])


def test_the_same_size_is_taken_as_it_is() -> None:
    for build in (build_generator, build_discriminator, build_encoder):
        network = build(SMALL)
        tensors = network.state_dict()
        assert grown(network, tensors) is tensors


def test_a_stage_goes_on_from_a_file_of_half_the_size(tmp_path: Path) -> None:
    small, large = SMALL.of_stage("stylegan"), LARGE.of_stage("stylegan")
    before = start(stylegan.STAGE, small)
    stylegan.save_weights(tmp_path / "small.safetensors", before, small, {})
    state = start(stylegan.STAGE, large)
    stylegan.load_weights(tmp_path / "small.safetensors", state)
    w = torch.randn(1, SMALL.generator.w_dim)
    with torch.no_grad():
        torch.testing.assert_close(
            state.networks["generator"](w), double(before.networks["generator"](w)), rtol=1e-2, atol=1e-2
        )
    now = values(state)
    assert all(torch.equal(now[name], value) for name, value in state.averaged.state_dict().items())


def test_two_sizes_at_once_are_refused(tmp_path: Path) -> None:
    small, large = SMALL.of_stage("stylegan"), replace(LARGE, image_size=128).of_stage("stylegan")
    stylegan.save_weights(tmp_path / "small.safetensors", start(stylegan.STAGE, small), small, {})
    with pytest.raises(InputError, match="does not fit the generator"):
        stylegan.load_weights(tmp_path / "small.safetensors", start(stylegan.STAGE, large))
