"""How well a portrait was inverted, in words for whoever looks at the result."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from portrayal.evaluate.ssim import ssim
from portrayal.nn.pretrained import development_weights
from portrayal.systems.directions.features import Identity, load_identity
from portrayal.weights.registry import weights_path

SAME_PERSON = 0.4
"""Cosine similarity of identity embeddings under which a face recognition network sees somebody else."""
ALIKE = 0.6
"""Structural similarity under which more than fine detail is missing."""


@torch.no_grad()
def remark_on(inverted: Tensor, true: Tensor, landmarks: Tensor) -> str:
    """A sentence where an inverted face is not like the true one, else nothing.

    By the identity network that is installed; without one by structural similarity.

    Args:
        inverted, true: (1, 3, s, s) in [0, 1]. landmarks: (1, 478, 2 or 3) pixels of them.
    """
    inverted, judge = inverted.clamp(0, 1), _judge()
    if judge is None:
        value, least, name = float(ssim(inverted, true)), ALIKE, "structural similarity"
    else:
        ours, theirs = (judge.to(inverted.device)(image, landmarks) for image in (inverted, true))
        value, least, name = float((ours * theirs).sum()), SAME_PERSON, "identity similarity"
    if value >= least:
        return ""
    return (
        f"the generator cannot draw this face well ({name} {value:.2f}, good from {least:g}): the result may look like "
        "somebody else. A sharp picture from the front, with nothing before the face, may do better."
    )


@lru_cache(maxsize=1)
@torch.no_grad()
def _judge() -> Identity | None:
    if weights_path("arcface-irse50").is_file():
        return load_identity("arcface")
    return load_identity("mobilefacenet") if development_weights() is not None else None
