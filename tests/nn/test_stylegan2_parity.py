"""Our StyleGAN2 gives the numbers of both public implementations, on the plain and on the prepared path."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from portrayal.nn.stylegan2 import Generator, truncate
from portrayal.nn.stylegan2_inference import FoldedSynthesis
from portrayal.weights.convert.stylegan2 import generator_from_nvidia, generator_from_rosinality
from tests.parity import Fixture, parity_fixture

Draw = Callable[[Tensor], Tensor]


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize(
    "name", ["stylegan2_rosinality_small", pytest.param("stylegan2_rosinality_256", marks=pytest.mark.slow)]
)
@torch.no_grad()
def test_rosinality(name: str, folded: bool) -> None:
    fixture = parity_fixture(name)
    c, x = fixture.configuration, fixture.inputs
    with torch.device("meta"):
        net = Generator(
            c["size"],
            z_dim=c["style_dim"],
            w_dim=c["style_dim"],
            mapping_layers=c["n_mlp"],
            channel_base=16384 * c["channel_multiplier"],
        )
    net.load_state_dict(generator_from_rosinality(fixture.state, w_mean=x["w_mean"]), assign=True)
    draw: Draw = FoldedSynthesis(net.synthesis) if folded else net.synthesis
    centre = net.mapping.w_mean
    w = net.mapping(x["z"])
    fixture.check("w_of_z", w)
    fixture.check("image_w", draw(net.broadcast(x["w"])))
    fixture.check("image_wp", draw(x["wp"]))
    fixture.check("image_wp_trunc07", draw(truncate(x["wp"], centre, 0.7)))
    shifted = x["wp"].clone()
    shifted[:, : x["shift"].shape[1]] += x["shift"]
    fixture.check("image_shift_trunc07", draw(truncate(shifted, centre, 0.7)))
    fixture.check("image_z_trunc07", draw(truncate(net.broadcast(w[:1]), centre, 0.7)))
    if not folded:
        fixture.check("image_z_trunc07", net(x["z"][:1], psi=0.7))


def nvidia_generator(fixture: Fixture) -> Generator:
    c = fixture.configuration
    net = Generator(
        c["img_resolution"],
        z_dim=c["z_dim"],
        w_dim=c["w_dim"],
        label_dim=c["c_dim"],
        mapping_layers=c["mapping_num_layers"],
        channels=c["img_channels"],
        channel_base=c["channel_base"],
        channel_max=c["channel_max"],
        clamp=c["conv_clamp"],
    )
    # The fixture keeps the mean w at zero, and does not store it.
    state = {"mapping.w_avg": torch.zeros(c["w_dim"])} | fixture.state
    net.load_state_dict(generator_from_nvidia(state))
    return net


@torch.no_grad()
def test_nvidia() -> None:
    fixture = parity_fixture("eg3d_stylegan2_small")
    net, x = nvidia_generator(fixture), fixture.inputs
    ws = net.broadcast(net.mapping(x["z"], x["c"]))
    fixture.check("ws_of_z_c", ws)
    fixture.check("ws_trunc05_cutoff3_with_w_avg_input", truncate(ws, x["w_avg"], 0.5, layers=3))
    fixture.check("image_const_noise", net.synthesis(x["ws"]))
    fixture.check("image_const_noise", FoldedSynthesis(net.synthesis)(x["ws"]))
    quiet = net.synthesis(x["ws"], noise="none")
    fixture.check("image_no_noise", quiet)
    fixture.check("image_no_noise", FoldedSynthesis(net.synthesis, noise=False)(x["ws"]))
    # Their two orders of modulating differ in rounding only; ours passes for both, one picture at a time too.
    fixture.check("image_no_noise_unfused", quiet)
    single = torch.cat([net.synthesis(w[None], noise="none") for w in x["ws"]])
    fixture.check("image_no_noise_unfused", single)
