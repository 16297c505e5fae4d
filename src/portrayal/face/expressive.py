"""Where a picture shows eyes and mouth, which carry the expression and are small."""

from __future__ import annotations

import torch
from torch import Tensor

from portrayal.face.topology import LEFT_EYE, LIPS_INNER, LIPS_OUTER, RIGHT_EYE

EXPRESSIVE = [*LEFT_EYE, *RIGHT_EYE, *LIPS_OUTER, *LIPS_INNER]
MARGIN = 0.035
"""How far around these landmarks eyes and mouth reach, as a share of the picture's side."""


def expressive(landmarks: Tensor, side: int) -> Tensor:
    """(b, 1, side, side): 1 on eyes and mouth, 0 elsewhere; landmarks (b, 478, 2 or more) in pixels."""
    at = torch.arange(side, device=landmarks.device) + 0.5
    points = landmarks[:, EXPRESSIVE]
    across, down = ((points[..., axis, None] - at).square().unbind(1) for axis in (0, 1))  # of each point (b, side)
    near = torch.zeros(len(landmarks), side, side, dtype=torch.bool, device=landmarks.device)
    for dx, dy in zip(across, down, strict=True):  # one by one they stay in the processor's cache
        near |= dy[:, :, None] + dx[:, None] < (MARGIN * side) ** 2
    return near[:, None].float()
