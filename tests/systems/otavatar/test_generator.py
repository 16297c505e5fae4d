"""EG3D's generator as one module: the official numbers, shapes, what has gradients."""

from dataclasses import replace

import pytest
import torch

from portrayal.face.camera import camera_label, fov_to_intrinsics, orbit
from portrayal.nn.rendering.head import MIDDLE
from portrayal.nn.rendering.volume import Draws, RayConfig, random_draws
from portrayal.systems.otavatar.config import Config, GeneratorConfig
from portrayal.systems.otavatar.generator import TriplaneGenerator
from portrayal.systems.otavatar.model import Otavatar
from portrayal.weights.convert.eg3d import parts_of_eg3d
from tests.parity import parity_fixture

TINY = Config.tiny().generator
AS_HEAD = replace(TINY, head_prior=True, background=4, rays=replace(TINY.rays, limits=None))


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
@pytest.mark.parametrize("config", [TINY, AS_HEAD])
def test_a_quick_look_is_the_same_picture(config: GeneratorConfig) -> None:
    torch.manual_seed(0)
    rays = replace(config.rays, coarse_samples=8, fine_samples=8)
    generator = TriplaneGenerator(replace(config, plane_axes="legacy", rays=rays))
    ws, camera = torch.randn(1, 6, 16), cameras(0.3)
    planes = generator.planes(ws)
    quick = generator.look(planes, ws, camera)
    torch.testing.assert_close(quick, generator.view(planes, ws, camera).picture, atol=0.02, rtol=0)


@torch.no_grad()
def test_the_density_begins_as_a_head() -> None:
    """Full in the middle, nothing away from it, whatever the latents; the planes' other channels are the network's."""
    torch.manual_seed(0)
    generator = TriplaneGenerator(AS_HEAD)
    planes = generator.planes(torch.randn(2, 6, 16))
    density = generator.density(planes, torch.tensor([MIDDLE, (0.4, 0.0, 0.0), (0.0, -0.45, 0.0)]).expand(2, 3, 3))
    assert float(density[:, 0].min()) > 15
    torch.testing.assert_close(density[:, 1:], torch.full((2, 2), -3.0), atol=0.2, rtol=0)
    assert float(planes[:, :, 1:].std()) > 0.1


@torch.no_grad()
def test_the_background_stays_where_it_is() -> None:
    """A turn of the camera changes the head and what it covers, not the corners."""
    torch.manual_seed(0)
    generator = TriplaneGenerator(AS_HEAD)
    ws = generator.broadcast(torch.randn(1, 16))
    planes = generator.planes(ws)
    front, side = (generator.view(planes, ws, cameras(turn)).raw for turn in (0.0, 0.5))
    corners = [front[..., :3, :3] - side[..., :3, :3], front[..., -3:, :3] - side[..., -3:, :3]]
    assert max(float(change.abs().max()) for change in corners) < 0.1
    assert float((front - side)[..., 6:10, 6:10].abs().mean()) > 0.02
    assert float(front[..., :3].std()) > 0.05, "it is no plain black"


@pytest.mark.parametrize("config", [TINY, AS_HEAD])
def test_every_trainable_parameter_gets_a_gradient(config: GeneratorConfig) -> None:
    torch.manual_seed(0)
    generator = TriplaneGenerator(config)
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
        model = Otavatar(config)
    numbers = sum(x.numel() for x in model.state_dict().values())
    assert config.generator.size == 128
    assert 2 * numbers < 14e6
