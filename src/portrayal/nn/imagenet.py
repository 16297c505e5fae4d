"""Feature stacks of ImageNet classifiers (VGG, AlexNet, SqueezeNet) under the names of the torchvision checkpoints.

The classifiers' heads are left out; `backbone_weights` passes over their weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Of the ImageNet pictures, RGB in [0, 1]."""

VGG16_PLAN = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)
VGG19_PLAN = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512)
"""Channels of the 3x3 convolutions (Simonyan and Zisserman 2015, Table 1, columns D and E); 0 is a max pooling."""

VGG16_TAPS = {
    "relu1_1": 1, "relu1_2": 3, "relu2_1": 6, "relu2_2": 8, "relu3_1": 11,
    "relu3_3": 15, "relu4_1": 18, "relu4_3": 22, "relu5_1": 25,
}  # fmt: skip
VGG19_TAPS = {"relu1_1": 1, "relu2_1": 6, "relu3_1": 11, "relu4_1": 20, "relu5_1": 29}
"""Of the perceptual loss of FOMM, face-vid2vid and MMFA. Name -> index of the layer of `features` it follows."""


class Vgg(nn.Module):
    """VGG16 or VGG19 up to the last tap; forward gives the feature map after each tap."""

    def __init__(self, plan: tuple[int, ...], taps: Mapping[str, int]) -> None:
        super().__init__()
        self.taps = dict(taps)
        self.features = nn.Sequential(*vgg_layers(plan)[: max(taps.values()) + 1])

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """
        Args:
            images: (b, 3, h, w) RGB in [0, 1]; normalised here, not resized.

        Returns:
            name of the tap -> (b, c, h', w').
        """
        maps = tap(self.features, normalise(images), self.taps.values())
        return dict(zip(self.taps, maps, strict=True))


def vgg16(taps: Mapping[str, int] = VGG16_TAPS) -> Vgg:
    return Vgg(VGG16_PLAN, taps)


def vgg19(taps: Mapping[str, int] = VGG19_TAPS) -> Vgg:
    return Vgg(VGG19_PLAN, taps)


def normalise(images: Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> Tensor:
    """(b, 3, h, w) in [0, 1] to zero mean and unit deviation per channel."""
    return (images - images.new_tensor(mean)[:, None, None]) / images.new_tensor(std)[:, None, None]


def tap(features: nn.Sequential, x: Tensor, indices: Iterable[int]) -> list[Tensor]:
    """The outputs of the layers `indices` (increasing) of a stack."""
    wanted, found = set(indices), []
    for index, layer in enumerate(features):
        x = layer(x)
        if index in wanted:
            found.append(x)
    return found


def vgg_layers(plan: tuple[int, ...]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    c_in = 3
    for c in plan:
        layers += [nn.Conv2d(c_in, c, 3, padding=1), nn.ReLU()] if c else [nn.MaxPool2d(2)]
        c_in = c or c_in
    return layers


def alexnet_features() -> nn.Sequential:
    """AlexNet in the one-tower form of Krizhevsky 2014 ("One weird trick"), as torchvision has it."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


def squeezenet_features() -> nn.Sequential:
    """SqueezeNet 1.1; its poolings round sizes up."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(64, 16, 64), Fire(128, 16, 64), nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(128, 32, 128), Fire(256, 32, 128), nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
    )  # fmt: skip


class Fire(nn.Module):
    """SqueezeNet's block: a narrow 1x1 convolution, then 1x1 and 3x3 ones side by side (Iandola et al. 2016)."""

    def __init__(self, c_in: int, c_squeeze: int, c_expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(c_in, c_squeeze, 1)
        self.expand1x1 = nn.Conv2d(c_squeeze, c_expand, 1)
        self.expand3x3 = nn.Conv2d(c_squeeze, c_expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], 1).relu()


def backbone_weights(net: nn.Module, checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of a classifier's checkpoint that `net` has; its deeper layers and its head are passed over."""
    own = net.state_dict()
    return {name: value for name, value in checkpoint.items() if name in own}
