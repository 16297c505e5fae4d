"""The tracker's networks: a fully convolutional face detector and a landmark network, both small and CPU friendly."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.face.config import Config
from portrayal.face.topology import LANDMARKS


class FaceMeasure(NamedTuple):
    """What the landmark network says of a batch of crops."""

    landmarks: Tensor
    """(b, 478, 3); x, y in [-1, 1] across the crop, z in the same unit."""
    eye_openness: Tensor
    """(b, 2) right, left."""
    confidence: Tensor
    """(b,) logit: the crop shows a face."""


class DetectorMaps(NamedTuple):
    """What the detector says of each cell of 8 x 8 pixels."""

    heat: Tensor
    """(b, h/8, w/8) logit: a face's centre is in this cell."""
    box: Tensor
    """(b, 5, h/8, w/8): centre x, y from the cell's centre in face sides, log(side / 32 px), cos and sin of roll."""


def conv_bn(c_in: int, c_out: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, and batch norm."""
    return nn.Sequential(nn.Conv2d(c_in, c_out, size, stride, size // 2, bias=False), nn.BatchNorm2d(c_out))


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, c_in: int, c_out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv_bn(c_in, c_out, stride=stride)
        self.conv2 = conv_bn(c_out, c_out)
        self.shortcut = nn.Identity() if c_in == c_out and stride == 1 else conv_bn(c_in, c_out, size=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


def residual_stage(c_in: int, c_out: int, blocks: int, *, stride: int) -> nn.Sequential:
    """`blocks` residual blocks, the first with `stride`."""
    first = Residual(c_in, c_out, stride=stride)
    return nn.Sequential(first, *[Residual(c_out, c_out) for _ in range(blocks - 1)])


class LandmarkNet(nn.Module):
    """478 x 3 landmarks, eye openness and a confidence from one crop.

    A landmark's x, y is the sum of a local reading, the mean of a soft map over the 1/8 grid, and a global
    regression; the first follows the picture's detail, the second keeps the face's shape where detail is missing.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        c, n = config.landmark_channels, config.landmark_blocks
        self.stem = conv_bn(3, c[0], size=7, stride=4)
        self.stage4 = residual_stage(c[0], c[0], n[0], stride=1)
        self.stage8 = residual_stage(c[0], c[1], n[1], stride=2)
        self.stage16 = residual_stage(c[1], c[2], n[2], stride=2)
        self.stage32 = residual_stage(c[2], c[3], n[3], stride=2)
        self.squeeze = conv_bn(c[3], 64, size=1)
        self.hidden = nn.Linear(64 * (config.crop_size // 32) ** 2, 256)
        self.regress = nn.Linear(256, LANDMARKS * 3)
        self.state = nn.Linear(256, 3)
        self.top_down = conv_bn(c[2] + c[3], c[1], size=1)
        self.local = conv_bn(c[1], c[1])
        self.maps = nn.Conv2d(c[1], LANDMARKS, 1)
        nn.init.normal_(self.regress.weight, std=0.01)
        nn.init.zeros_(self.regress.bias)

    def forward(self, crops: Tensor) -> FaceMeasure:
        """
        Args:
            crops: (b, 3, s, s) in [0, 1], s = `Config.crop_size`.
        """
        f4 = self.stage4(F.relu(self.stem((crops - 0.45) * 4)))
        f8 = self.stage8(f4)
        f16 = self.stage16(f8)
        f32 = self.stage32(f16)
        code = F.relu(self.hidden(F.relu(self.squeeze(f32)).flatten(1)))
        landmarks = self.regress(code).unflatten(1, (LANDMARKS, 3)).float()
        state = self.state(code).float()

        top = torch.cat([f16, F.interpolate(f32, scale_factor=2.0)], 1)
        f8 = F.relu(f8 + F.interpolate(self.top_down(top), scale_factor=2.0))
        maps = self.maps(F.relu(self.local(f8))).float()
        xy = soft_argmax(maps)
        return FaceMeasure(landmarks + F.pad(xy, (0, 1)), state[:, :2], state[:, 2])


def soft_argmax(maps: Tensor) -> Tensor:
    """The mean position of each map's soft-max, (b, n, h, w) -> (b, n, 2) x, y in [-1, 1] (cell centres)."""
    b, n, h, w = maps.shape
    weight = maps.flatten(2).softmax(-1).view(b, n, h, w)
    x = (torch.arange(w, device=maps.device) + 0.5) * (2 / w) - 1
    y = (torch.arange(h, device=maps.device) + 0.5) * (2 / h) - 1
    return torch.stack([weight.sum(2) @ x, weight.sum(3) @ y], -1)


class Detector(nn.Module):
    """Faces of `Config.face_sizes` as centres on a 1/8 grid (after Zhou et al. 2019, "Objects as Points")."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = config.detector_channels
        self.stem = conv_bn(3, c[0], stride=2)
        self.stage4 = residual_stage(c[0], c[1], 1, stride=2)
        self.stage8 = residual_stage(c[1], c[2], 2, stride=2)
        self.stage16 = residual_stage(c[2], c[2], 2, stride=2)
        self.stage32 = residual_stage(c[2], c[2], 2, stride=2)
        self.merge16 = conv_bn(2 * c[2], c[2])
        self.merge8 = conv_bn(2 * c[2], c[2])
        self.heat = nn.Conv2d(c[2], 1, 1)
        self.box = nn.Conv2d(c[2], 5, 1)
        nn.init.constant_(self.heat.get_parameter("bias"), -4.0)  # faces are rare

    def forward(self, pictures: Tensor) -> DetectorMaps:
        """
        Args:
            pictures: (b, 3, h, w) in [0, 1], h and w multiples of 32.
        """
        f8 = self.stage8(self.stage4(F.relu(self.stem((pictures - 0.45) * 4))))
        f16 = self.stage16(f8)
        f32 = F.interpolate(self.stage32(f16), scale_factor=2.0)
        f16 = F.relu(self.merge16(torch.cat([f16, f32], 1)))
        f8 = F.relu(self.merge8(torch.cat([f8, F.interpolate(f16, scale_factor=2.0)], 1)))
        return DetectorMaps(self.heat(f8)[:, 0].float(), self.box(f8).float())


class TrackerNet(nn.Module):
    """Both networks, so that one file holds them."""

    detector: Detector
    landmarks: LandmarkNet

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.detector = Detector(config)
        self.landmarks = LandmarkNet(config)


def build(config: Config) -> TrackerNet:
    return TrackerNet(config)
