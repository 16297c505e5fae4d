"""The terms of equations 3 to 7: tensors in, one number out, unweighted; the weights are `Config.reenactment`.

The pairs of equation 5 (the paper leaves them to its supplement), points of `face.topology`:

| set | pairs | what they span |
|---|---|---|
| P_eye | 160-144, 159-145, 158-153; 387-373, 386-374, 385-380 | upper and lower lid, right eye and left eye |
| P_mouth | 82-87, 13-14, 312-317 | inner edges of upper and lower lip |
| | 37-84, 0-17, 267-314 | outer edges of upper and lower lip |
| | 61-291 | corners of the mouth |
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from portrayal.face.topology import INNER_LIPS_PAIRS, LEFT_EYELIDS, MOUTH_CORNERS, RIGHT_EYELIDS
from portrayal.nn.arcface import identity_distance

Pairs = tuple[tuple[int, int], ...]
EYE_PAIRS: Pairs = (*RIGHT_EYELIDS, *LEFT_EYELIDS)
MOUTH_PAIRS: Pairs = (*INNER_LIPS_PAIRS, (37, 84), (0, 17), (267, 314), MOUTH_CORNERS)


def reenactment(shape: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """The three parts of L_r (equation 4).

    Args:
        shape, truth: (b, n, 3) S_r and S_gt, both turned as the head is, head units.

    Returns:
        shape, eye, mouth.
    """
    return {
        "shape": F.l1_loss(shape, truth),
        "eye": gaps(shape, truth, EYE_PAIRS),
        "mouth": gaps(shape, truth, MOUTH_PAIRS),
    }


def gaps(shape: Tensor, truth: Tensor, pairs: Pairs) -> Tensor:
    """L_eye or L_mouth (equation 5): how far the L1 distances within pairs differ, their sum, a mean over the batch."""
    return (_inner_distances(shape, pairs) - _inner_distances(truth, pairs)).abs().sum(1).mean()


def _inner_distances(shape: Tensor, pairs: Pairs) -> Tensor:
    """(b, n, 3) to (b, pairs)."""
    first, second = zip(*pairs, strict=True)
    return (shape[:, list(first)] - shape[:, list(second)]).abs().sum(2)


def identity(ours: Tensor, theirs: Tensor) -> Tensor:
    """L_id (equation 6), a mean over the batch of (b, c) and (b, c)."""
    return identity_distance(ours, theirs).mean()


def pixel(made: Tensor, target: Tensor) -> Tensor:
    """L_pix (equation 7): mean absolute difference."""
    return F.l1_loss(made, target)
