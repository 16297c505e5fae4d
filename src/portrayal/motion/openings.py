"""Eyelids and lips: how far they are open, and opening or closing them without one passing through the other.

The contours are treated as pairs of an upper and a lower landmark. A pair's gap is the vector from the upper to the
lower one in the head frame; gap y > 0 is open, 0 is touching. Moving a pair carries the skin around it along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

from portrayal.face.measure import eye_openness
from portrayal.face.topology import LEFT_EYE, LIPS_INNER, RIGHT_EYE
from portrayal.motion.regions import IRISES, eye_mask, eye_width, lips_mask, mean_face, smoothstep

EYE_PAIRS = 14
"""7 of the right eye, then 7 of the left."""
LIP_PAIRS = 9
CLOSED_EYE = 0.08
"""`eye_openness` up to which a tracked eye counts as shut (blinks in the development clips: 0.03 to 0.1)."""
CLOSED_LIPS = 0.012
"""Gap / mouth width up to which tracked lips count as closed."""
LID_SPREAD = 0.05
LIP_SPREAD = 0.11
"""How far (head units) the skin around follows a lid or a lip."""


def contour_pairs(contour: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """(upper, lower) landmarks of a closed contour that runs corner, lower side, corner, upper side back."""
    half = len(contour) // 2
    return list(contour[:half:-1]), list(contour[1:half])


@dataclass(frozen=True)
class Pairs:
    """All upper/lower pairs: 7 of the right eye, 7 of the left, 9 of the inner lips."""

    upper: Tensor
    """(23,) landmarks."""
    lower: Tensor
    """(23,)"""
    upper_share: Tensor
    """(23, 1) how much of a change of the gap the upper one makes."""
    spread: Tensor
    """(478, 46) how much a landmark follows each upper, then each lower one."""


def _spread(moving: list[int], still: list[int], side: Tensor, reach: float) -> Tensor:
    """(478, n) weights with which landmarks follow `moving`, which a smooth fall-off carries outwards."""
    mean = mean_face()
    distance = torch.cdist(mean[:, :2], mean[moving + still, :2])
    near = (-(distance / (0.35 * reach)).square()).exp().clamp_min(1e-12)
    weights = near / near.sum(-1, keepdim=True) * (-(distance.amin(-1, keepdim=True) / reach).square()).exp()
    weights = weights[:, : len(moving)] * side[:, None]
    weights[moving + still] = 0
    weights[moving] = torch.eye(len(moving))
    return weights


@lru_cache(maxsize=1)
def pairs() -> Pairs:
    """The table above, laid out on the mean face."""
    mean = mean_face()
    uppers, lowers, shares, spread_upper, spread_lower = [], [], [], [], []
    irises = [i for iris in IRISES for i in iris]
    for contour, reach, share, mask in (
        (RIGHT_EYE, LID_SPREAD, 0.8, eye_mask()),
        (LEFT_EYE, LID_SPREAD, 0.8, eye_mask()),
        (LIPS_INNER, LIP_SPREAD, 0.3, lips_mask()),
    ):
        upper, lower = contour_pairs(contour)
        corners = [contour[0], contour[len(contour) // 2]]
        line = _line_between(mean, upper, lower, corners)
        mask = mask.clone()
        mask[irises] = 0
        spread_upper.append(_spread(upper, corners, mask * (mean[:, 1] < line), reach))
        spread_lower.append(_spread(lower, corners, mask * (mean[:, 1] > line), reach))
        uppers += upper
        lowers += lower
        shares += [share] * len(upper)
    spread = torch.cat(spread_upper + spread_lower, 1)
    controls = uppers + lowers
    spread[controls] = torch.eye(len(controls))
    return Pairs(torch.tensor(uppers), torch.tensor(lowers), torch.tensor(shares)[:, None], spread)


def _line_between(mean: Tensor, upper: list[int], lower: list[int], corners: list[int]) -> Tensor:
    """(478,) y of the line midway between the two sides, at each landmark's x."""
    middle = torch.cat([mean[corners], (mean[upper] + mean[lower]) / 2])
    middle = middle[middle[:, 0].argsort()]
    index = torch.searchsorted(middle[:, 0].contiguous(), mean[:, 0].contiguous()).clamp(1, len(middle) - 1)
    a, b = middle[index - 1], middle[index]
    along = ((mean[:, 0] - a[:, 0]) / (b[:, 0] - a[:, 0])).clamp(0, 1)
    return a[:, 1] + along * (b[:, 1] - a[:, 1])


