"""The frozen networks whose features the perceptual losses compare, chosen by name in the configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.errors import InputError
from portrayal.face.align import FIVE_POINTS, align
from portrayal.face.features import TrackerMaps
from portrayal.nn.imagenet import Vgg
from portrayal.nn.mobilefacenet import ALIGNED_POINTS, INPUT_SIZE, MobileFaceNet
from portrayal.nn.pretrained import (
    DEV_WEIGHTS,
    development_weights,
    load_mobilefacenet,
    load_vgg19,
    load_vgg_face,
)
from portrayal.nn.vgg_face import VggFace

FeatureName = Literal["vgg19", "vgg-face", "identity", "tracker"]
VGG_FACE_SIDE = 224
SMALLEST_SIDE = 32
"""Of the down-sampling pyramid: 256 / 32 = 8, the range of FOMM's four scales."""


class FeatureNetwork(nn.Module, ABC):
    """A frozen network with the same call for all: pictures to feature maps."""

    finest_only = True
    """Compare the full-size result alone (A.2 for VGG-Face), not the smaller outputs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> FeatureNetwork:
        """Stays in evaluation mode."""
        return super().train(False)

    @abstractmethod
    def forward(self, images: Tensor, landmarks: Tensor) -> list[Tensor]:
        """
        Args:
            images: (b, 3, h, w) RGB in [0, 1].
            landmarks: (b, 478, 3) of the driving face, pixels of those pictures.

        Returns:
            maps (b, c, h', w'), coarser and coarser.
        """


class VggPyramid(FeatureNetwork):
    """VGG-19 on the picture and its halves, as long as they have `SMALLEST_SIDE` pixels."""

    finest_only = False
    net: Vgg

    def forward(self, images: Tensor, landmarks: Tensor) -> list[Tensor]:
        return [feature for level in pyramid(images) for feature in self.net(level).values()]


class VggFaceFeatures(FeatureNetwork):
    """VGG-Face at its own resolution."""

    net: VggFace

    def forward(self, images: Tensor, landmarks: Tensor) -> list[Tensor]:
        return list(self.net(resize(images, VGG_FACE_SIDE)).values())


class IdentityFeatures(FeatureNetwork):
    """MobileFaceNet on the aligned face, before each reduction: an identity network instead of VGG-Face."""

    net: MobileFaceNet
    taps = (4, 11, 14)

    def forward(self, images: Tensor, landmarks: Tensor) -> list[Tensor]:
        points = landmarks[:, list(FIVE_POINTS), :2].to(images)
        faces = align(images, points, images.new_tensor(ALIGNED_POINTS), INPUT_SIZE)
        x = self.net.dw_conv1(self.net.conv1((faces * 255 - 127.5) / 128))
        maps = [x]
        for index, block in enumerate(self.net.blocks):
            x = block(x)
            if index in self.taps:
                maps.append(x)
        return maps


class TrackerFeatures(FeatureNetwork):
    """The embedded tracker's maps: perceptual features that need no download."""

    finest_only = False
    net: TrackerMaps

    def forward(self, images: Tensor, landmarks: Tensor) -> list[Tensor]:
        return self.net(images)


def load_features(name: FeatureName) -> FeatureNetwork:
    """A feature network with its weights.

    Raises:
        InputError: its weights are not installed; the message says how to get them.
    """
    if name == "vgg19":
        network: FeatureNetwork = VggPyramid(load_vgg19())
    elif name == "vgg-face":
        network = VggFaceFeatures(load_vgg_face())
    elif name == "tracker":
        network = TrackerFeatures(TrackerMaps())
    else:
        path = development_weights()
        if path is None:
            raise InputError(
                f"the perceptual loss 'identity' needs MobileFaceNet's weights; set {DEV_WEIGHTS} to the folder with "
                "mobilefacenet.npz, or choose other networks in loss.perceptual_networks"
            )
        network = IdentityFeatures(load_mobilefacenet(path))
    return network


def pyramid(images: Tensor) -> list[Tensor]:
    """(b, 3, s, s) and its halves down to `SMALLEST_SIDE`, antialiased; at least the picture itself."""
    levels = [images]
    while levels[-1].shape[-1] >= 2 * SMALLEST_SIDE:
        levels.append(resize(levels[-1], levels[-1].shape[-1] // 2))
    return levels


def resize(images: Tensor, side: int) -> Tensor:
    """(b, c, h, w) to (b, c, side, side), bilinear, antialiased where it shrinks."""
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)
