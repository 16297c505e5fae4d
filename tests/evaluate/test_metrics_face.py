"""Face metrics against slow loops, scipy and cases worked out by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation
from torch import nn

from portrayal.evaluate.identity import IdentityNetwork
from portrayal.evaluate.metrics_face import (
    AedExpression,
    AedIdentity,
    Akd,
    AngleError,
    Apd,
    Csim,
    EyeOpennessError,
    GazeError,
    Nme,
    face_place,
    gaze_directions,
)
from portrayal.evaluate.view import View
from portrayal.face.align import FIVE_POINTS, align
from portrayal.face.camera import split_camera
from portrayal.face.gaze import iris_offsets
from portrayal.face.morphable import load_face_model
from portrayal.face.pose import angles_to_rotation
from portrayal.face.topology import POINTS_68
from tests.evaluate.made_views import faces, pictures, view

NETWORK = IdentityNetwork(nn.Identity(), name="given", size=(8, 8), aligned_points=((1.0, 1.0),) * 5)
A, B = view(5, seed=1), view(5, seed=2)


def measure(metric, a=A, b=B):
    metric.update(a, b)
    return float(metric.compute())


def test_csim_and_aed_of_identity():
    x, y = (torch.randn(5, 16, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    a, b = View(pictures(5), embedding=x), View(pictures(5), embedding=y)
    assert measure(Csim(NETWORK), a, b) == pytest.approx(1 - cdist(x, y, "cosine").diagonal().mean(), rel=1e-5)
    assert measure(Csim(NETWORK), a, a) == pytest.approx(1, rel=1e-6)
    u, v = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x.numpy(), y.numpy()))
    assert measure(AedIdentity(NETWORK), a, b) == pytest.approx(np.linalg.norm(u - v, axis=1).mean(), rel=1e-5)
    assert measure(AedIdentity(NETWORK, "mean_l1"), a, b) == pytest.approx(np.abs(u - v).mean(), rel=1e-5)
    source = View(pictures(1), embedding=y[:1])  # one source for all frames
    assert measure(Csim(NETWORK), a, source) == pytest.approx(1 - cdist(x, y[:1], "cosine").mean(), rel=1e-5)


def test_akd():
    points, truth = (v.params.landmarks[:, list(POINTS_68), :2].double().numpy() for v in (A, B))
    assert measure(Akd()) == pytest.approx(np.linalg.norm(points - truth, axis=2).mean(), rel=1e-5)
    assert measure(Akd("mean_l1")) == pytest.approx(np.abs(points - truth).mean(), rel=1e-5)
    moved = View(A.images, points68=torch.from_numpy(points).float() + torch.tensor([3.0, 4.0]))
    assert measure(Akd(), moved, A) == pytest.approx(5, rel=1e-5)
    assert measure(Akd("mean_l1"), moved, A) == pytest.approx(3.5, rel=1e-5)


def test_akd_counts_pixels_at_256():
    large = View(pictures(5, height=512, width=600), points68=2 * A.params.landmarks[:, list(POINTS_68), :2] + 10)
    small = View(A.images, points68=A.params.landmarks[:, list(POINTS_68), :2])
    assert measure(Akd(), large, small) == pytest.approx(math.hypot(5, 5), rel=1e-4)


def test_nme_does_not_change_with_the_size():
    truth = 50 + torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([100, 30])
    truth[:, 0], truth[:, 1] = torch.tensor([40.0, 40.0]), torch.tensor([240.0, 90.0])  # box 200 x 50
    points = truth + torch.tensor([0.6, 0.8])
    a, b = (View(pictures(2, height=256, width=256), points68=p) for p in (points, truth))
    assert measure(Nme(), a, b) == pytest.approx(1000 * 1 / math.sqrt(200 * 50), rel=1e-4)
    a, b = (View(pictures(2, height=512, width=512), points68=2 * p) for p in (points, truth))
    assert measure(Nme(), a, b) == pytest.approx(10, rel=1e-4)


def test_pose():
    angles = [Rotation.from_matrix(v.params.rotation.numpy()).as_euler("ZYX", degrees=True) for v in (A, B)]
    assert measure(AngleError()) == pytest.approx(np.abs(angles[0] - angles[1]).mean(), rel=1e-4)
    radians = np.radians(np.abs(angles[0] - angles[1]).mean())
    assert measure(Apd(angles_only=True)) == pytest.approx(radians, rel=1e-4)


def test_angles_take_the_shortest_way():
    turned = [torch.tensor([[0.1, 0.2, roll]]) for roll in (math.pi - 0.05, -math.pi + 0.05)]
    a, b = (View(A.images[:1], params=A.params[0].replace(rotation=angles_to_rotation(r))) for r in turned)
    assert measure(AngleError(), a, b) == pytest.approx(math.degrees(0.1) / 3, rel=1e-3)


def test_place_of_the_face():
    params = faces(1)
    params = params.replace(rotation=torch.eye(3)[None], scale=torch.full((1,), 90.0))
    moved = params.replace(translation=params.translation + torch.tensor([10.0, -20.0, 0.0]))
    a, b = (View(A.images[:1], params=p) for p in (moved, params))
    # 90 px are 0.9 dm, so 10 px are 0.1 dm; nothing else differs.
    assert measure(Apd(), a, b) == pytest.approx((0.1 + 0.2) / 6, rel=1e-4)
    assert measure(Apd("euclidean"), a, b) == pytest.approx(math.hypot(0.1, 0.2), rel=1e-4)
    near, far = (face_place(p, height=256, width=256) for p in (params.replace(scale=2 * params.scale), params))
    assert float(far[0, 2]) == pytest.approx(2 * float(near[0, 2]), rel=1e-5)
    # The distance is that of the camera that comes with the parameters, measured to the face's surface.
    params = faces(1, seed=5)
    camera, _ = split_camera(params.camera)
    surface = torch.tensor([0, 0, 0.66 * 0.243])
    away = float((surface - camera[0, :3, 3]) @ camera[0, :3, 2])
    place = face_place(params, height=256, width=256)
    assert float(place[0, 2]) == pytest.approx(away * 0.9 / 0.243, rel=1e-4)


def test_expression():
    difference = (A.params.expression - B.params.expression).abs().double()
    assert measure(AedExpression()) == pytest.approx(float(difference.mean()), rel=1e-5)
    assert measure(AedExpression(12)) == pytest.approx(float(difference[:, :12].mean()), rel=1e-5)
    length = float(difference.square().sum(1).sqrt().mean())
    assert measure(AedExpression(norm="euclidean")) == pytest.approx(length, rel=1e-5)


def test_gaze():
    params = A.params
    straight, right = torch.zeros(5, 2, 2), torch.zeros(5, 2, 2)
    right[:, 0, 0] = math.radians(20)  # one eye by 20 degrees
    a, b = (View(A.images, params=params.replace(gaze=g)) for g in (straight, right))
    assert measure(GazeError(), a, b) == pytest.approx(10, rel=1e-4)
    assert measure(GazeError(), a, a) == 0
    # The direction is where the eyeball model of the face points its iris.
    offsets = iris_offsets(load_face_model().mean)
    gaze = torch.tensor([[0.3, 0.2], [-0.2, 0.1]])
    turn = angles_to_rotation(torch.cat([gaze, torch.zeros(2, 1)], 1))
    torch.testing.assert_close(gaze_directions(gaze), turn @ torch.tensor([0.0, 0, -1]), atol=1e-6, rtol=0)
    assert offsets.shape == (2, 5, 3)


def test_eye_openness():
    shut = A.params.replace(eye_openness=torch.zeros(5, 2))
    half = A.params.replace(eye_openness=torch.tensor([[0.1, 0.3]]).expand(5, 2))
    a, b = (View(A.images, params=p) for p in (shut, half))
    assert measure(EyeOpennessError(), a, b) == pytest.approx(0.2, rel=1e-5)


def test_alignment_puts_the_five_points_in_their_places():
    targets = torch.tensor([[30.0, 40], [66, 40], [48, 60], [34, 80], [62, 80]])
    turn, scale, shift = angles_to_rotation(torch.tensor([0, 0, 0.3]))[:2, :2], 1.7, torch.tensor([60.0, 30.0])
    points = (scale * targets @ turn.T + shift)[None]
    y, x = torch.meshgrid(torch.arange(256) + 0.5, torch.arange(240) + 0.5, indexing="ij")
    images = torch.stack([x / 256, y / 256, torch.zeros_like(x)])[None]  # a pixel's colour says where it was
    out = align(images, points, targets, (112, 96))
    at = (targets - 0.5).long()
    expected = (scale * (at + 0.5) @ turn.T + shift) / 256
    seen = torch.stack([out[0, :2, v, u] for u, v in at.tolist()])
    torch.testing.assert_close(seen, expected, atol=2e-3, rtol=0)


def test_alignment_of_large_pictures_does_not_skip_pixels():
    targets = torch.tensor([[30.0, 40], [66, 40], [48, 60], [34, 80], [62, 80]])
    stripes = torch.zeros(1, 3, 1120, 960)
    stripes[..., ::2] = 1  # one pixel wide: must average to grey
    out = align(stripes, 10 * targets[None], targets, (112, 96))
    assert float((out[..., 5:-5, 5:-5] - 0.5).abs().max()) < 0.05
    both = align(stripes.expand(2, -1, -1, -1), torch.stack([10 * targets, targets]), targets, (112, 96))
    torch.testing.assert_close(both[:1], out)  # whatever comes with it


def test_identity_network_reads_aligned_faces():
    class Mean(nn.Module):
        def forward(self, images):
            assert images.shape[1:] == (3, 112, 96)
            return images.mean((2, 3))

    network = IdentityNetwork(
        Mean(),
        name="mean colour",
        size=(112, 96),
        aligned_points=((30.0, 50.0), (65.0, 50.0), (48.0, 70.0), (33.0, 92.0), (62.0, 92.0)),
    )
    red = torch.zeros(1, 3, 256, 256)
    red[:, 0] = 1
    embedding = network.embed(View(red, params=faces(1)))
    torch.testing.assert_close(embedding, torch.tensor([[1.0, 0, 0]]))
    assert len(FIVE_POINTS) == 5
