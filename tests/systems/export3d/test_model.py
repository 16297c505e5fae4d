"""Generator, renderer and the whole: shapes of the paper, moving average, geometry, gradients."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from portrayal.errors import InputError
from portrayal.face.camera import world_to_picture
from portrayal.nn.resample import double
from portrayal.systems.export3d.config import Config, GeneratorConfig
from portrayal.systems.export3d.detail import SourceView
from portrayal.systems.export3d.flow import Look
from portrayal.systems.export3d.generator import TriplaneGenerator
from portrayal.systems.export3d.model import Export3d
from portrayal.systems.export3d.renderer import PlainBlock, Renderer, TwoMlps, enlarge
from portrayal.train.run_folder import config_json
from portrayal.weights.registry import config_from_dict
from tests.systems.export3d.cameras import camera

TINY = Config.tiny()
BARE = replace(
    TINY,
    generator=replace(TINY.generator, lift=False),
    renderer=replace(
        TINY.renderer, head_prior=False, split=False, detail=False, flow=False, body=False, corrected=False
    ),
)
"""The paper's networks."""


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def inputs(b=2, size=64):
    return torch.rand(b, 3, size, size), torch.randn(b, 64), camera(b=b)


def test_the_papers_shapes_and_sizes():
    """Sec. 3.2 and 3.3 at 256 x 256: h / 4 x 32 x 32, 256 tokens of h = 1024, planes 3 x 32 x 128 x 128, 64 and 256."""
    config = Config.paper()
    with torch.device("meta"):
        model = Export3d(config)
        generator = model.generator
        source, code = torch.empty(2, 3, 256, 256), torch.empty(2, config.clebs.dimension)
        assert generator.features(source).shape == (2, 256, 32, 32)
        tokens = generator.encode(source)
        assert tokens.tokens.shape == (2, 256, 1024)
        assert generator.decode(tokens, code).shape == (2, 3, 32, 128, 128)
        assert generator.mean_planes.shape == (3, 32, 128, 128)
    assert model.renderer.side == 64
    assert len(model.renderer.super_resolution) == 2
    assert all(block.attention.heads == 4 for block in (*generator.conditional, *generator.plain))
    parts = {name: count(part) for name, part in model.named_children() if name != "seen"}
    assert parts == {"expression_encoder": 21_770, "generator": 89_224_608, "renderer": 302_247}
    assert [count(block) for block in generator.conditional] == [68_428_800 // 5] * 5
    assert [count(part) for part in (generator.features, generator.merge)] == [2_289_984, 2_362_368]
    assert count(generator.merge_again) + count(generator.plain) == 14_999_552
    rest = (generator.between, generator.joined, generator.refine, generator.planes)
    assert sum(count(part) for part in rest) == 1_143_904
    assert [count(part) for part in (model.renderer.mlps, model.renderer.super_resolution)] == [6_369, 295_878]


def test_compact_is_small():
    with torch.device("meta"):
        model = Export3d(Config.compact())
    assert count(model) == 6_507_188
    assert sum(value.numel() for value in model.state_dict().values()) * 2 <= 14e6


def test_planes_depend_on_picture_and_expression_each_of_its_own_sample():
    generator = TriplaneGenerator(BARE.generator, image_size=64, dimension=64, box_size=1.2)
    for block in generator.conditional:
        nn.init.normal_(block.norm1.scale_shift.weight, std=0.1)
    source, code = torch.rand(3, 3, 64, 64), torch.randn(3, 64)
    planes = generator(source, code)
    assert planes.shape == (3, 3, 8, 32, 32)
    torch.testing.assert_close(generator(source[1:2], code[1:2]), planes[1:2], atol=1e-5, rtol=1e-4)
    assert (generator(source[[0]], code[[1]]) - planes[:1]).abs().max() > 1e-3
    assert (generator(source[[1]], code[[0]]) - planes[:1]).abs().max() > 1e-3


def test_the_moving_average_is_equation_2_of_the_supplement():
    generator = TriplaneGenerator(BARE.generator, image_size=64, dimension=64, box_size=1.2)
    delta, average = TINY.generator.plane_decay, torch.zeros(3, 8, 32, 32)
    for _ in range(4):
        planes = torch.randn(2, 3, 8, 32, 32)
        torch.testing.assert_close(generator.stabilise(planes), planes + average)
        generator.follow(planes)
        average = delta * average + (1 - delta) * (planes[0] + planes[1]) / 2
        torch.testing.assert_close(generator.mean_planes, average)


def test_the_moving_average_carries_no_gradient():
    generator = TriplaneGenerator(BARE.generator, image_size=64, dimension=64, box_size=1.2)
    planes = torch.randn(2, 3, 8, 32, 32, requires_grad=True)
    generator.follow(planes)
    assert not generator.mean_planes.requires_grad
    (slope,) = torch.autograd.grad(generator.stabilise(planes).sum(), planes)
    assert torch.equal(slope, torch.ones_like(slope))


@pytest.mark.parametrize("config", [TINY, BARE])
def test_every_parameter_but_the_pretrained_encoder_gets_a_gradient(config):
    model = Export3d(config)
    source, expression, view = inputs()
    known = SourceView(source, camera(0.2, b=2), torch.zeros(2, 80), Look(torch.zeros(2, 64), torch.zeros(2, 2, 2)))
    view, planes = model(source, expression, view, gaze=torch.zeros(2, 2, 2), view=known)
    assert view.raw.shape == (2, 3, 16, 16)
    assert view.picture.shape == (2, 3, 64, 64)
    assert view.depth.shape == view.opacity.shape == (2, 16, 16)
    assert planes.shape == (2, 3, 8, 32, 32)
    (view.picture - 0.3).square().mean().backward()
    for name, p in model.named_parameters():
        frozen = name.startswith("expression_encoder")
        assert (p.grad is None) if frozen else (p.grad is not None and p.grad.abs().max() > 0), name


def test_gaze_reaches_the_expression_encoder():
    model = Export3d(replace(BARE, clebs=replace(BARE.clebs, gaze=True)))
    source, expression, view = inputs(1)
    assert model(source, expression, view, gaze=torch.zeros(1, 2, 2))[0].picture.shape == (1, 3, 64, 64)
    with pytest.raises(InputError, match="the expression encoder needs the gaze"):
        model(source, expression, view)


class Ball(nn.Module):
    """Dense where the mean of the planes' first channel is high; the colour is the second channel."""

    def forward(self, features):
        return features[..., 1:2].expand(*features.shape[:-1], 8), 600 * (features[..., 0] - 0.8)


def planes_of_ball(centre, size=32, box=TINY.renderer.box_size):
    """A Gaussian around `centre` in each plane: where all three are high, near 1. Second channel: 0.7."""
    steps = ((torch.arange(size) + 0.5) / size - 0.5) * box
    planes = torch.zeros(1, 3, 8, size, size)
    for k, (across, down) in enumerate(((0, 1), (0, 2), (2, 1))):  # xy, xz, zy: `nn.triplane`, orthogonal
        away = (steps[None] - centre[across]) ** 2 + (steps[:, None] - centre[down]) ** 2
        planes[0, k, 0] = (-away / 0.02).exp()
    planes[:, :, 1] = 0.7
    return planes


@pytest.mark.parametrize("azimuth", [0.0, 0.5])
def test_a_point_is_rendered_where_the_camera_sees_it(azimuth):
    many = replace(BARE.renderer, samples=(32, 32))
    renderer = Renderer(many, plane_channels=8, image_size=128).eval()
    renderer.mlps = Ball()
    centre, view = torch.tensor([0.15, -0.2, 0.1]), camera(azimuth)
    seen = renderer(planes_of_ball(centre), view)
    grid = torch.arange(32) + 0.5
    weight = seen.opacity[0] / seen.opacity[0].sum()
    found = torch.stack([(weight.sum(0) * grid).sum(), (weight.sum(1) * grid).sum()])
    expected = world_to_picture(centre[None, None], view, width=32, height=32)[0, 0]
    torch.testing.assert_close(found, expected, atol=0.4, rtol=0)
    middle = tuple(expected.long().flip(0).tolist())
    assert seen.opacity[0][middle] > 0.95
    torch.testing.assert_close(seen.raw[0, :, *middle], torch.full((3,), 0.7), atol=0.04, rtol=0)
    away = (view[0, [3, 7, 11]] - centre).norm()
    assert abs(seen.depth[0][middle] - away) < 0.12


def test_colour_and_density_are_two_networks():
    mlps = TwoMlps(8, neurons=16, colours=4)
    features = torch.randn(2, 5, 8)
    colour, density = mlps(features)
    by_hand = [
        torch.log1p((features @ net[0].weight.T + net[0].bias).exp()) @ net[2].weight.T + net[2].bias
        for net in (mlps.to_density, mlps.to_colour)
    ]
    torch.testing.assert_close(density, by_hand[0][..., 0])
    torch.testing.assert_close(colour, 1 / (1 + (-by_hand[1]).exp()))
    shared = {p.data_ptr() for p in mlps.to_density.parameters()} & {p.data_ptr() for p in mlps.to_colour.parameters()}
    assert not shared
    raw, state = mlps.density(features)
    torch.testing.assert_close((mlps.colour(state), raw), (colour, density))


def test_super_resolution_adds_to_the_enlarged_raw_picture():
    block = PlainBlock(8, 4)
    x, image = torch.rand(1, 8, 6, 6), torch.rand(1, 3, 6, 6)
    feature, made = block(x, image)
    assert feature.shape == (1, 4, 12, 12)
    added = torch.einsum("bchw,oc->bohw", feature, block.to_rgb.weight[..., 0, 0]) + block.to_rgb.bias[:, None, None]
    torch.testing.assert_close(made, enlarge(image) + added)
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(enlarge(image)[inner], double(image)[inner])
    torch.testing.assert_close(enlarge(torch.full((1, 3, 4, 4), -0.8)), torch.full((1, 3, 8, 8), -0.8))


def test_a_trained_renderer_gives_the_same_picture_twice_and_draws_in_training():
    renderer = Renderer(BARE.renderer, plane_channels=8, image_size=64)
    planes, view = torch.randn(1, 3, 8, 32, 32), camera()
    draws = [renderer(planes, view, generator=torch.Generator().manual_seed(s)).picture for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    renderer.eval()
    assert torch.equal(renderer(planes, view).picture, renderer(planes, view).picture)


def test_a_turned_camera_sees_the_same_planes_from_the_side():
    model = Export3d(BARE).eval()
    source, expression, front = inputs(1)
    with torch.no_grad():
        planes = model.generator(source, model.expression_encoder(expression))
        views = [model.renderer(planes, c).raw for c in (front, camera(0.4))]
        torch.testing.assert_close(views[0], model(source, expression, front)[0].raw)
    assert (views[0] - views[1]).abs().max() > 1e-3


@pytest.mark.parametrize("config", [Config.tiny(), Config.compact(), Config.paper()])
def test_a_configuration_comes_back_from_a_weights_file(config):
    assert config_from_dict(Config, json.loads(config_json(config))) == config


def test_bad_configurations():
    with pytest.raises(ValueError, match=r"generator\.hidden 40 must be a multiple of 4 generator\.heads = 16"):
        GeneratorConfig(hidden=40)
    with pytest.raises(ValueError, match=r"generator\.last 20 must be multiples of 8"):
        GeneratorConfig(last=20)
    with pytest.raises(ValueError, match="image_size must be a power of two of at least 32, got 96"):
        Config(image_size=96)


@pytest.mark.parametrize("config", [TINY, BARE])
def test_the_quick_look_is_the_march(config):
    renderer = Renderer(config.renderer, plane_channels=8, image_size=64).eval().requires_grad_(False)
    planes, view = torch.randn(1, 3, 8, 32, 32), camera(0.3)
    slow, quick = renderer.march(planes, view), renderer.look(planes, view)
    torch.testing.assert_close(quick.colour, slow.colour, atol=4e-3, rtol=0)
    torch.testing.assert_close(quick.opacity, slow.opacity, atol=4e-3, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        half = renderer.look(planes, view)
    torch.testing.assert_close(half.colour, slow.colour, atol=0.03, rtol=0)
