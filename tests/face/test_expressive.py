"""Eyes and mouth in a picture."""

from __future__ import annotations

import torch

from portrayal.face.expressive import expressive


def test_eyes_and_mouth_are_marked() -> None:
    landmarks = torch.full((2, 478, 3), -100.0)
    landmarks[0, 33, :2] = torch.tensor([20.0, 30.0])  # a corner of the right eye
    mask = expressive(landmarks, 64)
    assert mask.shape == (2, 1, 64, 64)
    assert float(mask[0, 0, 29, 19]) == 1
    assert float(mask[0, 0, 29, 27]) == 0
    assert float(mask[1].sum()) == 0
