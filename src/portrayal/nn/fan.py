"""2D-FAN, 68 facial landmarks from heat maps (Bulat and Tzimiropoulos 2017, arXiv 1703.07332).

Names are those of `2DFAN4`, the file of the face-alignment package. Pixels: x right, y down, centres at half integers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SIDE = 256
HEATMAP_SIDE = 64
POINTS = 68
DEPTH = 4
"""Levels of an hourglass."""
REFERENCE_SIDE = 200
"""The crop's side is this times the scale."""
BOX_PER_SCALE = {"s3fd": 195.0, "other": 165.0}
"""(width + height) of a detector's box / scale."""
MIRROR = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1),
    67, 66, 65,
)  # fmt: skip
"""Point i of the mirrored picture is point MIRROR[i] of the picture."""


class Fan(nn.Module):
    """Four hourglasses, each correcting the heat maps of the one before."""

    def __init__(self, stacks: int = 4) -> None:
        super().__init__()
        self.stacks = stacks
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = Unit(64, 128)
        self.conv3 = Unit(128, 128)
        self.conv4 = Unit(128, 256)
        for k in range(stacks):
            self.add_module(f"m{k}", Hourglass())
            self.add_module(f"top_m_{k}", Unit(256, 256))
            self.add_module(f"conv_last{k}", nn.Conv2d(256, 256, 1))
            self.add_module(f"bn_end{k}", nn.BatchNorm2d(256))
            self.add_module(f"l{k}", nn.Conv2d(256, POINTS, 1))
            if k < stacks - 1:
                self.add_module(f"bl{k}", nn.Conv2d(256, 256, 1))
                self.add_module(f"al{k}", nn.Conv2d(POINTS, 256, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """
        Args:
            images: (b, 3, 256, 256) RGB in [0, 1], cropped as `crop_of_box` says.

        Returns:
            the heat maps of each stack, (b, 68, 64, 64); the last are the best.
        """
        x = self.conv2(self.bn1(self.conv1(images)).relu())
        x = self.conv4(self.conv3(F.avg_pool2d(x, 2)))
        heatmaps = []
        for k in range(self.stacks):
            features = self._part("top_m_", k)(self._part("m", k)(x))
            features = self._part("bn_end", k)(self._part("conv_last", k)(features)).relu()
            heatmaps.append(self._part("l", k)(features))
            if k < self.stacks - 1:
                x = x + self._part("bl", k)(features) + self._part("al", k)(heatmaps[-1])
        return heatmaps

    def _part(self, name: str, stack: int) -> nn.Module:
        return self.get_submodule(f"{name}{stack}")

    def heatmaps(self, images: Tensor, *, mirrored_too: bool = True) -> Tensor:
        """The last stack's (b, 68, 64, 64), with those of the mirrored pictures added as face-alignment does."""
        maps = self(images)[-1]
        if mirrored_too:
            maps = maps + self(images.flip(3))[-1][:, list(MIRROR)].flip(3)
        return maps


class Hourglass(nn.Module):
    """Down to 4 x 4 and up again, with a branch at each size (Newell et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()
        for level in range(DEPTH, 0, -1):
            self.add_module(f"b1_{level}", Unit(256, 256))
            self.add_module(f"b2_{level}", Unit(256, 256))
            self.add_module(f"b3_{level}", Unit(256, 256))
        self.b2_plus_1 = Unit(256, 256)

    def forward(self, x: Tensor) -> Tensor:
        return self._level(x, DEPTH)

    def _level(self, x: Tensor, level: int) -> Tensor:
        low = self.get_submodule(f"b2_{level}")(F.avg_pool2d(x, 2))
        low = self._level(low, level - 1) if level > 1 else self.b2_plus_1(low)
        low = self.get_submodule(f"b3_{level}")(low)
        return self.get_submodule(f"b1_{level}")(x) + F.interpolate(low, scale_factor=2.0, mode="nearest")


class Unit(nn.Module):
    """Three 3x3 convolutions in a row whose outputs are joined, beside a shortcut."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        c = (c_out // 2, c_out // 4, c_out // 4)
        self.bn1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, c[0], 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c[0])
        self.conv2 = nn.Conv2d(c[0], c[1], 3, 1, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(c[1])
        self.conv3 = nn.Conv2d(c[1], c[2], 3, 1, 1, bias=False)
        self.downsample = (
            nn.Identity()
            if c_in == c_out
            else nn.Sequential(nn.BatchNorm2d(c_in), nn.ReLU(), nn.Conv2d(c_in, c_out, 1, bias=False))
        )

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(self.bn1(x).relu())
        second = self.conv2(self.bn2(first).relu())
        third = self.conv3(self.bn3(second).relu())
        return torch.cat([first, second, third], 1) + self.downsample(x)


def heatmaps_to_points(heatmaps: Tensor) -> Tensor:
    """The highest cell of each map, moved a quarter cell towards its higher neighbour.

    Args:
        heatmaps: (b, n, h, w).

    Returns:
        (b, n, 2) x, y in cells; a cell's centre is at a half integer.
    """
    b, n, h, w = heatmaps.shape
    best = heatmaps.flatten(2).argmax(-1)  # the first one wins
    x, y = best % w, best // w
    inside = (x > 0) & (x < w - 1) & (y > 0) & (y < h - 1)
    maps = heatmaps.reshape(b * n, h, w)
    row, cx, cy = torch.arange(b * n, device=maps.device), x.flatten(), y.flatten()

    def at(dx: int, dy: int) -> Tensor:
        return maps[row, (cy + dy).clamp(0, h - 1), (cx + dx).clamp(0, w - 1)]

    slope = torch.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], -1).view(b, n, 2)
    return torch.stack([x, y], -1) + 0.25 * slope.sign() * inside[..., None] + 0.5


def crop_of_box(box: Tensor, *, per_scale: float = BOX_PER_SCALE["s3fd"]) -> tuple[Tensor, Tensor]:
    """Centre (b, 2) and scale (b,) of the network's crop from face boxes (b, 4) x0, y0, x1, y1 in pixels.

    The crop is the square of side `REFERENCE_SIDE` x scale about the centre, resized to 256.
    """
    width, height = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
    centre = (box[:, :2] + box[:, 2:]) / 2 - torch.stack([torch.zeros_like(height), 0.12 * height], -1)
    return centre, (width + height) / per_scale


def points_to_picture(points: Tensor, centre: Tensor, scale: Tensor, *, whole: bool = False) -> Tensor:
    """Heat-map cells to pixels of the picture the crop came from.

    Args:
        points: (b, n, 2) of `heatmaps_to_points`. centre: (b, 2) px. scale: (b,).
        whole: cut off the fraction, as the official detector does.
    """
    side = REFERENCE_SIDE * scale[:, None, None]
    pixels = points * side / HEATMAP_SIDE + centre[:, None] - side / 2
    return pixels.trunc() if whole else pixels