def gaps(shape: Tensor) -> Tensor:
    """(t, 478, 3) head frame to (t, 23, 3): from the upper to the lower one of each pair."""
    table = pairs()
    return shape[:, table.lower] - shape[:, table.upper]


def set_gaps(shape: Tensor, target: Tensor) -> Tensor:
    """Move lids and lips, and the skin around them, until `gaps(result) == target`.

    Args:
        shape: (t, 478, 3) head frame. target: (t, 23, 3).

    Returns:
        (t, 478, 3); equal to `shape` where a gap is as wanted already.
    """
    table = pairs()
    change = target - gaps(shape)
    moves = torch.cat([-table.upper_share * change, (1 - table.upper_share) * change], 1)
    return shape + table.spread @ moves


@lru_cache(maxsize=1)
def mean_lid_profile() -> Tensor:
    """(14, 3) gaps of the mean face's eyes per (openness x eye width)."""
    mean = mean_face()[None]
    size = (eye_openness(mean) * eye_width(mean))[0]
    return gaps(mean)[0, :EYE_PAIRS] / size.repeat_interleave(7)[:, None]


def shut_level(openness: Tensor, times: Sequence[Fraction]) -> float | None:
    """Eye openness up to which the eyes of a clip count as shut, read off its blinks.

    Trackers differ in how far they follow a lid that shuts. A blink is told by its shape in time: the openness of both
    eyes falls by a fifth or more below what it is in the second around, for less than half a second.

    Args:
        openness: (t, 2). times: t presentation times in seconds, increasing.

    Returns:
        None if the clip has no blink.
    """
    if len(times) < 3:
        return None
    both = openness.mean(1)
    rate = (len(times) - 1) / float(times[-1] - times[0])
    reach = min(max(1, round(0.5 * rate)), len(both) - 1)
    around = torch.cat([both[:reach].flip(0), both, both[-reach:].flip(0)]).unfold(0, 2 * reach + 1, 1).median(1).values
    low = both < 0.8 * around
    edges = torch.cat([low.new_zeros(1), low, low.new_zeros(1)]).int().diff()
    starts, ends = (edges == 1).nonzero()[:, 0].tolist(), (edges == -1).nonzero()[:, 0].tolist()
    lowest = [both[a:b].min() for a, b in zip(starts, ends, strict=True) if b - a < 0.5 * rate]
    if not lowest:
        return None
    level = torch.stack(lowest).quantile(0.1)  # not every dip is a whole blink
    return float(level + 0.15 * (both.median() - level).clamp_min(0))


@dataclass(frozen=True)
class Lids:
    """The eyelids of a face and how they open."""

    own: Tensor
    """(t, 14, 3) gaps as they are."""
    openness: Tensor
    """(t, 2) as they are, as `eye_openness` measures it."""
    opening: Tensor
    """(t, 14, 3) change of the gaps per openness."""

    def gaps(self, openness: Tensor) -> Tensor:
        """Gaps that give the eyes a wanted openness (t, 2); all pairs keep their proportions.

        Returns:
            (t, 14, 3); exactly `own` at the openness the face has, all zero at 0: the lids meet.
        """
        return self.own + _per_pair(openness - self.openness) * self.opening


def lids(shape: Tensor) -> Lids:
    """The eyelids of (t, 478, 3) head-frame shapes."""
    now, width, own = eye_openness(shape), eye_width(shape), gaps(shape)[:, :EYE_PAIRS]
    known = _per_pair(smoothstep(now, 0.05, 0.15))  # shut lids do not show their open shape
    return Lids(
        own, now, known * own / _per_pair(now.clamp_min(0.01)) + (1 - known) * _per_pair(width) * mean_lid_profile()
    )


def _per_pair(each_eye: Tensor) -> Tensor:
    """(t, 2) to (t, 14, 1)."""
    return each_eye.repeat_interleave(7, 1)[..., None]
