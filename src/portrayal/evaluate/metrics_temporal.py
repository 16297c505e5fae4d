"""How calm a clip is over time: landmark jitter, flicker, identity drift. Each is a number per clip."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from portrayal.evaluate.identity import IdentityNetwork
from portrayal.evaluate.metrics_base import ClipMetric
from portrayal.evaluate.view import View, require_alike, require_faces, require_times
from portrayal.face.smooth import jitter_score

FLOW_SIDE = 256
"""Flow is estimated on frames whose shorter side has at most this many pixels."""
CONSISTENT_PX = 0.5
CONSISTENT_SHARE = 0.01
"""Forward and backward flow agree where |f + b|^2 < share (|f|^2 + |b|^2) + px (Sundaram et al. 2010, Eq. 5)."""


class LandmarkJitter(ClipMetric):
    """How much the generated face's landmarks tremble, in percent of the inter-ocular distance (`face.smooth`)."""

    higher_is_better = False

    def collect(self, generated: View, reference: View) -> tuple[Tensor, ...]:
        params, times = require_faces(generated), require_times(generated)
        return params.landmarks, torch.tensor([float(t) for t in times], dtype=torch.float64)

    def score(self, *parts: Tensor) -> float | None:
        landmarks, times = parts
        return jitter_score(landmarks, times.tolist()) if len(landmarks) > 2 else None


class Flicker(ClipMetric):
    """Warping error (Lai et al. 2018, Eq. 9): change of the generated pixels along the reference video's motion.

    For neighbouring frames t, t + 1 the optical flow of the reference (DIS, Kroeger et al. 2016) carries frame t + 1 of
    the generated clip back onto frame t; the error is the mean squared difference of the pixels in [0, 1] over the
    pixels that forward and backward flow agree on, times 1000. Of a clip it is the mean over its pairs of frames. For
    another person's motion, where the reference video's flow does not fit the generated pixels, give the generated clip
    as its own reference: then it is the change that its own motion does not explain.
    """

    higher_is_better = False

    def collect(self, generated: View, reference: View) -> tuple[Tensor, ...]:
        require_alike(generated, reference)
        return _small(generated.images), _small(reference.images.expand_as(generated.images))

    def score(self, *parts: Tensor) -> float | None:
        generated, reference = parts
        errors = []
        for t in range(len(generated) - 1):
            flow, visible = flow_between(reference[t], reference[t + 1])
            warped = warp_back(generated[t + 1], flow)
            weight = visible.sum().clamp_min(1)
            errors.append(float(((generated[t] - warped).square().mean(0) * visible).sum() / weight))
        return 1000 * float(np.mean(errors)) if errors else None


class IdentityDrift(ClipMetric):
    """How far the identity wanders from that of the clip's first frame: 1 - cosine, mean over the later frames."""

    higher_is_better = False

    def __init__(self, identity: IdentityNetwork) -> None:
        super().__init__()
        self.identity = identity

    def collect(self, generated: View, reference: View) -> tuple[Tensor, ...]:
        return (self.identity.embed(generated),)

    def score(self, *parts: Tensor) -> Tensor | None:
        (embeddings,) = parts
        return (1 - embeddings[1:] @ embeddings[0]).mean() if len(embeddings) > 1 else None


def flow_between(image: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
    """Optical flow from one frame to a later one.

    Args:
        image, later: (3, h, w) in [0, 1].

    Returns:
        flow (2, h, w) in pixels, x and y: what is at p in `image` is at p + flow in `later`; and (h, w) 1 where the
        flow back from there returns to p, 0 where it does not (covered, or out of the picture).
    """
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    a, b = _grey(image), _grey(later)
    forward = torch.from_numpy(estimator.calc(a, b, None)).permute(2, 0, 1).to(image)
    backward = torch.from_numpy(estimator.calc(b, a, None)).permute(2, 0, 1).to(image)
    returning = warp_back(backward, forward)
    limit = CONSISTENT_SHARE * (forward.square() + returning.square()).sum(0) + CONSISTENT_PX
    visible = ((forward + returning).square().sum(0) < limit) & _inside(forward)
    return forward, visible.to(image)


def warp_back(later: Tensor, flow: Tensor) -> Tensor:
    """(c, h, w) read at p + flow, bilinear, borders repeated: what `later` shows of the earlier frame's points."""
    unit = _targets(flow) * (2 / flow.new_tensor([flow.shape[2], flow.shape[1]])[:, None, None]) - 1
    grid = unit.permute(1, 2, 0)[None]
    return F.grid_sample(later[None], grid, mode="bilinear", padding_mode="border", align_corners=False)[0]


def _inside(flow: Tensor) -> Tensor:
    x, y = _targets(flow)
    return (x > 0) & (x < flow.shape[2]) & (y > 0) & (y < flow.shape[1])


def _targets(flow: Tensor) -> Tensor:
    """(2, h, w): where each pixel's centre goes."""
    h, w = flow.shape[1:]
    y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    return flow + torch.stack([x, y]).to(flow)


def _small(images: Tensor) -> Tensor:
    """(t, 3, h, w) on the CPU, shrunk to `FLOW_SIDE`."""
    factor = FLOW_SIDE / min(images.shape[2:])
    images = images.float().cpu()
    return images if factor >= 1 else F.interpolate(images, scale_factor=factor, mode="area")


def _grey(image: Tensor) -> NDArray[Any]:
    """(h, w) uint8."""
    rgb = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
