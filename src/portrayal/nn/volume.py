"""Feature maps with two or three spatial axes: coordinate grids, reading at positions, keypoints and heatmaps.

Convention: positions are (x, y) or (x, y, z) in [-1, 1] over the axes (width, height, depth), last axis of a tensor;
-1 and 1 are the outer borders of the first and last element, as `align_corners=False`. `corners=True` puts -1 and 1 on
the centres of those elements, as `align_corners=True`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from portrayal.nn.precision import in_float32


def coordinate_grid(
    size: Sequence[int], *, corners: bool = False, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Where each element is.

    Args:
        size: (h, w) or (d, h, w).

    Returns:
        (*size, n) positions, x first.
    """
    axes = [torch.arange(n, device=device, dtype=dtype or torch.float32) for n in size]
    axes = [2 * a / max(n - 1, 1) - 1 if corners else (2 * a + 1) / n - 1 for a, n in zip(axes, size, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)


def sample_volume(
    volume: Tensor, positions: Tensor, *, padding: Literal["zeros", "border"] = "zeros", corners: bool = False
) -> Tensor:
    """Trilinear reading, written with elementary operations only: it exports, and runs on every device.

    Args:
        volume: (b, c, d, h, w).
        positions: (b, *out, 3); reckoned in float32. Gradients reach both arguments.
        padding: what lies outside: zeros, or the nearest element of the border.

    Returns:
        (b, c, *out), as `F.grid_sample(volume, positions, padding_mode=padding, align_corners=corners)` gives.
    """
    b, c, *size = volume.shape
    out = positions.shape[1:-1]
    limits = torch.tensor(size[::-1], device=positions.device, dtype=torch.float32)
    at = positions.float().reshape(b, -1, 3)
    at = (at + 1) / 2 * (limits - 1) if corners else ((at + 1) * limits - 1) / 2
    # Beyond one element outside nothing is read; the clamp keeps indices of wild positions representable.
    at = at.clamp(min=torch.zeros_like(limits), max=limits - 1) if padding == "border" else at.clamp(-2, max(size) + 1)
    base = at.detach().floor()
    far = at - base
    near = 1 - far
    flat = volume.flatten(2)
    width, height, depth = size[2], size[1], size[0]
    total: Tensor | None = None
    for dz, dy, dx in product((0, 1), repeat=3):
        share = (far if dx else near)[..., 0] * (far if dy else near)[..., 1] * (far if dz else near)[..., 2]
        x, y, z = base[..., 0] + dx, base[..., 1] + dy, base[..., 2] + dz
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (z >= 0) & (z < depth)
        x, y, z = x.clamp(0, width - 1), y.clamp(0, height - 1), z.clamp(0, depth - 1)
        index = ((z * height + y) * width + x).long()
        value = flat.gather(2, index[:, None].expand(-1, c, -1)) * (share * inside).to(volume.dtype)[:, None]
        total = value if total is None else total + value
    assert total is not None
    return total.unflatten(2, out)


@in_float32
def soft_argmax(logits: Tensor, *, temperature: float, corners: bool = False) -> tuple[Tensor, Tensor]:
    """Expected position under the softmax over all elements (FOMM, supplement A; face-vid2vid, supplement A).

    Args:
        logits: (b, k, *size).

    Returns:
        positions (b, k, n), and the probabilities (b, k, *size), which sum to 1.
    """
    heat = (logits.float().flatten(2) / temperature).softmax(-1)
    grid = coordinate_grid(logits.shape[2:], corners=corners, device=logits.device)
    return heat @ grid.flatten(0, -2), heat.unflatten(2, logits.shape[2:])


def gaussian_heatmaps(positions: Tensor, size: Sequence[int], *, variance: float, corners: bool = False) -> Tensor:
    """exp(-|x - p|^2 / (2 variance)) around each position.

    Args:
        positions: (b, k, n).
        size: (h, w) or (d, h, w).

    Returns:
        (b, k, *size) in [0, 1].
    """
    grid = coordinate_grid(size, corners=corners, device=positions.device, dtype=positions.dtype)
    distance = (grid - positions[(..., *[None] * len(size), slice(None))]).square().sum(-1)
    return (-distance / (2 * variance)).exp()
