"""Decoding and suppression of detections."""

import numpy as np
import pytest
import torch

from portrayal.face.detect import Detections, _decode, suppress
from tests.face.test_losses import perfect_maps


def test_decode_inverts_the_training_target():
    """The maps that cost nothing in training decode to the face they were made of."""
    found = _decode(perfect_maps(37.0, 52.0, 40.0, 0.3), 0.35)
    np.testing.assert_allclose(found.boxes, [[37, 52, 40, 0.3]], atol=1e-3)
    assert found.scores[0] == pytest.approx(1, abs=1e-4)


def test_decode_without_faces():
    maps = perfect_maps(37.0, 52.0, 40.0, 0.3)
    assert len(_decode(maps._replace(heat=torch.full_like(maps.heat, -5.0)), 0.35).boxes) == 0


def test_suppress_keeps_the_best_of_each_group():
    boxes = np.array([[10.0, 10, 10, 0], [11, 10, 10, 0], [50, 50, 10, 0]])
    kept = suppress(Detections(boxes, np.array([0.6, 0.9, 0.4])))
    np.testing.assert_allclose(kept.boxes, boxes[[1, 2]])
