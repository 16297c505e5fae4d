"""The source's own pixels: fetched from where they are, and a background that does not look at the head."""

from dataclasses import replace

import pytest
import torch

from portrayal.errors import InputError
from portrayal.face.camera import world_to_picture
from portrayal.nn.rendering.depth import depth_map
from portrayal.nn.rendering.head import HALF_AXES, MIDDLE, head_distance, seen_from, silhouette
from portrayal.nn.rendering.rays import camera_rays
from portrayal.systems.export3d.config import Config, RendererConfig
from portrayal.systems.export3d.detail import (
    RIM,
    SIDEWAYS,
    Background,
    Lift,
    SourceView,
    fetch,
    left_behind,
    places_in_source,
    rim_places,
    sample,
    without_fog,
)
from portrayal.systems.export3d.flow import Look
from portrayal.systems.export3d.generator import TriplaneGenerator
from portrayal.systems.export3d.renderer import Renderer
from portrayal.types import Depth
from tests.systems.export3d.cameras import camera

TINY = Config.tiny()
REST = Look(torch.zeros(1, 64), torch.zeros(1, 2, 2))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def given(picture, view):
    """The mean face at rest."""
    return SourceView(picture, view, torch.zeros(len(view), 80), REST)


def grid(side):
    steps = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y])[None]


def test_the_same_camera_fetches_every_pixel_from_its_own_place_at_any_depth():
    view = camera(0.3)
    origins, directions = camera_rays(view, height=16, width=16)
    points = origins + (3 + 2 * torch.rand(1, 256, 1)) * directions
    places = places_in_source(points, torch.full((1, 256, 2), 0.5), view)
    torch.testing.assert_close(places.mT.unflatten(-1, (16, 16)), grid(16), atol=1e-4, rtol=0)


def test_an_offset_moves_the_place():
    points = torch.zeros(1, 1, 3)
    still, moved = (places_in_source(points, torch.tensor([[[x, 0.5]]]), camera()) for x in (0.5, 1.0))
    torch.testing.assert_close(moved - still, torch.tensor([[[0.4, 0.0]]]))


def test_fetched_pixels_and_those_of_the_background():
    picture, places = torch.rand(1, 3, 32, 32), grid(8)
    inner = (..., slice(4, -4), slice(4, -4))  # enlarging the places bends them at the border
    torch.testing.assert_close(fetch(picture, places, None)[inner], picture[inner], atol=1e-5, rtol=0)
    anywhere = torch.rand(1, 2, 8, 8)
    torch.testing.assert_close(fetch(picture, anywhere, torch.zeros(1, 1, 8, 8)), picture)
    shifted = fetch(picture, places + torch.tensor([4 / 16, 0])[:, None, None], torch.ones(1, 1, 8, 8))
    torch.testing.assert_close(shifted[..., 4:-4, 4:-8], picture[..., 4:-4, 8:-4], atol=1e-5, rtol=0)


def test_the_background_knows_nothing_of_the_head():
    network, view = Background(8, 8).eval(), camera()
    picture = torch.rand(1, 3, 64, 64)
    hidden = silhouette(view, side=64) > 0.99
    assert hidden.float().mean() > 0.1
    other = torch.where(hidden, torch.rand(1, 3, 64, 64), picture)
    moved = torch.where(silhouette(view, side=64) < 0.01, torch.rand(1, 3, 64, 64), picture)
    with torch.no_grad():
        one, same, differs = (network(given(x, view)) for x in (picture, other, moved))
    assert one.shape == (1, 8, 16, 16)
    assert (one - same).abs().max() < 0.01 < 0.03 < (one - differs).abs().max()


def test_the_background_does_not_turn_with_the_head():
    """Where the planes are empty, a camera from the side shows what the one from the front shows, but for the neck."""
    renderer = Renderer(replace(TINY.renderer, body=False), plane_channels=8, image_size=64).eval()
    source = given(torch.rand(1, 3, 64, 64), camera())
    planes = 0.1 * torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        seen = [renderer(planes, view, source=source, look=REST).raw for view in (camera(), camera(0.4))]
        renderer.mlps.to_density[2].bias -= 40
        empty = [renderer(planes, view, source=source, look=REST).raw for view in (camera(), camera(0.4))]
    torch.testing.assert_close(empty[0], empty[1])
    assert (seen[0] - seen[1]).abs().max() > 0.05


def test_a_source_that_is_missing_is_asked_for():
    renderer = Renderer(TINY.renderer, plane_channels=8, image_size=64)
    with pytest.raises(InputError, match="needs the source and its camera"):
        renderer(torch.randn(1, 3, 8, 32, 32), camera())


def test_a_width_that_does_not_fit():
    with pytest.raises(ValueError, match=r"renderer\.background 12 must be a multiple of 8"):
        RendererConfig(background=12)


