"""Numbers read off landmarks, differentiable: distances, eye and mouth openness.

All are ratios of 3D distances, so they do not change when the head turns, moves or grows. Right before left, as in
`topology`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from portrayal.face.topology import (
    INNER_LIPS_PAIRS,
    LEFT_EYE_CORNERS,
    LEFT_EYELIDS,
    MOUTH_CORNERS,
    RIGHT_EYE_CORNERS,
    RIGHT_EYELIDS,
)


def inter_ocular(landmarks: Tensor) -> Tensor:
    """Distance of the outer eye corners: (..., 478, 3) in any unit to (...,) in that unit."""
    return _distance(landmarks, [(RIGHT_EYE_CORNERS[0], LEFT_EYE_CORNERS[0])])


def eye_openness(landmarks: Tensor) -> Tensor:
    """How far the lids are apart, relative to the width of the eye.

    Args:
        landmarks: (..., 478, 3), any unit and frame.

    Returns:
        (..., 2) right, left. On the training clips: median 0.29, wide open 0.46, shut below 0.1.
    """
    right = _distance(landmarks, RIGHT_EYELIDS) / _distance(landmarks, [RIGHT_EYE_CORNERS])
    left = _distance(landmarks, LEFT_EYELIDS) / _distance(landmarks, [LEFT_EYE_CORNERS])
    return torch.stack([right, left], -1)


def mouth_openness(landmarks: Tensor) -> Tensor:
    """How far the inner lips are apart, relative to the distance of the outer eye corners.

    Args:
        landmarks: (..., 478, 3), any unit and frame.

    Returns:
        (...,) at least 0. On the training clips: shut below 0.01, median 0.1, wide open 0.35 and more.
    """
    return _distance(landmarks, INNER_LIPS_PAIRS) / inter_ocular(landmarks)


def mouth_width(landmarks: Tensor) -> Tensor:
    """Distance of the mouth's corners relative to that of the outer eye corners: (..., 478, 3) to (...,)."""
    return _distance(landmarks, [MOUTH_CORNERS]) / inter_ocular(landmarks)


def _distance(points: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Mean distance over pairs of points; the tiny constant keeps the gradient finite where they meet."""
    difference = points[..., [a for a, _ in pairs], :] - points[..., [b for _, b in pairs], :]
    return (difference.square().sum(-1) + 1e-12).sqrt().mean(-1)
