"""How far lips and lids are apart: against the distances by hand, and as a loss that opens a mouth."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from portrayal.face.landmark_reader import LandmarkReader
from portrayal.systems.otavatar import losses
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.generator import View
from portrayal.systems.otavatar.pairs import Faces
from portrayal.systems.otavatar.reading import FIRST, SECOND, openings
from portrayal.systems.otavatar.training_config import LossWeights
from portrayal.types import Portrait


class Shifted(nn.Module):
    """Reads the true landmarks, with the lower lip's inner middle (14) further down."""

    def __init__(self, pixels: float) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, images: Tensor, landmarks: Tensor) -> Tensor:
        moved = landmarks.clone()
        moved[:, 14, 1] += self.pixels
        return moved * (2 / images.shape[-1]) - 1


@pytest.fixture
def landmarks(portrait: Portrait) -> Tensor:
    return portrait.params.landmarks[..., :2].float()


def test_distances_count_in_those_of_the_eyes(landmarks: Tensor) -> None:
    picture = torch.zeros(1, 3, 8, 8)
    assert float(openings(Shifted(0), picture, landmarks)) == pytest.approx(0, abs=1e-6)
    one, two = (float(openings(Shifted(x), picture, landmarks)) for x in (4.0, 8.0))
    assert two == pytest.approx(2 * one, rel=0.1)
    assert float(openings(Shifted(8.0), picture, 2 * landmarks)) == pytest.approx(one, rel=0.1)
    assert (13, 14) in zip(FIRST, SECOND, strict=True)


def test_the_true_picture_is_read_as_it_is(portrait: Portrait, landmarks: Tensor) -> None:
    """And another expression's distances are not those."""
    reader, picture = LandmarkReader(), 2 * portrait.image - 1
    other = landmarks.clone()
    other[:, 14, 1] += 0.15 * (landmarks[:, 454, 0] - landmarks[:, 234, 0])
    own = float(openings(reader, picture, landmarks))
    assert own < 0.07
    assert float(openings(reader, picture, other)) > own + 0.01
    given = picture.clone().requires_grad_()
    openings(reader, given, other).backward()
    assert given.grad is not None
    assert float(given.grad.abs().max()) > 0


def test_it_counts_with_its_weight_in_the_final_picture_alone(landmarks: Tensor) -> None:
    weights = LossWeights(perceptual=0, local=0, identity=0, openings=10)
    faces = Faces(torch.zeros(1, 3, 32, 32), landmarks, torch.zeros(1, 25), torch.zeros(1, 73, 27))
    raw = torch.zeros(1, 3, 16, 16)
    networks = {"openings": Shifted(4.0)}
    without = losses.view_loss(View(raw, raw[:, :1], None), faces, networks, weights)
    whole = losses.view_loss(View(raw, raw[:, :1], faces.picture), faces, networks, weights)
    assert float(without) == 0
    assert float(whole) == pytest.approx(10 * float(openings(Shifted(4.0), faces.picture, landmarks)))
    assert "openings" not in losses.feature_networks(Config.compact().inversion)
