"""What MMFA keeps of a motion."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from portrayal.types import Driving


@dataclass(frozen=True)
class MmfaDriving(Driving):
    """A motion in codes: those of a rendered frame are share * the source's + these.

    With `expression_input` landmarks it is share * what is read from `params`, which `motion.retarget` moves onto the
    portrait, + `expression`, which is (t, 0) unless it comes out of the latent space (`latent`).
    """

    expression: Tensor
    """(t, 256) f_delta of equation 4; with equation 3 delta itself, (t, 3 k)."""
    expression_share: Tensor
    """(t,)"""
    pose: Tensor
    """(t, 6) yaw, pitch, roll in radians and t of equation 3; (t, 0) with equation 5, whose pose is in `params`."""
    pose_share: Tensor
    """(t,)"""
