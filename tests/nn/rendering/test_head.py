"""The head's rough shape: its silhouette is where it is rendered, and planes hold it exactly."""

import pytest
import torch

from portrayal.face.camera import head_to_world, world_to_picture
from portrayal.face.morphable import load_face_model
from portrayal.face.topology import LEFT_EYE, LIPS_INNER, RIGHT_EYE
from portrayal.nn.rendering.head import (
    FACE,
    FEATURES,
    HALF_AXES,
    MIDDLE,
    ellipsoid_planes,
    face_crop,
    feature_mask,
    silhouette,
)
from portrayal.nn.triplane import sample_triplane
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


def test_the_mask_is_on_an_average_persons_eyes_and_mouth():
    model, view = load_face_model(), camera(0.3)
    points = head_to_world(model.mean)
    pixels = (world_to_picture(points[None], view, width=64, height=64)[0]).long()
    mask = feature_mask(view, side=64)[0, 0]
    for group, low, high in (
        (LEFT_EYE, 0.3, 1.0),
        (RIGHT_EYE, 0.3, 1.0),
        (LIPS_INNER, 0.4, 1.0),
        ((152, 10), 0.0, 0.3),
    ):
        found = mask[pixels[list(group), 1], pixels[list(group), 0]]
        assert low <= found.min()
        assert found.max() <= high
    assert len(FEATURES) == 3


@pytest.mark.parametrize("azimuth", [0.0, 0.5])
def test_a_face_is_cut_out_around_its_middle(azimuth):
    view = camera(azimuth)
    spot = world_to_picture(torch.tensor([[FACE]]), view, width=128, height=128)[0, 0]
    steps = torch.arange(128) + 0.5
    picture = (-((steps[None] - spot[0]) ** 2 + (steps[:, None] - spot[1]) ** 2) / 20).exp().expand(1, 3, -1, -1)
    still, moved = (
        face_crop(picture, view, size=65, zoom=torch.ones(1), shift=torch.tensor([shift]))[0, 0]
        for shift in ([0.0, 0.0], [0.25, 0.0])
    )
    assert divmod(int(still.argmax()), 65) == (32, 32)
    assert divmod(int(moved.argmax()), 65) == (32, 32 - 8)
    near, far = (
        face_crop(picture, view, size=65, zoom=torch.tensor([z]), shift=torch.zeros(1, 2)).sum() for z in (2, 1)
    )
    assert near > 3 * far
