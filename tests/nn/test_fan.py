"""68 landmarks from heat maps."""

import torch

from portrayal.nn.fan import MIRROR, Fan, crop_of_box, heatmaps_to_points, points_to_picture
from tests.parity import parity_fixture


def test_parity_with_face_alignment():
    fixture = parity_fixture("fan_2dfan4")
    with torch.device("meta"):
        net = Fan()
    net = fixture.load(net)
    image = fixture.inputs["image"]
    stacks = net(image)
    for k, heatmaps in enumerate(stacks):
        fixture.check(f"heatmaps_stack_{k}", heatmaps)
    mirrored = net(image.flip(3))[-1][:, list(MIRROR)].flip(3)
    fixture.check("heatmaps_last_plus_flip", stacks[-1] + mirrored)
    centre = torch.tensor([fixture.configuration["center"]])
    scale = torch.tensor([fixture.configuration["scale"]])
    for name, heatmaps in (("network", stacks[-1]), ("example", fixture.inputs["heatmap_example"])):
        points = heatmaps_to_points(heatmaps)
        fixture.check(f"points64_{name}", points)
        fixture.check(f"points_image_{name}", points_to_picture(points, centre, scale, whole=True))


def test_mirror_exchanges_left_and_right():
    assert sorted(MIRROR) == list(range(68))
    assert [MIRROR[i] for i in MIRROR] == list(range(68))


def test_points_of_a_known_map():
    heatmaps = torch.zeros(1, 2, 64, 64)
    heatmaps[0, 0, 10, 20] = 1
    heatmaps[0, 0, 10, 21] = 0.5  # the neighbour to the right is higher: a quarter cell towards it
    heatmaps[0, 1, 0, 5] = 1  # at the border: not refined
    expected = torch.tensor([[[20.75, 10.5], [5.5, 0.5]]])
    torch.testing.assert_close(heatmaps_to_points(heatmaps), expected)
    centre, scale = crop_of_box(torch.tensor([[10.0, 20.0, 110.0, 115.0]]))
    torch.testing.assert_close(centre, torch.tensor([[60.0, 67.5 - 0.12 * 95]]))
    torch.testing.assert_close(scale, torch.ones(1))
    middle = points_to_picture(torch.full((1, 1, 2), 32.0), centre, scale)
    torch.testing.assert_close(middle, centre[:, None])
