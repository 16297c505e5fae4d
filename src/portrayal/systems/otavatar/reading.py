"""What the embedded tracker reads off a generated face: how far its lips and lids are apart (`LossWeights.openings`).

No paper's. A mouth is a dozen pixels high; a loss of pixels is content with the mean mouth for a long time.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from portrayal.face.box import box_of_landmarks
from portrayal.face.config import Config
from portrayal.face.embedded_tracker import EmbeddedTracker
from portrayal.face.morphable import load_face_model
from portrayal.face.networks import build
from portrayal.face.topology import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS
from portrayal.nn.precision import in_float32
from portrayal.systems.directions.losses import EYE_PAIRS, MOUTH_PAIRS
from portrayal.weights.registry import load_embedded

FIRST, SECOND = (list(points) for points in zip(*EYE_PAIRS, *MOUTH_PAIRS, strict=True))


class Reader(nn.Module):
    """Faces whose place is known to their landmarks, differentiable."""

    def __init__(self) -> None:
        super().__init__()
        tensors, config = load_embedded("tracker", Config)
        self.net = build(config)
        self.net.load_state_dict(tensors)
        self.tracker = EmbeddedTracker(self.net, config, load_face_model(), torch.device("cpu"))

    def forward(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """
        Args:
            images: (b, 3, s, s) in [0, 1]. landmarks: (b, 478, 2) about where the faces are, pixels.

        Returns:
            (b, 478, 2) pixels.
        """
        boxes = np.stack([box_of_landmarks(points) for points in landmarks.detach().float().cpu().numpy()])
        return self.tracker.estimate(images, boxes)[0][..., :2]


@in_float32
def openings(reader: nn.Module, made: Tensor, landmarks: Tensor) -> Tensor:
    """Mean difference of the distances between lips, lids and corners of the mouth, of generated and true faces. ()

    Args:
        reader: `Reader`. made: (b, 3, s, s) in [-1, 1]. landmarks: (b, 478, 2) of the true faces, pixels.

    Returns:
        In distances of the true faces' eyes.
    """
    found = reader(made / 2 + 0.5, landmarks)
    eyes = landmarks[:, list(LEFT_EYE_CORNERS)].mean(1) - landmarks[:, list(RIGHT_EYE_CORNERS)].mean(1)
    apart = (gaps_of(found) - gaps_of(landmarks)).abs()
    return (apart / eyes.norm(dim=-1, keepdim=True).clamp_min(1)).mean()


def gaps_of(landmarks: Tensor) -> Tensor:
    """(b, 478, 2) to (b, pairs)."""
    return (landmarks[:, FIRST] - landmarks[:, SECOND]).square().sum(-1).add(1e-6).sqrt()
