"""The Inception-v3 network of the Frechet Inception distance (Heusel et al. 2017), in the form of pytorch-fid.

Names are those of its checkpoint. It differs from the classifier of Szegedy et al. 2015 in its poolings: averages leave
out the padding, and the last block takes a maximum.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SIDE = 299
FEATURES = 2048


class Inception(nn.Module):
    """Pictures to the 2048 numbers before the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = ReduceB(288)
        self.Mixed_6b = BlockC(768, 128)
        self.Mixed_6c = BlockC(768, 160)
        self.Mixed_6d = BlockC(768, 160)
        self.Mixed_6e = BlockC(768, 192)
        self.Mixed_7a = ReduceD(768)
        self.Mixed_7b = BlockE(1280, max_pool=False)
        self.Mixed_7c = BlockE(2048, max_pool=True)
        self.fc = nn.Linear(FEATURES, 1008)  # in the checkpoint, not used

    def forward(self, images: Tensor) -> Tensor:
        """
        Args:
            images: (b, 3, h, w) RGB in [0, 1], any size: squeezed to 299 x 299 without antialiasing, as the
                published numbers were made.

        Returns:
            (b, 2048).
        """
        return self.blocks(images)[-1]

    def blocks(self, images: Tensor) -> list[Tensor]:
        """The maps after both max poolings (64, 192 channels) and after Mixed_6e (768), and the features."""
        x = F.interpolate(images, (INPUT_SIDE, INPUT_SIDE), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(2 * x - 1)))
        first = F.max_pool2d(x, 3, 2)
        second = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(first)), 3, 2)
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(second))))
        third = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(third)))
        return [first, second, third, x.mean((2, 3))]


class Unit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        size: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu()


class BlockA(nn.Module):
    """35 x 35 positions: 1x1, 5x5, two 3x3, pooling."""

    def __init__(self, c_in: int, c_pool: int) -> None:
        super().__init__()
        self.branch1x1 = Unit(c_in, 64, 1)
        self.branch5x5_1 = Unit(c_in, 48, 1)
        self.branch5x5_2 = Unit(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Unit(c_in, 64, 1)
        self.branch3x3dbl_2 = Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, padding=1)
        self.branch_pool = Unit(c_in, c_pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(mean3x3(x))], 1)


class ReduceB(nn.Module):
    """35 x 35 to 17 x 17."""

    def __init__(self, c_in: int) -> None:
        super().__init__()
        self.branch3x3 = Unit(c_in, 384, 3, stride=2)
        self.branch3x3dbl_1 = Unit(c_in, 64, 1)
        self.branch3x3dbl_2 = Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class BlockC(nn.Module):
    """17 x 17 positions: 7x7 convolutions as pairs of 1x7 and 7x1."""

    def __init__(self, c_in: int, c: int) -> None:
        super().__init__()
        row, column = (1, 7), (7, 1)
        along_row, along_column = (0, 3), (3, 0)
        self.branch1x1 = Unit(c_in, 192, 1)
        self.branch7x7_1 = Unit(c_in, c, 1)
        self.branch7x7_2 = Unit(c, c, row, padding=along_row)
        self.branch7x7_3 = Unit(c, 192, column, padding=along_column)
        self.branch7x7dbl_1 = Unit(c_in, c, 1)
        self.branch7x7dbl_2 = Unit(c, c, column, padding=along_column)
        self.branch7x7dbl_3 = Unit(c, c, row, padding=along_row)
        self.branch7x7dbl_4 = Unit(c, c, column, padding=along_column)
        self.branch7x7dbl_5 = Unit(c, 192, row, padding=along_row)
        self.branch_pool = Unit(c_in, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(mean3x3(x))], 1)


class ReduceD(nn.Module):
    """17 x 17 to 8 x 8."""

    def __init__(self, c_in: int) -> None:
        super().__init__()
        self.branch3x3_1 = Unit(c_in, 192, 1)
        self.branch3x3_2 = Unit(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Unit(c_in, 192, 1)
        self.branch7x7x3_2 = Unit(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Unit(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Unit(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)


class BlockE(nn.Module):
    """8 x 8 positions: 3x3 convolutions split into a 1x3 and a 3x1 side by side."""

    def __init__(self, c_in: int, *, max_pool: bool) -> None:
        super().__init__()
        self.max_pool = max_pool
        self.branch1x1 = Unit(c_in, 320, 1)
        self.branch3x3_1 = Unit(c_in, 384, 1)
        self.branch3x3_2a = Unit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Unit(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Unit(c_in, 448, 1)
        self.branch3x3dbl_2 = Unit(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Unit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Unit(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Unit(c_in, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, 1, 1) if self.max_pool else mean3x3(x)
        parts = [
            self.branch1x1(x),
            self.branch3x3_2a(three),
            self.branch3x3_2b(three),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(pooled),
        ]
        return torch.cat(parts, 1)


def mean3x3(x: Tensor) -> Tensor:
    """Mean over each 3x3 neighbourhood; outside the map nothing is counted."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
