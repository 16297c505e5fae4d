"""ResNet-50's convolutional part (He et al. 2016), under the names of the torchvision checkpoint."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

RESNET50 = (3, 4, 6, 3)
"""Bottlenecks per stage."""
EXPANSION = 4


class ResNet(nn.Module):
    """Pictures to 2048 numbers. Subclasses add what reads them."""

    def __init__(self, blocks: tuple[int, int, int, int] = RESNET50) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        c_in = 64
        for stage, count in enumerate(blocks):
            c = 64 * 2**stage
            first = Bottleneck(c_in, c, stride=1 if stage == 0 else 2)
            rest = [Bottleneck(EXPANSION * c, c, stride=1) for _ in range(count - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *rest))
            c_in = EXPANSION * c

    def features(self, x: Tensor) -> Tensor:
        """(b, 3, h, w) normalised as the weights want it, to (b, 2048): the mean over the last map."""
        x = F.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        for stage in range(4):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x.mean((2, 3))


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1, beside a shortcut."""

    def __init__(self, c_in: int, c: int, *, stride: int) -> None:
        super().__init__()
        c_out = EXPANSION * c
        self.conv1 = nn.Conv2d(c_in, c, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.conv2 = nn.Conv2d(c, c, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c)
        self.conv3 = nn.Conv2d(c, c_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.downsample = (
            nn.Identity()
            if stride == 1 and c_in == c_out
            else nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()
