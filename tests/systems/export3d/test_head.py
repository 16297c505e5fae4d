"""The head's rough shape: its silhouette is where it is rendered, and planes hold it exactly."""

import torch

from portrayal.face.camera import world_to_picture
from portrayal.nn.triplane import sample_triplane
from portrayal.systems.export3d.head import HALF_AXES, MIDDLE, ellipsoid_planes, silhouette
from tests.systems.export3d.cameras import camera


def test_the_mean_of_the_planes_is_one_minus_the_squared_radius():
    planes = ellipsoid_planes(4, 128, box_size=1.2)[None]
    points = (torch.rand(1, 200, 3, generator=torch.Generator().manual_seed(0)) - 0.5) * 1.1
    found = sample_triplane(planes, points, box_size=1.2)[0]
    radii = ((points[0] - torch.tensor(MIDDLE)) / torch.tensor(HALF_AXES)).square().sum(-1)
    torch.testing.assert_close(found[:, 0], 1 - radii, atol=0.02, rtol=0.01)
    assert not found[:, 1:].any()


def test_the_silhouette_covers_the_ellipsoid_and_nothing_else():
    view = camera(0.6)
    directions = torch.nn.functional.normalize(torch.randn(500, 3, generator=torch.Generator().manual_seed(1)), dim=-1)
    points = torch.tensor(MIDDLE) + 0.8 * torch.tensor(HALF_AXES) * directions
    pixels = world_to_picture(points[None], view, width=64, height=64)[0].long()
    assert silhouette(view, side=64, grown=1.0)[0, 0][pixels[:, 1], pixels[:, 0]].min() > 0.5
    assert silhouette(view, side=64)[0, 0, :, [0, -1]].max() < 0.01  # the left and the right border


def test_a_grown_silhouette_is_larger():
    areas = [float(silhouette(camera(), side=64, grown=g).mean()) for g in (1.0, 1.2)]
    assert areas[0] * 1.3 < areas[1] < areas[0] * 1.6
