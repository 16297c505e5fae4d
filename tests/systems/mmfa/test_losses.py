"""Every term of equation 14 against a few lines of the formula."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from portrayal.face.topology import FACE_120, LEFT_IRIS, MIRROR, MOUTH_20, RIGHT_IRIS
from portrayal.systems.mmfa import losses
from portrayal.systems.mmfa.deform import Deformation
from portrayal.systems.mmfa.features import FeatureNetwork, pyramid


class Convolutions(FeatureNetwork):
    """Two maps of a fixed random network."""

    finest_only = False

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3, stride=2)]))

    def forward(self, images, landmarks):
        first = self.net[0](images)
        return [first, self.net[1](first.relu())]


class Finest(Convolutions):
    finest_only = True


@pytest.fixture
def outputs():
    return {16: torch.rand(2, 3, 16, 16), 32: torch.rand(2, 3, 32, 32), 64: torch.rand(2, 3, 64, 64)}


def test_equation_6_is_the_sum_over_the_three_sizes(outputs):
    network, driving, landmarks = Convolutions(), torch.rand(2, 3, 64, 64), torch.rand(2, 478, 3)
    expected = 0.0
    for side, image in outputs.items():
        truth = F.interpolate(driving, (side, side), mode="bilinear", antialias=True)
        for mine, theirs in zip(network(image, landmarks), network(truth, landmarks), strict=True):
            expected += float((mine - theirs).abs().mean())
    assert float(losses.multi_scale_perceptual(outputs, driving, landmarks, network)) == pytest.approx(
        expected, rel=1e-4
    )


def test_a_face_network_sees_only_the_largest(outputs):
    network, driving, landmarks = Finest(), torch.rand(2, 3, 64, 64), torch.rand(2, 478, 3)
    only = losses.perceptual(outputs[64], driving, landmarks, network)
    assert torch.equal(losses.multi_scale_perceptual(outputs, driving, landmarks, network), only)


def test_the_landmarks_shrink_with_the_picture(outputs):
    seen = []

    class Spy(Convolutions):
        def forward(self, images, landmarks):
            seen.append((images.shape[-1], float(landmarks.max())))
            return super().forward(images, landmarks)

    losses.multi_scale_perceptual(outputs, torch.rand(2, 3, 64, 64), torch.full((2, 478, 3), 64.0), Spy())
    assert {side == largest for side, largest in seen} == {True}


def test_the_same_picture_has_no_perceptual_loss_and_the_truth_no_gradient():
    network, truth = Convolutions(), torch.rand(1, 3, 32, 32, requires_grad=True)
    image = truth.detach().clone().requires_grad_()
    loss = losses.perceptual(image, truth, torch.zeros(1, 478, 3), network)
    assert loss.item() == 0
    losses.perceptual(image + 0.1, truth, torch.zeros(1, 478, 3), network).backward()
    assert truth.grad is None
    assert float(image.grad.abs().sum()) > 0


def test_pixels_at_every_size(outputs):
    driving = torch.rand(2, 3, 64, 64)
    expected = sum(
        float((image - F.interpolate(driving, (s, s), mode="bilinear", antialias=True)).abs().mean())
        for s, image in outputs.items()
    )
    assert float(losses.multi_scale_pixel(outputs, driving)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("side", "levels"), [(256, 4), (128, 3), (64, 2), (32, 1), (16, 1)])
def test_the_pyramid_ends_at_32(side, levels):
    assert [level.shape[-1] for level in pyramid(torch.rand(1, 3, side, side))] == [side >> i for i in range(levels)]


def test_least_squares_gan_and_feature_matching():
    real, fake = [torch.randn(2, 1, 4, 4)], [torch.randn(2, 1, 4, 4)]
    assert float(losses.generator_adversarial(fake)) == pytest.approx(float(((1 - fake[0]) ** 2).mean()))
    both = ((1 - real[0]) ** 2 + fake[0] ** 2).mean()
    assert float(losses.discriminator_adversarial(real, fake)) == pytest.approx(float(both))
    perfect = losses.discriminator_adversarial([torch.ones(1, 1)], [torch.zeros(1, 1)])
    assert float(perfect) == 0
    a, b = [torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)], [torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)]
    expected = sum(float((x - y).abs().mean()) for x, y in zip(a, b, strict=True))
    assert float(losses.feature_matching(a, b)) == pytest.approx(expected)


def test_feature_matching_teaches_the_generator_only():
    real, fake = torch.randn(1, 2, 3, 3, requires_grad=True), torch.randn(1, 2, 3, 3, requires_grad=True)
    losses.feature_matching([real], [fake]).backward()
    assert real.grad is None
    assert fake.grad is not None


def test_equation_15_vanishes_for_keypoints_that_move_with_the_picture():
    t = Deformation.random(
        2, affine_deviation=0.05, spline_deviation=0.005, control_points=5, generator=torch.Generator().manual_seed(0)
    )
    keypoints = torch.rand(2, 15, 3) * 1.6 - 0.8
    moved = torch.cat([t.original_to_deformed(keypoints[..., :2]), torch.randn(2, 15, 1)], -1)
    assert float(losses.equivariance(keypoints, moved, t)) < 1e-5
    total = 0.0
    for b in range(2):
        for k in range(15):
            back = t.deformed_to_original(keypoints[..., :2])[b, k]
            total += float((keypoints[b, k, :2] - back).abs().sum())
    assert float(losses.equivariance(keypoints, keypoints, t)) == pytest.approx(total / (2 * 15 * 2), rel=1e-4)


def test_keypoint_prior_against_two_loops():
    points = torch.rand(3, 6, 3) * 0.5
    expected = 0.0
    for b in range(3):
        for i in range(6):
            for j in range(6):
                if i != j:
                    expected += max(0.0, 0.1 - float((points[b, i] - points[b, j]).square().sum())) / 3
        expected += abs(float(points[b, :, 2].mean()) + 0.33) / 3
    assert float(losses.keypoint_prior(points, distance=0.1, depth=-0.33)) == pytest.approx(expected, rel=1e-4)


def test_keypoint_prior_pushes_coinciding_points_apart():
    points = torch.tensor([[[0.0, 0.0, -0.33], [0.1, 0.0, -0.33]]], requires_grad=True)
    losses.keypoint_prior(points, distance=0.1, depth=-0.33).backward()
    assert float(points.grad[0, 0, 0]) > 0 > float(points.grad[0, 1, 0])


def test_deformation_prior_is_the_l1_norm():
    delta = torch.randn(2, 5, 3)
    assert float(losses.deformation_prior(delta)) == pytest.approx(float(delta.abs().sum() / 10), rel=1e-5)


def test_equation_7_is_one_minus_the_cosine():
    a, b = torch.randn(4, 256), torch.randn(4, 256)
    cosine = [float(x @ y / x.norm() / y.norm()) for x, y in zip(a, b, strict=True)]
    assert float(losses.expression_similarity(a, b)) == pytest.approx(1 - sum(cosine) / 4, abs=1e-5)
    assert float(losses.expression_similarity(a, 3 * a)) == pytest.approx(0, abs=1e-6)
    assert float(losses.expression_similarity(a, -a)) == pytest.approx(2, abs=1e-6)


def test_equation_8_is_the_distance():
    a = torch.zeros(1, 2, 3)
    b = torch.tensor([[[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]]])
    assert float(losses.identity_consistency(a, b)) == pytest.approx(3.0)
    same = torch.randn(1, 4, 3, requires_grad=True)
    losses.identity_consistency(same, same.detach()).backward()
    assert bool(same.grad.isfinite().all())


def test_the_145_points_are_symmetric_and_distinct():
    assert (len(FACE_120), len(MOUTH_20)) == (120, 20)
    assert len({*FACE_120, *MOUTH_20, *RIGHT_IRIS, *LEFT_IRIS}) == 150
    for points in (FACE_120, MOUTH_20):
        assert {MIRROR[i] for i in points} == set(points)


def test_equation_9_against_loops():
    mine, theirs = torch.randn(2, 478, 3), torch.randn(2, 478, 3)

    def mean_distance(pairs):
        return sum(math.dist(a.tolist(), b.tolist()) for a, b in pairs) / len(pairs)

    face = mean_distance([(mine[b, i, :2], theirs[b, i, :2]) for b in range(2) for i in FACE_120])
    mouth = mean_distance([(mine[b, i, :2], theirs[b, i, :2]) for b in range(2) for i in MOUTH_20])
    irises = list(zip(RIGHT_IRIS, LEFT_IRIS, strict=True))
    pupil = mean_distance(
        [
            ((mine[b, r] + mine[b, e])[:2] / 2, (theirs[b, r] + theirs[b, e])[:2] / 2)
            for b in range(2)
            for r, e in irises
        ]
    )
    terms = losses.landmark_consistency(mine, theirs)
    assert float(terms["landmarks_face"]) == pytest.approx(face, rel=1e-4)
    assert float(terms["landmarks_mouth"]) == pytest.approx(mouth, rel=1e-4)
    assert float(terms["landmarks_pupil"]) == pytest.approx(pupil, rel=1e-4)


def test_the_landmark_loss_sees_where_the_eyes_look():
    rest = torch.zeros(1, 478, 2)
    looking = rest.clone()
    looking[:, list(RIGHT_IRIS + LEFT_IRIS), 0] += 0.1
    terms = losses.landmark_consistency(looking, rest)
    assert float(terms["landmarks_pupil"]) == pytest.approx(0.1, rel=1e-3)
    assert float(terms["landmarks_face"]) < 1e-4
