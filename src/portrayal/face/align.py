"""Faces brought to fixed places, as identity networks expect them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.face.pose import fit_similarity
from portrayal.face.topology import LEFT_IRIS, MOUTH_CORNERS, NOSE_TIP, RIGHT_IRIS

FIVE_POINTS = (RIGHT_IRIS[0], LEFT_IRIS[0], NOSE_TIP, *MOUTH_CORNERS)
"""What identity networks are aligned by: eyes, nose tip, mouth corners, the person's right first."""


def align(images: Tensor, points: Tensor, targets: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring points of each picture onto fixed places by a similarity, bilinear; black outside the picture.

    Shrinking by more than two is done in a first step by area means, so that nothing is skipped.

    Args:
        images: (b, 3, h, w). points: (b, n, 2) pixels. targets: (n, 2) pixels of the result. size: h, w of the result.

    Returns:
        (b, 3, *size).
    """
    scale, rotation, translation = fit_similarity(targets.expand_as(points), points)  # result to picture
    shrink = scale.int().clamp_min(1)
    faces = images.new_zeros(len(images), 3, *size)
    for factor in shrink.unique().tolist():  # each frame by itself, so that it does not matter which come together
        at = shrink == factor
        small = images[at]
        if factor > 1:
            small = F.avg_pool2d(small, factor, ceil_mode=True, count_include_pad=False)
        faces[at] = _read(small, (scale[at] / factor)[:, None, None] * rotation[at], translation[at] / factor, size)
    return faces


def _read(images: Tensor, linear: Tensor, translation: Tensor, size: tuple[int, int]) -> Tensor:
    """Read (b, 3, h, w) at linear (b, 2, 2) @ p + translation (b, 2) for each pixel p of a result of that size."""
    h, w = images.shape[2:]
    result, picture = linear.new_tensor([size[1], size[0]]), linear.new_tensor([w, h])
    # From unit coordinates of the result to those of the picture: x_unit = 2 x / size - 1.
    offset = (linear @ (result / 2)[:, None])[..., 0] + translation
    theta = torch.cat([linear * (result / picture[:, None]), (2 * offset / picture - 1)[..., None]], -1)
    grid = F.affine_grid(theta, [len(images), 3, *size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
