"""EG3D's generator as one module: the official numbers, shapes, what has gradients."""

from dataclasses import replace

import pytest
import torch

from portrayal.face.camera import camera_label, fov_to_intrinsics, orbit
from portrayal.nn.rendering.volume import Draws, RayConfig, random_draws
from portrayal.systems.otavatar.config import Config, GeneratorConfig
from portrayal.systems.otavatar.controller import Controller
from portrayal.systems.otavatar.generator import TriplaneGenerator
from portrayal.weights.convert.eg3d import parts_of_eg3d
from tests.parity import parity_fixture

TINY = Config.tiny().generator


def cameras(*azimuths: float) -> torch.Tensor:
    angles = torch.tensor(azimuths) + torch.pi / 2
    return camera_label(orbit(angles, torch.full_like(angles, torch.pi / 2)), fov_to_intrinsics(18.837))


@pytest.mark.slow
@torch.no_grad()
def test_parity() -> None:
    fixture = parity_fixture("eg3d_triplane_small")
    config = GeneratorConfig(
        channel_base=4096,
        channel_max=64,
        neural_size=32,
        plane_axes="legacy",
        rays=RayConfig(coarse_samples=12, fine_samples=12),
    )
    generator = TriplaneGenerator(config)
    state = {"backbone.mapping.w_avg": torch.zeros(512)} | fixture.state
    parts = (generator.backbone, generator.decoder, generator.super_resolution)
    for part, own in zip(parts, parts_of_eg3d(state), strict=True):
        part.load_state_dict(own)
    x = fixture.inputs
    fixture.check("ws", generator.broadcast(generator.latents(x["z"], x["c"])))
    planes = generator.planes(x["ws"])
    fixture.check("planes", planes)
    drawn = Draws(x["u_coarse"][..., 0], x["u_fine"][None])
    view = generator.view(planes, x["ws"], x["c"], draw=lambda rays, config: drawn)
    fixture.check("noise_raw_rgb", view.raw)
    fixture.check("noise_depth", view.depth)
    fixed = Draws(torch.full_like(drawn.jitter, 0.5), torch.linspace(0, 1, 12).expand(1, 1024, 12))
    view = generator.view(planes, x["ws"], x["c"], draw=lambda rays, config: fixed)
    assert view.picture is not None
    fixture.check("image", view.picture)


def test_shapes_and_an_orbit() -> None:
    torch.manual_seed(0)
    generator = TriplaneGenerator(TINY)
    assert (generator.layers, TINY.size) == (6, 32)
    ws = torch.randn(2, 6, 16)
    planes = generator.planes(ws)
    assert planes.shape == (2, 3, 8, 16, 16)
    front = generator.view(planes, ws, cameras(0.0, 0.0))
    side = generator.view(planes, ws, cameras(0.5, 0.5))
    assert front.raw.shape == (2, 3, 16, 16)
    assert front.depth.shape == (2, 1, 16, 16)
    assert front.picture is not None
    assert front.picture.shape == (2, 3, 32, 32)
    assert 2.25 <= front.depth.min() <= front.depth.max() <= 3.6
    assert (front.raw - side.raw).abs().mean() > 1e-4
    again = generator.view(planes, ws, cameras(0.0, 0.0))
    assert torch.equal(front.raw, again.raw)
    assert not torch.equal(front.raw, generator.view(planes, ws, cameras(0.0, 0.0), draw=random_draws).raw)
    assert generator.view(planes, ws, cameras(0.0, 0.0), enlarge=False).picture is None


def test_a_picture_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(0)
    generator = TriplaneGenerator(TINY)
    ws, camera = torch.randn(3, 6, 16), cameras(-0.3, 0.0, 0.4)
    together = generator(ws, camera)
    alone = torch.cat([generator(ws[i : i + 1], camera[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_quick_look_is_the_same_picture() -> None:
    torch.manual_seed(0)
    generator = TriplaneGenerator(replace(TINY, plane_axes="legacy", rays=RayConfig(coarse_samples=8, fine_samples=8)))
    ws, camera = torch.randn(1, 6, 16), cameras(0.3)
    planes = generator.planes(ws)
    quick = generator.look(planes, ws, camera)
    torch.testing.assert_close(quick, generator.view(planes, ws, camera).picture, atol=0.02, rtol=0)


def test_every_trainable_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    generator = TriplaneGenerator(TINY)
    camera = cameras(0.1, -0.2)
    ws = generator.broadcast(generator.latents(torch.randn(2, 16), camera))
    generator(ws, camera).square().sum().backward()
    reached = {name for name, p in generator.named_parameters() if p.grad is not None}
    assert reached == {name for name, p in generator.named_parameters() if p.requires_grad}
    through_latents = {name for name in reached if name.startswith("backbone.mapping")}
    assert reached - through_latents == generator.drawing_parameters().keys()


def test_half_precision_changes_the_picture_little() -> None:
    torch.manual_seed(0)
    generator = TriplaneGenerator(TINY)
    ws, camera = torch.randn(1, 6, 16), cameras(0.2)
    exact = generator(ws, camera)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = generator(ws, camera)
    assert (exact - rough).abs().mean() < 0.02 * exact.std() + 0.01


def test_compact_fits_into_fourteen_megabytes() -> None:
    config = Config.compact()
    with torch.device("meta"):
        generator = TriplaneGenerator(config.generator)
        controller = Controller(config.controller, layers=generator.layers, w_dim=config.generator.w_dim)
    numbers = sum(x.numel() for part in (generator, controller) for x in part.state_dict().values())
    assert config.generator.size == 128
    assert 2 * numbers < 14e6
