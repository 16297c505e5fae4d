"""Known random transforms T of pictures and points, for the equivariance loss (equation 15) and for D' of equation 7.

After FOMM (Siarohin et al. 2019, supplement): an affine map with a thin-plate spline on a grid of control points. The
spline is the textbook one, with Euclidean distances and a weight per axis; FOMM's code has city-block distances and one
weight for both axes.

Convention: unit coordinates x right, y down in [-1, 1] over the picture, `align_corners=False`. What has a closed form
is T^-1, from places of T(X) to places of X: it is what reading T(X) out of X needs, and equation 15 too. T itself is
solved for by Newton's method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from portrayal.nn.precision import in_float32

NEWTON_STEPS = 5
"""More than enough: the transforms are close to affine, and Newton's error squares with every step."""


@dataclass(frozen=True)
class Deformation:
    """T^-1(u) = linear u + offset + sum_j weights_j r^2 log r, r = |u - control_j|, for each picture of a batch."""

    linear: Tensor
    """(b, 2, 2)."""
    offset: Tensor
    """(b, 2)."""
    control: Tensor
    """(p, 2) control points of the spline; p = 0 where the map is affine."""
    weights: Tensor
    """(b, p, 2)."""

    @classmethod
    def random(
        cls,
        batch: int,
        *,
        affine_deviation: float,
        spline_deviation: float,
        control_points: int,
        generator: Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """FOMM's family: Gaussian noise on the six affine numbers and on the spline's weights.

        Args:
            control_points: per side of their grid, which spans the picture.
        """
        noise = torch.randn(batch, 2, 3, generator=generator, device=device) * affine_deviation
        steps = torch.linspace(-1, 1, control_points, device=device)
        weights = torch.randn(batch, control_points**2, 2, generator=generator, device=device) * spline_deviation
        return cls(
            linear=torch.eye(2, device=device) + noise[..., :2],
            offset=noise[..., 2],
            control=torch.cartesian_prod(steps, steps),
            weights=weights,
        )

    @classmethod
    def random_similarity(
        cls,
        batch: int,
        *,
        angle: float,
        zoom: float,
        shift: float,
        generator: Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Rotation, scaling and translation, each uniform: what D' differs from D in (equation 7).

        Args:
            angle: largest, radians. zoom: largest factor, above 1 (its inverse is the smallest). shift: largest along
                each axis, half pictures.
        """
        draw = 2 * torch.rand(batch, 4, generator=generator, device=device) - 1
        turn, size = draw[:, 0] * angle, zoom ** draw[:, 1]
        cos, sin = turn.cos() * size, turn.sin() * size
        linear = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
        none = linear.new_zeros(0, 2)
        return cls(linear=linear, offset=draw[:, 2:] * shift, control=none, weights=linear.new_zeros(batch, 0, 2))

    @in_float32
    def deformed_to_original(self, points: Tensor) -> Tensor:
        """T^-1: places (b, n, 2) of T(X) to places of X."""
        return points @ self.linear.mT + self.offset[:, None] + self._kernel(points) @ self.weights

    @in_float32
    def original_to_deformed(self, points: Tensor) -> Tensor:
        """T: places (b, n, 2) of X to places of T(X)."""
        found = (points - self.offset[:, None]) @ torch.linalg.inv(self.linear).mT
        for _ in range(NEWTON_STEPS):
            error = self.deformed_to_original(found) - points
            found = found - solve_2x2(self._jacobian(found), error)
        return found

    def deform_image(self, images: Tensor) -> Tensor:
        """T(X) of pictures (b, c, h, w), bilinear; beyond the border the picture is mirrored."""
        b, _, h, w = images.shape
        identity = torch.eye(2, 3, device=images.device, dtype=self.linear.dtype)[None]
        grid = F.affine_grid(identity, [1, 1, h, w], align_corners=False)
        places = self.deformed_to_original(grid.reshape(1, h * w, 2).expand(b, -1, -1)).view(b, h, w, 2)
        return F.grid_sample(images, places.to(images.dtype), padding_mode="reflection", align_corners=False)

    def _kernel(self, points: Tensor) -> Tensor:
        """(b, n, p): r^2 log r to each control point, 0 at the point itself."""
        squared = (points[:, :, None] - self.control).square().sum(-1)
        return 0.5 * squared * squared.clamp_min(1e-12).log()

    def _jacobian(self, points: Tensor) -> Tensor:
        """(b, n, 2, 2): derivative of T^-1."""
        away = points[:, :, None] - self.control  # (b, n, p, 2)
        slope = away * (away.square().sum(-1, keepdim=True).clamp_min(1e-12).log() + 1)
        return self.linear[:, None] + torch.einsum("b n p x, b p y -> b n y x", slope, self.weights)


def solve_2x2(matrix: Tensor, right: Tensor) -> Tensor:
    """x of matrix x = right by Cramer's rule, (..., 2, 2) and (..., 2): many times faster than a general solver."""
    (a, b), (c, d) = ((row[..., 0], row[..., 1]) for row in (matrix[..., 0, :], matrix[..., 1, :]))
    x, y = right.unbind(-1)
    return torch.stack([d * x - b * y, a * y - c * x], -1) / (a * d - b * c)[..., None]


def deform_landmarks(deformation: Deformation, landmarks: Tensor, side: int) -> Tensor:
    """Landmarks of T(X) from those of X.

    Args:
        landmarks: (b, n, 3) pixels of a picture of that side; the depth grows with the face.

    Returns:
        (b, n, 3) pixels.
    """
    moved = (deformation.original_to_deformed(2 * landmarks[..., :2] / side - 1) + 1) * (side / 2)
    growth = torch.linalg.det(deformation.linear).abs().rsqrt()
    return torch.cat([moved, landmarks[..., 2:] * growth[:, None, None]], -1)
