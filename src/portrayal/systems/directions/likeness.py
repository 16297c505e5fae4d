"""How well a portrait was inverted, in words for whoever looks at the result."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from portrayal.evaluate.ssim import ssim
from portrayal.nn.pretrained import development_weights
from portrayal.systems.directions.faces import FramedFace
from portrayal.systems.directions.features import Identity, load_identity
from portrayal.weights.registry import weights_path

SAME_PERSON = 0.4
"""Cosine similarity of identity embeddings under which a face recognition network sees somebody else."""
ALIKE = 0.6
"""Structural similarity under which more than fine detail is missing."""


def remark_on(inverted: Tensor, face: FramedFace) -> str:
    """A sentence where an inverted face (1, 3, s, s) in [0, 1] is not like the true one, else nothing.

    By the identity network that is installed; without one by structural similarity.
    """
    true = face.tensors()["image"][None].to(inverted.device) / 255
    judge = _judge()
    if judge is None:
        value, least, name = float(ssim(inverted.clamp(0, 1), true)), ALIKE, "structural similarity"
    else:
        points = face.tensors()["landmarks"][None].to(inverted.device)
        ours, theirs = (judge.to(inverted.device)(image, points) for image in (inverted.clamp(0, 1), true))
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
