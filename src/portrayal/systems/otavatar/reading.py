"""What the embedded tracker reads off a generated face: how far its lips and lids are apart (`LossWeights.openings`).

No paper's. A mouth is a dozen pixels high; a loss of pixels is content with the mean mouth for a long time.
"""

from __future__ import annotations

from torch import Tensor, nn

from portrayal.face.topology import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS
from portrayal.nn.precision import in_float32
from portrayal.systems.directions.losses import EYE_PAIRS, MOUTH_PAIRS

FIRST, SECOND = (list(points) for points in zip(*EYE_PAIRS, *MOUTH_PAIRS, strict=True))


@in_float32
def openings(reader: nn.Module, made: Tensor, landmarks: Tensor) -> Tensor:
    """Mean difference of the distances between lips, lids and corners of the mouth, of generated and true faces. ()

    Args:
        reader: `face.landmark_reader.LandmarkReader`. made: (b, 3, s, s) in [-1, 1].
        landmarks: (b, 478, 2) of the true faces, pixels.

    Returns:
        In distances of the true faces' eyes.
    """
    found = (reader(made / 2 + 0.5, landmarks) + 1) * (made.shape[-1] / 2)
    eyes = landmarks[:, list(LEFT_EYE_CORNERS)].mean(1) - landmarks[:, list(RIGHT_EYE_CORNERS)].mean(1)
    apart = (gaps_of(found) - gaps_of(landmarks)).abs()
    return (apart / eyes.norm(dim=-1, keepdim=True).clamp_min(1)).mean()


def gaps_of(landmarks: Tensor) -> Tensor:
    """(b, 478, 2) to (b, pairs)."""
    return (landmarks[:, FIRST] - landmarks[:, SECOND]).square().sum(-1).add(1e-6).sqrt()
