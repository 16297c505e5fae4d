"""Tri-planes (EG3D, Sec. 3.2): features of any 3D point read from three axis-aligned planes, and their decoder.

Convention: world axes as in `face.camera`, x right, y up, z towards the frontal camera. The planes span the cube of
side `box_size` around the world's origin; a plane's features are zero beyond its border, so a point that has left the
cube along one axis still reads the plane of the other two. Along a plane's width and height coordinates grow with the
index, so y is not flipped; corners are not aligned. `plane_axes` says which coordinates these are:

| plane | legacy | orthogonal |
|---|---|---|
| 0 | x, y | x, y |
| 1 | x, z | x, z |
| 2 | z, x | z, y |

EG3D's published code reads x and z twice and never y with z; weights trained with it need `legacy`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.stylegan2_layers import EqualLinear

PlaneAxes = Literal["legacy", "orthogonal"]

PLANE_COORDINATES: dict[PlaneAxes, tuple[tuple[int, int], ...]] = {
    "legacy": ((0, 1), (0, 2), (2, 0)),
    "orthogonal": ((0, 1), (0, 2), (2, 1)),
}
"""For each plane the coordinates (0 x, 1 y, 2 z) along its width and its height."""

Field = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points (b, n, 3) of the world to colour (b, n, c) and raw density (b, n), see `rendering.marching`."""


def project_to_planes(points: Tensor, plane_axes: PlaneAxes = "orthogonal") -> Tensor:
    """(b, n, 3) points to their places (b, 3, n, 2) in the three planes: along the width, along the height."""
    return torch.stack([points[..., list(pair)] for pair in PLANE_COORDINATES[plane_axes]], 1)


def sample_planes(
    planes: Tensor, points: Tensor, *, box_size: float = 1.0, plane_axes: PlaneAxes = "orthogonal"
) -> Tensor:
    """Read the features of each plane, bilinear (EG3D, Sec. 3.2).

    Args:
        planes: (b, 3, c, h, w).
        points: (b, n, 3) world, unit of `box_size`.
        box_size: side of the cube that the planes span, centred on the world's origin.

    Returns:
        (b, 3, n, c), zero beyond a plane's border.

    Raises:
        ValueError: if there are not three planes.
    """
    if planes.ndim != 5 or planes.shape[1] != 3:
        raise ValueError(f"planes must be (b, 3, c, h, w), got {tuple(planes.shape)}")
    grid = project_to_planes(points * (2 / box_size), plane_axes)
    read = F.grid_sample(planes.flatten(0, 1), grid.flatten(0, 1)[:, :, None].to(planes), align_corners=False)
    return rearrange(read, "(b plane) c n 1 -> b plane n c", plane=3)


def sample_triplane(
    planes: Tensor, points: Tensor, *, box_size: float = 1.0, plane_axes: PlaneAxes = "orthogonal"
) -> Tensor:
    """The mean of the three planes' features, (b, n, c).

    Differs: EG3D's paper adds the three, its code averages; we average.
    """
    return sample_planes(planes, points, box_size=box_size, plane_axes=plane_axes).mean(1)


class Decoder(Protocol):
    """Tri-plane features to raw density and colour, in two halves: rendering wants most points' density only."""

    def density(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(..., c) mean features to raw density (...) and what `colour` asks for, (..., k)."""
        ...

    def colour(self, state: Tensor) -> Tensor:
        """(..., k) to (..., colours) in about [0, 1]."""
        ...


class OSGDecoder(nn.Module):
    """EG3D's decoder: one hidden layer with softplus, then density and colours together.

    Parameter names are the official ones (`net.0`, `net.2`).

    Args:
        channels: of the planes. hidden: neurons. colours: channels of the rendered feature picture; the first three are
            its raw RGB.
        rate: multiplier of the learning rate, EG3D's `decoder_lr_mul`.
    """

    def __init__(self, channels: int = 32, *, hidden: int = 64, colours: int = 32, rate: float = 1.0) -> None:
        super().__init__()
        self.net = nn.Sequential(
            EqualLinear(channels, hidden, rate=rate),
            nn.Softplus(),
            EqualLinear(hidden, 1 + colours, rate=rate),
        )

    @torch.no_grad()
    def begin_with(self, *, steepness: float, height: float, floor: float) -> None:
        """Let the raw density begin as floor + height softplus(steepness x), x the first channel of the features.

        One neuron reads that channel, and nothing but the density reads the neuron; training may change all of it.
        """
        first, last = self.net[0], self.net[2]
        assert isinstance(first, EqualLinear)
        assert isinstance(last, EqualLinear)
        first.weight[0], first.weight[:, 0], first.bias[0] = 0, 0, 0
        last.weight[0], last.weight[:, 0] = 0, 0
        first.weight[0, 0] = steepness * math.sqrt(first.weight.shape[1]) / first.rate
        last.weight[0, 0] = height * math.sqrt(last.weight.shape[1]) / last.rate
        last.bias[0] = floor / last.rate

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(..., channels) mean features to colour (..., colours) in [-0.001, 1.001] and raw density (...)."""
        out = self.net(features)
        return _widened_sigmoid(out[..., 1:]), out[..., 0]

    def density(self, features: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.net[1](_apply(self.net[0], features))
        weight, bias = self._last()
        return (hidden @ weight[0].to(hidden)) + bias[0].to(hidden), hidden

    def colour(self, state: Tensor) -> Tensor:
        weight, bias = self._last()
        return _widened_sigmoid(F.linear(state, weight[1:].to(state), bias[1:].to(state)))

    def _last(self) -> tuple[Tensor, Tensor]:
        last = self.net[2]
        assert isinstance(last, EqualLinear)
        return last.effective()


def _apply(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer in the type of its input, which may be a half one."""
    assert isinstance(layer, EqualLinear)
    weight, bias = layer.effective()
    return F.linear(x, weight.to(x), bias.to(x))


def _widened_sigmoid(x: Tensor) -> Tensor:
    """Sigmoid to [-0.001, 1.001], so that full black and white are within reach (from MipNeRF)."""
    return torch.sigmoid(x) * (1 + 2 * 0.001) - 0.001


def triplane_field(
    planes: Tensor,
    decoder: Callable[[Tensor], tuple[Tensor, Tensor]],
    *,
    box_size: float = 1.0,
    plane_axes: PlaneAxes = "orthogonal",
) -> Field:
    """The field of (b, 3, c, h, w) planes; `decoder` takes mean features (b, n, c) to colour and raw density."""

    def field(points: Tensor) -> tuple[Tensor, Tensor]:
        return decoder(sample_triplane(planes, points, box_size=box_size, plane_axes=plane_axes))

    return field
