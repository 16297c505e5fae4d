"""EG3D's generator out of our parts gives the official numbers: planes, rendering, super-resolution."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from portrayal.nn.rendering.rays import camera_rays
from portrayal.nn.rendering.volume import Draws, RayConfig, Rendered, render_rays
from portrayal.nn.stylegan2 import Generator, truncate
from portrayal.nn.super_resolution import SuperResolution, split_feature
from portrayal.nn.triplane import OSGDecoder, triplane_field
from portrayal.weights.convert.eg3d import parts_of_eg3d, super_resolution_from_eg3d
from tests.parity import Fixture, parity_fixture


@pytest.mark.slow
@torch.no_grad()
def test_super_resolution() -> None:
    fixture = parity_fixture("eg3d_superres")
    net = SuperResolution(fixture.configuration["channels"])
    net.load_state_dict(super_resolution_from_eg3d(fixture.state))
    fixture.check("image", net(fixture.inputs["rgb"], fixture.inputs["feature"], fixture.inputs["ws"]))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("eg3d_triplane_small", marks=pytest.mark.slow),
        pytest.param("eg3d_triplane", marks=pytest.mark.slow),
    ],
)
@torch.no_grad()
def test_generator(name: str) -> None:
    fixture = parity_fixture(name)
    backbone, decoder, super_resolution = built(fixture)
    x = fixture.inputs
    ws = backbone.broadcast(backbone.mapping(x["z"], x["c"]))
    fixture.check("ws", ws)
    fixture.check("ws_trunc07_with_w_avg_input", truncate(ws, x["w_avg"], 0.7))
    planes = backbone.synthesis(x["ws"]).unflatten(1, (3, -1))
    fixture.check("planes", planes)

    config, side = ray_config(fixture), fixture.configuration["neural_rendering_resolution"]
    fine = torch.linspace(0, 1, config.fine_samples).expand(1, side**2, -1)
    fixed = Draws(torch.full((1, side**2, config.coarse_samples), 0.5), fine)
    rendered = rendering(planes, decoder, x["c"], config, fixed)
    rgb, feature = split_feature(rendered.colour, height=side, width=side)
    fixture.check("raw_rgb", rgb)
    fixture.check("feature", feature)
    fixture.check("depth", rendered.depth.unflatten(1, (1, side, side)))
    if "u_coarse" in x:
        rendered = rendering(planes, decoder, x["c"], config, Draws(x["u_coarse"][..., 0], x["u_fine"][None]))
        fixture.check("noise_raw_rgb", split_feature(rendered.colour, height=side, width=side)[0])
        fixture.check("noise_depth", rendered.depth.unflatten(1, (1, side, side)))
    fixture.check("image", super_resolution(rgb, feature, x["ws"]))


def built(fixture: Fixture) -> tuple[Generator, OSGDecoder, SuperResolution]:
    c = fixture.configuration
    backbone = Generator(
        256,
        z_dim=c["z_dim"],
        w_dim=c["w_dim"],
        label_dim=c["c_dim"],
        mapping_layers=c["mapping_num_layers"],
        channels=96,
        channel_base=c["channel_base"],
        channel_max=c["channel_max"],
        clamp=c["conv_clamp"],
    )
    parts = backbone, OSGDecoder(rate=c["rendering"]["decoder_lr_mul"]), SuperResolution()
    # The fixture keeps the mean w at zero, and does not store it.
    state = {"backbone.mapping.w_avg": torch.zeros(c["w_dim"])} | fixture.state
    for part, own in zip(parts, parts_of_eg3d(state), strict=True):
        part.load_state_dict(own)
    return parts


def ray_config(fixture: Fixture) -> RayConfig:
    given = fixture.configuration["rendering"]
    return RayConfig(
        coarse_samples=given["depth_resolution"],
        fine_samples=given["depth_resolution_importance"],
        limits=(given["ray_start"], given["ray_end"]),
        box_size=given["box_warp"],
        disparity=given["disparity_space_sampling"],
    )


def rendering(planes: Tensor, decoder: OSGDecoder, camera: Tensor, config: RayConfig, draws: Draws) -> Rendered:
    side = int(draws.jitter.shape[1] ** 0.5)
    field = triplane_field(planes, decoder, box_size=config.box_size, plane_axes="legacy")
    return render_rays(field, *camera_rays(camera, height=side, width=side), config, draws)
