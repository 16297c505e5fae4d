"""Where on the face a motion acts: soft masks over the landmarks, and how large those parts are in a given face.

Convention: the head frame of `portrayal.face.pose` (x right, y down, z into the scene; unit: the inter-ocular distance
of the mean face). Masks are laid out once on the mean face and hold for every face, because landmark i means the same
place in all of them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from portrayal.face.morphable import load_face_model
from portrayal.face.topology import (
    LANDMARKS,
    LEFT_EYE,
    LEFT_EYE_CORNERS,
    LEFT_IRIS,
    MOUTH_CORNERS,
    RIGHT_EYE,
    RIGHT_EYE_CORNERS,
    RIGHT_IRIS,
)

Region = Literal["all", "pose", "expression", "eyes", "lips"]

EYES = (RIGHT_EYE, LEFT_EYE)
EYE_CORNERS = (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)
IRISES = (RIGHT_IRIS, LEFT_IRIS)


@lru_cache(maxsize=1)
def mean_face() -> Tensor:
    """(478, 3) the mean face, head frame; do not write into it."""
    return load_face_model().mean.detach().float()


def smoothstep(x: Tensor, zero: float | Tensor, one: float | Tensor) -> Tensor:
    """0 up to `zero`, 1 from `one` on, smooth in between; `zero` may be the larger one."""
    u = ((x - zero) / (one - zero)).clamp(0, 1)
    return u * u * (3 - 2 * u)


@lru_cache(maxsize=1)
def eye_mask() -> Tensor:
    """(478,) 1 on eyelids, their folds and irises, 0 from the brows on and on the nose."""
    mean, mask = mean_face(), torch.zeros(LANDMARKS)
    for contour, iris in zip(EYES, IRISES, strict=True):
        points = mean[list(contour)]
        centre, half_width = points.mean(0), float(points[:, 0].max() - points[:, 0].min()) / 2
        offset = (mean - centre)[:, :2] / torch.tensor([1.45, 1.0]) / half_width
        mask = torch.maximum(mask, smoothstep(offset.norm(dim=-1), 1.15, 0.75))
        mask[list(contour) + list(iris)] = 1
    return mask


@lru_cache(maxsize=1)
def lips_mask() -> Tensor:
    """(478,) 1 on lips and chin, fading over the lower cheeks and the jaw's sides, 0 from the nostrils up."""
    mean = mean_face()
    nose_base, lip_top = float(mean[2, 1]), float(mean[0, 1])
    below_nose = smoothstep(mean[:, 1], nose_base - 0.02, lip_top - 0.01)
    central = smoothstep(mean[:, 0].abs(), 0.62, 0.36)
    return below_nose * central


def region_mask(region: Region) -> Tensor:
    """(478,) how much of a landmark's expression belongs to `region`."""
    if region == "eyes":
        return eye_mask()
    if region == "lips":
        return lips_mask()
    return torch.zeros(LANDMARKS) if region == "pose" else torch.ones(LANDMARKS)


def eye_width(shape: Tensor) -> Tensor:
    """(..., 478, 3) to (..., 2): distance of each eye's corners, right then left."""
    outer, inner = (torch.tensor([pair[i] for pair in EYE_CORNERS]) for i in (0, 1))
    return _length(shape[..., outer, :] - shape[..., inner, :])


def mouth_width(shape: Tensor) -> Tensor:
    """(..., 478, 3) to (...,): distance of the mouth's corners."""
    return _length(shape[..., MOUTH_CORNERS[0], :] - shape[..., MOUTH_CORNERS[1], :])


def face_width(shape: Tensor) -> Tensor:
    """(..., 478, 3) to (...,): distance between the ears' fronts."""
    return _length(shape[..., 234, :] - shape[..., 454, :])


def _length(vectors: Tensor) -> Tensor:
    return vectors.square().sum(-1).sqrt()


def size_ratios(source: Tensor, driving: Tensor) -> Tensor:
    """How much larger each part of the source's face is than the driving face's, in head units.

    A displacement measured on the driving face times this ratio has the same effect on the source: a small mouth
    stays small when a large one speaks.

    Args:
        source: (1, 478, 3), driving: (1, 478, 3), head frame, at the source's and the driving's reference frame.

    Returns:
        (478,) eye-width ratio around the eyes, mouth-width ratio around the mouth, face-width ratio elsewhere;
        between 0.6 and 1.6.
    """
    eyes, mouth = eye_mask(), lips_mask()
    ratio = face_width(source) / face_width(driving)
    eye = eye_width(source).mean(-1) / eye_width(driving).mean(-1)
    lips = mouth_width(source) / mouth_width(driving)
    return (ratio * (1 - eyes - mouth) + eye * eyes + lips * mouth).clamp(0.6, 1.6)
