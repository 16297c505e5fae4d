"""Losses of generator and renderer (Sec. 3.4), named and unweighted; equation 1 is in `clebs`."""

from __future__ import annotations

from itertools import starmap

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.face.expressive import EXPRESSIVE
from portrayal.face.features import TrackerMaps
from portrayal.nn.lpips import unit_length
from portrayal.nn.pretrained import load_lpips
from portrayal.systems.export3d.config import PerceptualName
from portrayal.systems.export3d.renderer import Fetched, View

EMPHASIS = 8.0
"""Weight of the landmarks of lips and lids."""


class TrackerDistance(nn.Module):
    """LPIPS's form with the embedded tracker's maps and without learned weights: needs no download."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = TrackerMaps()

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """(b, 3, h, w) in [0, 1] each to (b,) distances."""
        pairs = zip(self.maps(images), self.maps(targets), strict=True)
        parts = starmap(lambda a, b: (unit_length(a) - unit_length(b)).square().sum(1).mean((1, 2)), pairs)
        return torch.stack(list(parts), 1).sum(1)


def load_perceptual(name: PerceptualName) -> nn.Module | None:
    """The network of the perceptual terms, (images, targets) to (b,); None for `none`.

    Raises:
        InputError: its weights are missing; the message names the command that fetches them.
    """
    if name == "none":
        return None
    return load_lpips("vgg") if name == "lpips-vgg" else TrackerDistance()


def reconstruction_terms(
    view: View, driving: Tensor, perceptual: nn.Module | None, *, features: Tensor | None = None
) -> dict[str, Tensor]:
    """The terms of equation 11: L_2 and L_lpips, of D_raw and of D.

    Args:
        driving: (b, 3, H, W) in [0, 1]; D_raw's truth is the mean over its 4 x 4 pixels.
        perceptual: None leaves these terms out.
        features: (b, 1, H, W) weights of the pixels in a further term; None leaves it out.

    Returns:
        () each. Differences of pixels are of pictures in [-1, 1].
    """
    factor = driving.shape[-1] // view.raw.shape[-1]
    pairs = {"raw_": (view.raw, F.avg_pool2d(driving, factor)), "": (view.picture, driving)}
    terms = {f"{name}pixel": (2 * (made - truth)).square().mean() for name, (made, truth) in pairs.items()}
    if features is not None:
        weights = (F.avg_pool2d(features, factor), features)
        parts = zip(pairs.values(), weights, strict=True)
        terms["features"] = torch.stack([_weighted(*pair, weight) for pair, weight in parts]).sum()
    if perceptual is not None:
        for name, (made, truth) in pairs.items():
            terms[f"{name}perceptual"] = perceptual(made, truth).mean()
    return terms


def _weighted(made: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """L_2 as in the other terms, a weighted mean over the pixels."""
    return ((2 * (made - truth)).square().mean(1, keepdim=True) * weight).sum() / weight.sum()


def made_term(fetched: Fetched, driving: Tensor, features: Tensor) -> Tensor:
    """L_2 of what was made, of all pixels and of those that `features` (b, 1, H, W) weighs. ()"""
    return (2 * (fetched.made - driving)).square().mean() + _weighted(fetched.made, driving, features)


def landmark_term(fetched: Fetched, driving: Tensor, source: Tensor) -> Tensor:
    """Mean distance between the places that a view fetches its landmarks from and the source's landmarks; lips and lids
    count more than the rest, which they are only a tenth of.

    Args:
        driving, source: (b, n, 2) landmarks of both frames in sides of the picture.

    Returns:
        (), in halves of the picture's side.
    """
    found = F.grid_sample(fetched.places, 2 * driving[:, :, None] - 1, padding_mode="border", align_corners=False)
    away = (found[..., 0].mT - (2 * source - 1)).abs().sum(-1)  # (b, n)
    weights = away.new_ones(away.shape[1])
    weights[EXPRESSIVE] = EMPHASIS
    return (away * weights).mean() / weights.mean()
