"""From samples along rays to colour and depth (MipNeRF's quadrature as EG3D's code has it).

Raw density is a number before its activation: a segment between two samples has the density softplus(mean of both - 1)
per world unit, and the mean of their colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class March:
    """What rays have seen."""

    colour: Tensor
    """(b, r, c), in the range of the samples' colours; what is not covered stays black."""
    depth: Tensor
    """(b, r) along the ray in world units; infinite where nothing was seen."""
    opacity: Tensor
    """(b, r) in [0, 1]."""
    weights: Tensor
    """(b, r, s - 1), of the segments between samples."""

    def over_white(self) -> Tensor:
        """(b, r, c), the colour on a white ground (colours in [0, 1])."""
        return self.colour + (1 - self.opacity)[..., None]


def segment_weights(raw_density: Tensor, depths: Tensor) -> Tensor:
    """(b, r, s) raw densities at ascending depths (b, r, s) to the weights (b, r, s - 1) of the segments."""
    density = F.softplus((raw_density[..., :-1] + raw_density[..., 1:]) / 2 - 1)
    # 1 - exp, not expm1: what float32 rounds to nothing is empty space, and has no depth.
    alpha = 1 - torch.exp(-density * depths.diff(dim=-1))
    return alpha * transmittance(alpha)[..., :-1]


def transmittance(alpha: Tensor) -> Tensor:
    """(..., n) opacities of segments to (..., n + 1): what passes all segments before each one, and all of them."""
    return F.pad(1 - alpha + 1e-10, (1, 0), value=1).cumprod(-1)


def march_rays(colour: Tensor, raw_density: Tensor, depths: Tensor) -> March:
    """Composite samples in ascending order of depth.

    Args:
        colour: (b, r, s, c). raw_density: (b, r, s). depths: (b, r, s) world units.
    """
    weights = segment_weights(raw_density, depths)
    opacity = weights.sum(-1)
    seen = torch.einsum("brs,brsc->brc", weights, (colour[..., :-1, :] + colour[..., 1:, :]) / 2)
    middle = (depths[..., :-1] + depths[..., 1:]) / 2
    return March(seen, mean_depth((weights * middle).sum(-1), opacity), opacity, weights)


def mean_depth(weighted: Tensor, opacity: Tensor) -> Tensor:
    """Sum of weight times depth over sum of weights; infinite, with a gradient of zero, where nothing was seen."""
    some = opacity > 0
    return torch.where(some, weighted / torch.where(some, opacity, 1), torch.inf)
