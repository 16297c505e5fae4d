"""Landmarks of generated pictures, with gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from portrayal.face.box import boxes_of_landmarks
from portrayal.face.embedded_tracker import fresh_embedded_tracker


class LandmarkReader(nn.Module):
    """A pre-trained landmark detector for losses (MMFA, equation 9): the embedded tracker, frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = fresh_embedded_tracker(torch.device("cpu"))
        self.net = self.tracker.net

    def train(self, mode: bool = True) -> LandmarkReader:
        """Stays in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """Landmarks of pictures whose face is known to be near `landmarks`; differentiable.

        Args:
            images: (b, 3, s, s) in [0, 1]. landmarks: (b, 478, 2 or 3) pixels.

        Returns:
            (b, 478, 2) unit coordinates [-1, 1].
        """
        boxes = boxes_of_landmarks(landmarks)
        with torch.autocast(images.device.type, enabled=False):  # a crop's place is a matrix product
            found = self.tracker.estimate(images.float(), boxes)[0]
        return found[..., :2] * (2 / images.shape[-1]) - 1
