"""Adaptive discriminator augmentation (Karras et al. 2020, arXiv 2006.06676): pixel blitting, geometry and colour.

Real and generated pictures go through the same random changes before the discriminator sees them, each with
probability p, and p follows how much the discriminator overfits (section 3). As long as p stays below 0.8 the
generator does not learn the changes.

Convention: geometry is a 3 x 3 matrix on (x, y, 1), columns, x right and y down in [-1, 1] over the picture, that takes
places in the picture to places in the result. Pictures are in [-1, 1].

Differs: the published code filters with a wavelet before and after resampling; we read bilinearly, mirrored beyond the
border. Pictures can be differentiated once: take R1's slope at the changed pictures, which are the discriminator's
input.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

TRANSLATION = 0.125
"""Of the side: limit of whole-pixel shifts, standard deviation of others (appendix B)."""
SCALE_DEVIATION = 0.2 * math.log(2)
BRIGHTNESS_DEVIATION = 0.2
CONTRAST_DEVIATION = 0.5 * math.log(2)
SATURATION_DEVIATION = math.log(2)


class Draws:
    """Random numbers of a batch; each kind of change happens to a picture with probability p."""

    def __init__(self, count: int, device: torch.device, generator: torch.Generator | None) -> None:
        self.count, self.device, self.generator = count, device, generator

    def uniform(self, low: float, high: float, columns: int = 1) -> Tensor:
        """(count, columns)."""
        return torch.rand(self.count, columns, device=self.device, generator=self.generator) * (high - low) + low

    def normal(self, deviation: float, columns: int = 1) -> Tensor:
        """(count, columns)."""
        return torch.randn(self.count, columns, device=self.device, generator=self.generator) * deviation

    def apply(self, value: Tensor, neutral: float, p: float) -> Tensor:
        """`value` (count, columns) with probability p, else `neutral`."""
        return torch.where(self.uniform(0, 1) < p, value, torch.full_like(value, neutral))


def augment(images: Tensor, p: float, *, generator: torch.Generator | None = None) -> Tensor:
    """Change each picture at random.

    Args:
        images: (b, 3, h, h) in [-1, 1].
        p: probability of each kind of change; at 0 the pictures come back as they are.

    Returns:
        (b, 3, h, h), which can leave [-1, 1].

    Raises:
        ValueError: not square, or not RGB.
    """
    b, c, h, w = images.shape
    if c != 3 or h != w:
        raise ValueError(f"augmentation needs square RGB pictures (b, 3, h, h), got {tuple(images.shape)}")
    if p <= 0:
        return images
    draws = Draws(b, images.device, generator)
    return change_colour(change_geometry(images, draw_geometry(draws, p, size=h)), draw_colour(draws, p))


def draw_geometry(draws: Draws, p: float, *, size: int) -> Tensor:
    """(b, 3, 3): mirror, quarter turns, whole-pixel shift, scale, turn, stretch, turn, shift (appendix B, figure 7)."""
    one = torch.ones(draws.count, 1, device=draws.device)
    flip = draws.apply(1 - 2 * draws.uniform(0, 2).floor(), 1, p)
    quarter = draws.apply(draws.uniform(0, 4).floor(), 0, p) * (math.pi / 2)
    whole = (draws.uniform(-TRANSLATION, TRANSLATION, 2) * size).round() / size
    scale = draws.apply(draws.normal(SCALE_DEVIATION), 0, p).exp()
    stretch = draws.apply(draws.normal(SCALE_DEVIATION), 0, p).exp()
    # A turn before and one after the stretch: each so often that either happens with probability p.
    p_turn = 1 - math.sqrt(1 - min(p, 1.0))
    before, after = (draws.apply(draws.uniform(-math.pi, math.pi), 0, p_turn) for _ in range(2))
    steps = (
        _scaling(flip, one),
        _rotation(quarter),
        _shift(2 * draws.apply(whole, 0, p)),
        _scaling(scale, scale),
        _rotation(before),
        _scaling(stretch, 1 / stretch),
        _rotation(after),
        _shift(2 * draws.apply(draws.normal(TRANSLATION, 2), 0, p)),
    )
    matrix = torch.eye(3, device=draws.device).expand(draws.count, 3, 3)
    for step in steps:
        matrix = step @ matrix
    return matrix


def draw_colour(draws: Draws, p: float) -> Tensor:
    """(b, 3, 4): brightness, contrast, luma flip, hue, saturation, on (r, g, b, 1) (appendix B, figure 7)."""
    brightness = draws.apply(draws.normal(BRIGHTNESS_DEVIATION), 0, p)
    contrast = draws.apply(draws.normal(CONTRAST_DEVIATION), 0, p).exp()
    flip = draws.apply(draws.uniform(0, 2).floor(), 0, p)
    hue = draws.apply(draws.uniform(-math.pi, math.pi), 0, p)
    saturation = draws.apply(draws.normal(SATURATION_DEVIATION), 0, p).exp()
    # Luma is the grey axis (1, 1, 1) / sqrt(3); `grey` projects on it, `cross` is the vector product with it.
    grey = torch.full((3, 3), 1 / 3, device=draws.device)
    eye = torch.eye(3, device=draws.device)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=draws.device) / math.sqrt(3)
    flipped = eye - 2 * grey * flip[..., None]
    sine, cosine = hue.sin()[..., None], hue.cos()[..., None]
    turned = cosine * eye + sine * cross + (1 - cosine) * grey
    saturated = grey + (eye - grey) * saturation[..., None]
    linear = saturated @ turned @ flipped * contrast[..., None]
    return torch.cat([linear, linear.sum(2, keepdim=True) * brightness[..., None]], 2)


def change_geometry(images: Tensor, matrix: Tensor) -> Tensor:
    """Move each picture (b, c, h, h) by its matrix (b, 3, 3), mirrored beyond the border."""
    places = F.affine_grid(matrix.float().inverse()[:, :2], list(images.shape), align_corners=False)
    return F.grid_sample(images, places.to(images.dtype), padding_mode="reflection", align_corners=False)


def change_colour(images: Tensor, matrix: Tensor) -> Tensor:
    """(b, 3, h, w) times (b, 3, 4)."""
    matrix = matrix.to(images.dtype)
    return torch.einsum("boc,bchw->bohw", matrix[:, :, :3], images) + matrix[:, :, 3, None, None]


def adjust_probability(p: float, signs: float, pictures: int, *, target: float = 0.6, span: int = 500_000) -> float:
    """The next p (section 3).

    Args:
        signs: r_t, the mean sign of the discriminator's logits of real pictures since the last adjustment.
        pictures: how many real pictures that were.
        target: r_t that is aimed at.
        span: pictures in which p can go from 0 to 1.
    """
    step = math.copysign(pictures / span, signs - target) if signs != target else 0.0
    return min(max(p + step, 0.0), 1.0)


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    """(b, 1), (b, 1) to (b, 3, 3)."""
    return torch.diag_embed(torch.cat([x, y, torch.ones_like(x)], 1))


def _rotation(angle: Tensor) -> Tensor:
    """(b, 1) radians, from x towards y, to (b, 3, 3)."""
    s, c, zero, one = angle.sin(), angle.cos(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.cat([c, -s, zero, s, c, zero, zero, zero, one], 1).unflatten(1, (3, 3))


def _shift(by: Tensor) -> Tensor:
    """(b, 2) to (b, 3, 3)."""
    matrix = torch.eye(3, device=by.device).repeat(len(by), 1, 1)
    matrix[:, :2, 2] = by
    return matrix
