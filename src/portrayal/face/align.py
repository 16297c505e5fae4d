"""Faces brought to fixed places, as identity networks expect them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from portrayal.face.box import Box
from portrayal.face.pose import fit_similarity
from portrayal.face.topology import LEFT_EYE, LEFT_IRIS, MOUTH_CORNERS, NOSE_TIP, RIGHT_EYE, RIGHT_IRIS
from portrayal.nn.precision import in_float32

FIVE_POINTS = (RIGHT_IRIS[0], LEFT_IRIS[0], NOSE_TIP, *MOUTH_CORNERS)
"""What identity networks are aligned by: eyes, nose tip, mouth corners, the person's right first."""

EYES_WIDE, MOUTH_WIDE, TOWARDS_MOUTH = 2.0, 1.8, 0.1
"""FFHQ's square: half its side in distances between the eyes, or from the eyes to the mouth, whichever is longer; and
how far its centre lies below the eyes (StyleGAN, Karras et al. 2019, and the data set's released script)."""


def ffhq_square(landmarks: NDArray[np.floating], *, upright: bool = False) -> Box:
    """The square that FFHQ's portraits show.

    Args:
        landmarks: (478, >=2) pixels.
        upright: keep the square's sides parallel to the picture's, so that the head stays tilted in it; FFHQ turns it
            with the face.

    Returns:
        (x, y, side, roll) for `box.crop_matrix`.

    Differs: FFHQ takes the eyes from six points of the 68, here all points of the lids count.
    """
    points = np.asarray(landmarks[:, :2], np.float64)
    right, left = points[list(RIGHT_EYE)].mean(0), points[list(LEFT_EYE)].mean(0)
    eyes, across = (right + left) / 2, left - right
    down = points[list(MOUTH_CORNERS)].mean(0) - eyes
    half = max(EYES_WIDE * np.hypot(*across), MOUTH_WIDE * np.hypot(*down))
    axis = across + np.array([down[1], -down[0]])
    roll = 0.0 if upright else float(np.arctan2(axis[1], axis[0]))
    return np.array([*(eyes + TOWARDS_MOUTH * down), 2 * half, roll])


@in_float32
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
