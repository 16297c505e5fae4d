"""MobileFaceNet, a small identity network (Chen et al. 2018, arXiv 1804.07573), in the form of Xiaoccer's repository.

Weights are given by the user; none come with the package.
"""

from __future__ import annotations

from torch import Tensor, nn

INPUT_SIZE = (112, 96)
"""Height, width."""
EMBEDDING = 128
WIDTH = 512
"""Channels of the last map."""
ALIGNED_POINTS = (
    (30.2946, 51.6963), (65.5318, 51.5014), (48.0252, 71.7366), (33.5493, 92.3655), (62.7299, 92.2041),
)  # fmt: skip
"""Right eye (in the picture's left half), left eye, nose tip, right and left mouth corner in the input, x y."""
BLOCKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""(expansion, channels, repeats, stride of the first); Table 1."""


class MobileFaceNet(nn.Module):
    """Aligned faces to 128 numbers; the cosine of two says how alike the persons are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Layer(3, 64, 3, stride=2, padding=1)
        self.dw_conv1 = Layer(64, 64, 3, padding=1, groups=64)
        blocks, c_in = [], 64
        for expansion, c, repeats, stride in BLOCKS:
            for k in range(repeats):
                blocks.append(Bottleneck(c_in, c, stride=stride if k == 0 else 1, expansion=expansion))
                c_in = c
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = Layer(c_in, 512, 1)
        self.linear7 = Layer(512, 512, (7, 6), groups=512, linear=True)
        self.linear1 = Layer(512, EMBEDDING, 1, linear=True)

    def forward(self, faces: Tensor) -> Tensor:
        """
        Args:
            faces: (b, 3, 112, 96) RGB in [0, 1], eyes, nose and mouth at `ALIGNED_POINTS`.

        Returns:
            (b, 128), not normalised.
        """
        return self.embed((faces * 255 - 127.5) / 128)

    def embed(self, x: Tensor) -> Tensor:
        """`forward` on input that is normalised already."""
        return self.linear1(self.linear7(self.map(x))).flatten(1)

    def map(self, x: Tensor) -> Tensor:
        """(b, 512, h / 16, w / 16) the last map, of normalised input of any size."""
        return self.conv2(self.blocks(self.dw_conv1(self.conv1(x))))


class Layer(nn.Module):
    """Convolution, batch norm and, unless linear, PReLU."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        size: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, size, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(c_out)
        self.prelu = nn.Identity() if linear else nn.PReLU(c_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """Inverted residual: widen by 1x1, depthwise 3x3, narrow by 1x1."""

    def __init__(self, c_in: int, c_out: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        wide = c_in * expansion
        self.residual = stride == 1 and c_in == c_out
        self.conv = nn.Sequential(
            nn.Conv2d(c_in, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.PReLU(wide),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.PReLU(wide),
            nn.Conv2d(wide, c_out, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)
