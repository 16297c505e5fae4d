"""How far Delta p may go at inference, and what is kept of one that would go further.

Differs: the paper says nothing about p far from what A was learned on. Copied from another person, an expression is
often three times as long as those that A has seen; drawn as it is, it tears the face.
"""

from __future__ import annotations

import torch
from torch import Tensor

from portrayal.face.morphable import load_face_model
from portrayal.motion.retarget import at_most
from portrayal.nn.precision import in_float32
from portrayal.systems.directions.losses import EYE_PAIRS, MOUTH_PAIRS

BEYOND = 0.5
"""How far outside its measured range an angle may go, as a share of that range."""
REACH = 10.0
"""Length of the greatest change of expression, in the units of a; up to half of it nothing is left out."""
PAIRS = (EYE_PAIRS, MOUTH_PAIRS)
HALVINGS = 40
"""Steps of the search for the multiplier in `nearest`: more than float32 has digits."""


def limited_angles(source: Tensor, target: Tensor, ranges: Tensor) -> Tensor:
    """Angles (t, 3) that stop some way outside their ranges (3, 2), or where the source (1 or t, 3) is if that is
    further."""
    low, high = ranges.unbind(1)
    slack = BEYOND * (high - low)
    return target.minimum((high + slack).maximum(source)).maximum((low - slack).minimum(source))


def limited_expression(change: Tensor, visible: Tensor) -> Tensor:
    """Changes of the expression (t, k) whose length bends towards `REACH`; of what is seen as much as that allows."""
    length = change.norm(dim=1, keepdim=True)
    return nearest(change, visible, at_most(length, REACH))


@in_float32
def visible_change(slope: Tensor) -> Tensor:
    """(k, k) how much of a face a change of its expression moves, as a quadratic form: the three terms of equation 4
    (skin, eyes, mouth) with squares in place of distances, each as large as the others over the range of p.

    Args:
        slope: (k,) of `pose.rescaling`, of the first expression coefficients.
    """
    basis = load_face_model(slope.device.type).expression_basis[: len(slope), :468] / slope[:, None, None]
    moved = [basis, *(basis[:, ends[:, 0]] - basis[:, ends[:, 1]] for ends in map(torch.tensor, PAIRS))]
    forms = [x.flatten(1) @ x.flatten(1).mT for x in moved]
    return torch.stack([form / form.trace() for form in forms]).sum(0)


@in_float32
def nearest(change: Tensor, visible: Tensor, length: Tensor) -> Tensor:
    """Of the changes of a length the one that looks most like the given one.

    Args:
        change: (t, k). visible: (k, k), symmetric and positive. length: (t, 1), at most the change's own.

    Returns:
        (t, k): (V + m 1)^-1 V change, m the multiplier of the constraint.
    """
    seen, axes = torch.linalg.eigh(visible)
    seen = seen.clamp_min(0) / seen[-1]
    along = change @ axes
    low, high = torch.full_like(length, -20.0), torch.full_like(length, 20.0)  # logarithms of m
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        short = (along * (seen / (seen + middle.exp()))).norm(dim=1, keepdim=True) < length
        low, high = torch.where(short, low, middle), torch.where(short, middle, high)
    kept = along * (seen / (seen + high.exp()))
    return torch.where(change.norm(dim=1, keepdim=True) <= length, change, kept @ axes.mT)
