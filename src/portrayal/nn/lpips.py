"""LPIPS 0.1, the learned perceptual distance of Zhang et al. 2018 (arXiv 1801.03924), Sec. 3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from portrayal.nn.imagenet import VGG16_PLAN, alexnet_features, normalise, squeezenet_features, tap, vgg_layers

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
"""The official normalisation of pictures in [-1, 1]; not exactly ImageNet's."""

LpipsNet = Literal["alex", "vgg", "squeeze"]


class Backbone(NamedTuple):
    build: Callable[[], nn.Sequential]
    taps: tuple[int, ...]
    """Layers of `features` after which the maps are taken."""
    channels: tuple[int, ...]


BACKBONES: dict[LpipsNet, Backbone] = {
    "alex": Backbone(alexnet_features, (1, 4, 7, 9, 11), (64, 192, 384, 256, 256)),
    "vgg": Backbone(lambda: nn.Sequential(*vgg_layers(VGG16_PLAN)), (3, 8, 15, 22, 29), (64, 128, 256, 512, 512)),
    "squeeze": Backbone(squeezenet_features, (1, 4, 7, 9, 10, 11, 12), (64, 128, 256, 384, 384, 512, 512)),
}


class Lpips(nn.Module):
    """Weighted squared difference of unit-length deep features.

    Its state dict has the names of the two official files: `features.*` of the torchvision classifier and
    `lin{k}.model.1.weight` of the lpips package.
    """

    def __init__(self, net: LpipsNet = "alex") -> None:
        super().__init__()
        backbone = BACKBONES[net]
        self.taps = backbone.taps
        self.features = backbone.build()
        for k, channels in enumerate(backbone.channels):
            self.add_module(f"lin{k}", Head(channels))

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """
        Args:
            images, targets: (b, 3, h, w) RGB in [0, 1]; not resized.

        Returns:
            (b,) distances, at least 0; smaller is more alike.
        """
        return self.per_layer(images, targets).sum(1)

    def per_layer(self, images: Tensor, targets: Tensor) -> Tensor:
        """(b, layers): each layer's part of the distance, its mean over positions."""
        pairs = zip(self._unit_features(images), self._unit_features(targets), strict=True)
        parts = [self.get_submodule(f"lin{k}")((a - b).square()).mean((1, 2, 3)) for k, (a, b) in enumerate(pairs)]
        return torch.stack(parts, 1)

    def _unit_features(self, images: Tensor) -> list[Tensor]:
        return [unit_length(f) for f in tap(self.features, normalise(2 * images - 1, SHIFT, SCALE), self.taps)]


class Head(nn.Module):
    """One weight per channel. The official file has it behind a dropout that only training uses."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Dropout(), nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def unit_length(features: Tensor) -> Tensor:
    """(b, c, h, w) divided by its length over the channels at each position (plus 1e-10)."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)
