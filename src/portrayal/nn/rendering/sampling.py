"""Depths along rays: evenly spaced with jitter, then drawn where the weights are (NeRF, Sec. 5.2; EG3D's code).

The random numbers come in as tensors, so that a caller decides about seeds, and a test about every draw.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def stratified_depths(jitter: Tensor, near: float | Tensor, far: float | Tensor, *, disparity: bool = False) -> Tensor:
    """One depth per stratum.

    Args:
        jitter: (b, r, s) in [0, 1): the place within each stratum. s at least 2.
        near, far: numbers, or (b, r) limits of each ray.
        disparity: strata of equal 1/depth instead of equal depth; near must then be above zero.

    Returns:
        (b, r, s) ascending. The strata start at even steps from near to far, so that, as in EG3D, the last one reaches
        up to one step beyond `far`.

    Raises:
        ValueError: with `disparity`, if that step would reach infinity: far must be below s * near.
    """
    count = jitter.shape[-1]
    if disparity and bool(torch.as_tensor(far >= count * near).any()):
        raise ValueError(f"with disparity, far must be below {count} (samples) times near, got {far} and {near}")
    share = torch.linspace(0, 1, count, device=jitter.device, dtype=jitter.dtype) + jitter / (count - 1)
    near, far = (limit[..., None] if isinstance(limit, Tensor) else limit for limit in (near, far))
    if disparity:
        return 1 / (1 / near * (1 - share) + 1 / far * share)
    return near + share * (far - near)


def sample_pdf(bins: Tensor, weights: Tensor, draws: Tensor, *, eps: float = 1e-5) -> Tensor:
    """Depths from a piecewise constant density, by inverting its cumulative sum.

    Args:
        bins: (..., n + 1) ascending edges. weights: (..., n), not negative. draws: (..., m) in [0, 1].
        eps: added to every weight, so that a ray without weights is sampled evenly.

    Returns:
        (..., m), in the order of `draws`.
    """
    density = weights + eps
    cdf = F.pad((density / density.sum(-1, keepdim=True)).cumsum(-1), (1, 0))
    above = torch.searchsorted(cdf, draws.contiguous(), right=True)
    below = (above - 1).clamp_min(0)
    above = above.clamp_max(weights.shape[-1])
    cdf_below, cdf_above = cdf.gather(-1, below), cdf.gather(-1, above)
    bin_below, bin_above = bins.gather(-1, below), bins.gather(-1, above)
    width = cdf_above - cdf_below
    width = torch.where(width < eps, 1, width)
    return bin_below + (draws - cdf_below) / width * (bin_above - bin_below)


@torch.no_grad()
def importance_depths(depths: Tensor, weights: Tensor, draws: Tensor) -> Tensor:
    """More depths where a first pass has found something; no gradient flows through them.

    Args:
        depths: (b, r, s) of the first pass. weights: (b, r, s - 1), of the segments between them.
        draws: (b, r, m) in [0, 1].

    Returns:
        (b, r, m). The weights are blurred (maximum of neighbours, then their mean) and raised by 0.01 first, as in
        MipNeRF. As in EG3D's code the weight of segment i, from depth i on, is given to the interval between the
        middles of segments i - 1 and i, so half a step early, and the last interval never gets a sample.
    """
    rows = weights.flatten(0, -2)[:, None]
    blurred = F.avg_pool1d(F.max_pool1d(rows, 2, 1, padding=1), 2, 1)[:, 0].unflatten(0, weights.shape[:-1]) + 0.01
    middle = (depths[..., :-1] + depths[..., 1:]) / 2
    return sample_pdf(middle, blurred[..., 1:-1], draws)
