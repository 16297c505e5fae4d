"""What is said of an inverted face: nothing while it is like the true one, else the number and what to do."""

from __future__ import annotations

import pytest
import torch

from portrayal.face.morphable import load_face_model
from portrayal.nn.mobilefacenet import ALIGNED_POINTS, INPUT_SIZE, MobileFaceNet
from portrayal.systems import likeness
from portrayal.systems.directions.features import Identity


@pytest.fixture
def landmarks():
    return (load_face_model().mean * 24 + torch.tensor([32.0, 32, 0]))[None]


@pytest.fixture(params=["ssim", "network"])
def judged(request, monkeypatch):
    """Without and with an identity network, which knows nobody yet."""
    torch.manual_seed(0)
    network = Identity(MobileFaceNet(), size=INPUT_SIZE, places=ALIGNED_POINTS) if request.param == "network" else None
    monkeypatch.setattr(likeness, "_judge", lambda: network)
    return "identity similarity" if network else "structural similarity"


def test_the_same_face_needs_no_words(judged, landmarks):
    picture = torch.rand(1, 3, 64, 64)
    assert likeness.remark_on(picture, picture, landmarks) == ""


def test_another_one_is_named_with_its_number(judged, landmarks, monkeypatch):
    monkeypatch.setattr(likeness, "SAME_PERSON", 1.1)  # an untrained network sees nobody as somebody else
    said = likeness.remark_on(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64), landmarks)
    assert judged in said
    assert "may look like somebody else" in said
    assert len(said) < 300
