"""Losses of the tracker: unweighted named terms; the weights are `Config.loss`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.face import topology
from portrayal.face.measure import eye_openness, inter_ocular
from portrayal.face.networks import DetectorMaps, FaceMeasure

GAP_PAIRS = (*topology.RIGHT_EYELIDS, *topology.LEFT_EYELIDS, *topology.INNER_LIPS_PAIRS)
CELL = 8
"""Pixels per cell of the detector's maps."""
UNIT_SIDE = 32.0
"""Face side in pixels that the detector encodes as 0."""


def point_weights() -> Tensor:
    """(478,) weights: eyes, irises and lips carry the expression."""
    weights = torch.ones(topology.LANDMARKS)
    weights[list(topology.RIGHT_BROW + topology.LEFT_BROW)] = 1.5
    weights[list(topology.LIPS_OUTER + topology.LIPS_INNER)] = 3.0
    weights[list(topology.RIGHT_EYE + topology.LEFT_EYE + topology.RIGHT_IRIS + topology.LEFT_IRIS)] = 3.0
    return weights / weights.mean()


def landmark_losses(measure: FaceMeasure, landmarks: Tensor, is_face: Tensor) -> dict[str, Tensor]:
    """
    Args:
        measure: of (b,) crops.
        landmarks: (b, 478, 3) labels in [-1, 1] of the crop.
        is_face: (b,) 1 or 0; crops without a face teach the confidence only.

    Returns:
        landmarks and gaps in inter-ocular distances, openness, confidence.
    """
    some = is_face / is_face.sum().clamp_min(1)
    unit = inter_ocular(landmarks).clamp_min(0.05)[:, None, None]
    error = (measure.landmarks - landmarks) / unit
    axes = torch.tensor([1.0, 1.0, 0.5], device=error.device)
    points = (error.abs() * axes).sum(-1) @ point_weights().to(error) / topology.LANDMARKS

    upper, lower = (list(side) for side in zip(*GAP_PAIRS, strict=True))
    gaps = (error[:, upper] - error[:, lower])[..., :2].abs().sum(-1).mean(1)
    openness = (measure.eye_openness - eye_openness(landmarks)).abs().sum(1)
    return {
        "landmarks": (some * points).sum(),
        "gaps": (some * gaps).sum(),
        "openness": (some * openness).sum(),
        "confidence": F.binary_cross_entropy_with_logits(measure.confidence, is_face),
    }


def detector_losses(maps: DetectorMaps, faces: Tensor, face_sizes: tuple[float, float]) -> dict[str, Tensor]:
    """Penalty-reduced focal loss on the centres, L1 on the boxes (Zhou et al. 2019, eq. 1 and 3).

    Args:
        maps: of (b,) tiles.
        faces: (b, n, 4) x, y, side, roll in pixels; side 0 where there is none.
        face_sizes: sides to report; up to 1.3 times outside them nothing is asked, further out faces are background.
    """
    h, w = maps.heat.shape[1:]
    y, x = torch.meshgrid(
        torch.arange(h, device=faces.device) + 0.5, torch.arange(w, device=faces.device) + 0.5, indexing="ij"
    )
    centre, side, roll = faces[..., :2] / CELL, faces[..., 2], faces[..., 3]
    low, high = face_sizes
    wanted = (side >= low) & (side <= high)
    ignored = (side > low / 1.3) & (side < high * 1.3) & ~wanted

    dx = x - centre[..., 0, None, None]  # (b, n, h, w)
    dy = y - centre[..., 1, None, None]
    sigma = (0.12 * side / CELL).clamp_min(0.6)[..., None, None]
    bump = torch.exp(-(dx**2 + dy**2) / (2 * sigma**2))
    is_centre = (dx.abs() <= 0.5) & (dy.abs() <= 0.5) & wanted[..., None, None]
    target = (bump * wanted[..., None, None]).amax(1)
    skip = ((bump > 0.05) & ignored[..., None, None]).any(1)

    p = maps.heat.sigmoid()
    positive = is_centre.any(1)
    hit = -((1 - p) ** 2) * F.logsigmoid(maps.heat) * positive
    miss = -((1 - target) ** 4) * p**2 * F.logsigmoid(-maps.heat) * ~positive * ~skip
    count = positive.sum().clamp_min(1)

    near = ((dx.abs() <= 1) & (dy.abs() <= 1) & wanted[..., None, None]).float()  # (b, n, h, w)
    size = side.clamp_min(1)[..., None, None]
    ones = torch.ones_like(dx)
    labels = torch.stack(
        [
            -dx * CELL / size,
            -dy * CELL / size,
            (size / UNIT_SIDE).log() * ones,
            roll.cos()[..., None, None] * ones,
            roll.sin()[..., None, None] * ones,
        ],
        2,
    )  # (b, n, 5, h, w)
    error = ((maps.box[:, None] - labels).abs().sum(2) * near).sum() / near.sum().clamp_min(1)
    return {"heat": (hit + miss).sum() / count, "box": error}
