"""The tracker's losses against short references."""

import math

import pytest
import torch

from portrayal.face.config import Config
from portrayal.face.losses import detector_losses, landmark_losses, point_weights
from portrayal.face.measure import eye_openness, inter_ocular
from portrayal.face.morphable import load_face_model
from portrayal.face.networks import DetectorMaps, FaceMeasure


def label() -> torch.Tensor:
    return (load_face_model().mean * 0.5)[None]


def test_perfect_landmarks_cost_nothing():
    points = label()
    terms = landmark_losses(FaceMeasure(points, eye_openness(points), torch.tensor([20.0])), points, torch.ones(1))
    assert all(float(v) < 1e-5 for v in terms.values())


def test_landmark_term_is_the_weighted_mean_in_inter_ocular_distances():
    points = label()
    moved = points + torch.tensor([0.02, -0.01, 0.04])
    terms = landmark_losses(FaceMeasure(moved, eye_openness(points), torch.zeros(1)), points, torch.ones(1))
    unit = float(inter_ocular(points)[0])
    assert float(terms["landmarks"]) == pytest.approx((0.02 + 0.01 + 0.5 * 0.04) / unit, rel=1e-4)
    assert float(terms["gaps"]) == pytest.approx(0, abs=1e-5)  # a shift opens nothing
    assert float(terms["confidence"]) == pytest.approx(math.log(2), rel=1e-5)
    assert float(point_weights().mean()) == pytest.approx(1)


def test_crops_without_a_face_teach_only_the_confidence():
    points = torch.cat([label(), torch.zeros(1, 478, 3)])
    guess = torch.randn(2, 478, 3, requires_grad=True)
    terms = landmark_losses(FaceMeasure(guess, torch.zeros(2, 2), torch.zeros(2)), points, torch.tensor([1.0, 0.0]))
    terms["landmarks"].backward()
    assert guess.grad[0].abs().sum() > 0
    assert guess.grad[1].abs().sum() == 0


def perfect_maps(x: float, y: float, side: float, roll: float) -> DetectorMaps:
    heat = torch.full((1, 12, 12), -12.0)
    heat[0, int(y // 8), int(x // 8)] = 12.0
    rows, columns = torch.meshgrid(torch.arange(12) + 0.5, torch.arange(12) + 0.5, indexing="ij")
    box = torch.stack(
        [
            (x / 8 - columns) * 8 / side,
            (y / 8 - rows) * 8 / side,
            torch.full((12, 12), math.log(side / 32)),
            torch.full((12, 12), math.cos(roll)),
            torch.full((12, 12), math.sin(roll)),
        ]
    )
    return DetectorMaps(heat, box[None])


def test_perfect_detection_costs_nothing_and_a_miss_costs():
    faces = torch.zeros(1, 6, 4)
    faces[0, 0] = torch.tensor([37.0, 52.0, 40.0, 0.3])
    sizes = Config().face_sizes
    good = detector_losses(perfect_maps(37.0, 52.0, 40.0, 0.3), faces, sizes)
    assert float(good["box"]) < 1e-5
    assert float(good["heat"]) < 1e-3
    missed = detector_losses(perfect_maps(80.0, 20.0, 40.0, 0.3), faces, sizes)
    assert float(missed["heat"]) > 5


def test_faces_just_outside_the_sizes_are_ignored_and_far_outside_are_background():
    sizes = Config().face_sizes
    faces = torch.zeros(1, 6, 4)
    faces[0, 0] = torch.tensor([36.0, 52.0, sizes[1] * 1.1, 0.0])
    maps = perfect_maps(36.0, 52.0, 60.0, 0.0)
    assert float(detector_losses(maps, faces, sizes)["heat"]) < 1e-3
    faces[0, 0, 2] = sizes[1] * 2
    assert float(detector_losses(maps, faces, sizes)["heat"]) > 5