def test_pixels_are_lifted_to_where_the_head_has_them():
    """From the front the lifted picture is the picture, its face in the planes' middle; from the side, too."""
    lift = Lift(32, box_size=1.2)
    for azimuth in (0.0, 0.4):
        view = camera(azimuth)
        x, y = 0.05, 0.1  # a red spot on the surface, in the world
        point = torch.tensor([[x, y, MIDDLE[2] + HALF_AXES[2] * (1 - (x / 0.24) ** 2 - (0.05 / 0.33) ** 2) ** 0.5]])
        spot = world_to_picture(point[None], view, width=64, height=64)[0, 0]
        steps = torch.arange(64) + 0.5
        away = (steps[None] - spot[0]) ** 2 + (steps[:, None] - spot[1]) ** 2
        picture = torch.zeros(1, 3, 64, 64)
        picture[0, 0] = (-away / 8).exp()
        lifted = lift(picture, view)
        assert lifted.shape == (1, 4, 32, 32)
        row, column = divmod(int(lifted[0, 0].argmax()), 32)
        assert abs((column + 0.5) / 32 * 1.2 - 0.6 - x) < 0.04
        assert abs((row + 0.5) / 32 * 1.2 - 0.6 - y) < 0.04
        assert lifted[0, 3, row, column] > 0.9
        assert lifted[0, 3, 0, 0] < 0.01


def test_a_camera_that_is_missing_is_asked_for():
    generator = TriplaneGenerator(TINY.generator, image_size=64, dimension=64, box_size=1.2)
    with pytest.raises(InputError, match="needs the source's camera"):
        generator.encode(torch.rand(1, 3, 64, 64))


def test_what_is_left_behind_is_the_old_head_without_the_new_one():
    source = given(torch.rand(1, 3, 64, 64), camera())
    old = silhouette(source.camera, side=64)
    torch.testing.assert_close(left_behind(source, torch.zeros(1, 1, 16, 16)), old)
    assert not left_behind(source, torch.ones(1, 1, 16, 16)).any()
    assert not left_behind(source, None).any()


@pytest.mark.parametrize(
    ("nearer", "opacity", "left"),
    [(0.0, 0.3, 0.3), (0.04, 0.3, 0.3), (-0.2, 0.3, 0.0), (0.2, 0.3, 0.0), (-0.2, 0.7, 0.35), (-0.2, 0.95, 0.95)],
)
def test_fog_that_the_source_shows_something_else_in_the_place_of_is_nothing(nearer, opacity, left):
    """Points beside a wall that the source sees: on it, before and behind it; hidden skin stays."""
    source, side = given(torch.rand(1, 3, 16, 16), camera()), 16
    origins, directions = camera_rays(source.camera, height=side, width=side)
    depth = torch.full((1, side, side), 2.7)
    wall = depth_map(depth, torch.ones_like(depth), source.camera)
    points = origins + depth.flatten(1)[..., None] * directions
    forward = source.camera[:, :16].view(4, 4)[:3, 2]
    places = places_in_source(points, torch.full((1, side**2, 2), 0.5), source.camera).mT.unflatten(-1, (side, side))
    moved = points - nearer * forward
    found = without_fog(torch.full((1, 1, 4, 4), opacity), moved, places, source, wall)
    assert found.shape == (1, 1, side, side)
    torch.testing.assert_close(found, torch.full_like(found, left), atol=1e-3, rtol=0)


@pytest.mark.parametrize("z", [0.2, -0.25])
def test_the_back_of_the_head_is_fetched_from_the_rim_of_what_the_source_shows(z):
    """What the source covers with a face has another place, farther out; the face itself stays in its own."""
    source, side = given(torch.rand(1, 3, 64, 64), camera()), 64
    x, y = (0.15 * axis + 0.03 for axis in grid(side)[0])
    points = torch.stack([x, y, torch.full_like(x, z)], -1).flatten(0, 1)[None]
    places = places_in_source(points, torch.full((1, side**2, 2), 0.5), source.camera).mT.unflatten(-1, (side, side))
    face = Depth(torch.full((1, 1, 16, 16), 0.2), torch.ones(1, 1, 16, 16))
    found = rim_places(places, points, source, face)
    if z > 0:
        torch.testing.assert_close(found, places)
        return
    before, away = (sample(head_distance(source.camera, side=side), x).sqrt()[:, 0] for x in (places, found))
    middle = 2 * seen_from(source.camera, torch.tensor([MIDDLE]))[0].mT[..., None] - 1
    way = places - middle
    across = way[:, 0].abs() / way.norm(dim=1)
    known = (before > 0.35) & (across > SIDEWAYS[1])  # nearer to the middle there is no direction
    assert float(known.float().mean()) > 0.2
    above = across < SIDEWAYS[0]
    torch.testing.assert_close(found.movedim(1, -1)[above], places.movedim(1, -1)[above])
    torch.testing.assert_close(away[known], torch.full_like(away[known], RIM), atol=0.02, rtol=0)
    outwards = torch.nn.functional.cosine_similarity(found - middle, way, dim=1)
    torch.testing.assert_close(outwards[known], torch.ones_like(outwards[known]), atol=1e-4, rtol=0)


def test_what_is_fetched_reaches_to_the_border_of_the_picture():
    """From the source's own camera each pixel comes from its own place, at the border, too, where no ray is."""
    renderer = Renderer(replace(TINY.renderer, flow=False, body=False), plane_channels=8, image_size=64).eval()
    with torch.no_grad():
        view = renderer(0.1 * torch.randn(1, 3, 8, 32, 32), camera(), source=given(torch.rand(1, 3, 64, 64), camera()))
    torch.testing.assert_close(view.fetched.places, grid(64), atol=1e-3, rtol=0)
