"""The facial pose vector p = (yaw, pitch, roll, expression) and its common range [-a, a] (section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from portrayal.face.pose import rotation_to_angles

RANGE = 6.0
"""a, as in the authors' released code; the paper gives no number."""
RELEASED_HEAD_RANGES_DEG = ((-40.0, 40.0), (-20.0, 20.0), (-20.0, 20.0))
"""Yaw, pitch, roll in the released code: fixed, where the paper measures the range of every element."""
RELEASED_RANGES = (
    *RELEASED_HEAD_RANGES_DEG,
    (-0.11169848, 0.19479339),
    (-0.99687529, 2.35403085),
    (-0.95584613, 1.60167682),
    (-0.25134960, 0.63006318),
    (-0.32551891, 1.65576077),
    (-1.88959742, 1.33327889),
    (-1.35066056, 1.22582483),
    (-1.12498868, 1.05212033),
    (-1.67797518, 0.92898178),
    (-0.91705596, 1.08661509),
    (-0.77371633, 1.87179077),
    (-1.66550004, 0.82434839),
)
"""Of all 15 elements: after the angles the jaw and 11 expressions, as published for VoxCeleb."""
RELEASED_EXPRESSIONS = 11
"""With the jaw before them these are the paper's m_e = 12."""


def rescaling(ranges: Tensor, *, a: float = RANGE) -> tuple[Tensor, Tensor]:
    """The line that takes each element's range to [-a, a].

    Args:
        ranges: (n, 2), lowest and highest value of each element.

    Returns:
        slope (n,) and intercept (n,).

    Raises:
        ValueError: a range is empty.
    """
    low, high = ranges.unbind(1)
    if not bool((high > low).all()):
        raise ValueError("every range must have its highest value above its lowest")
    slope = 2 * a / (high - low)
    return slope, -a - slope * low


def pose_change(source: Tensor, target: Tensor, ranges: Tensor, *, a: float = RANGE) -> Tensor:
    """Delta p = p_t - p_s of equation 2, after rescaling.

    Args:
        source, target: (b, n) in the units of `ranges` (n, 2).

    Returns:
        (b, n).
    """
    slope, _ = rescaling(ranges, a=a)
    return slope * (target - source)


def deca_attributes(pose: Tensor, expression: Tensor) -> Tensor:
    """The 15 numbers that the released matrices read, from DECA's coefficients.

    Args:
        pose: (b, 6), axis and angle of the head in radians, then of the jaw.
        expression: (b, n), n at least 11.

    Returns:
        (b, 15): yaw, pitch, roll in degrees, the jaw's first number, 11 expressions.

    Convention: DECA's axes, not those of `face.pose`: yaw has the opposite sign there.
    """
    x, y, z = pose[:, :3].unbind(1)
    zero = torch.zeros_like(x)
    rows = (torch.stack(row, 1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero)))
    rotation = torch.linalg.matrix_exp(torch.stack(list(rows), 1))
    yaw, pitch, roll = torch.rad2deg(rotation_to_angles(rotation)).split(1, 1)
    return torch.cat([-yaw, pitch, roll, pose[:, 3:4], expression[:, :RELEASED_EXPRESSIONS]], 1)


def released_angles(rotation: Tensor) -> Tensor:
    """(t, 3, 3) head to picture, to yaw, pitch, roll (t, 3) in degrees and with the signs of `deca_attributes`."""
    yaw, pitch, roll = torch.rad2deg(rotation_to_angles(rotation)).split(1, 1)
    return torch.cat([-yaw, pitch, roll], 1)
