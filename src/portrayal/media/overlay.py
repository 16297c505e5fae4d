"""Generated faces laid over the portrait that they are of, each where its square is.

For systems whose network draws a square around the face, wherever that is in the portrait.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from portrayal.face.pose import rotation_to_angles
from portrayal.face.topology import FACE_OVAL
from portrayal.media.fill import fill_in
from portrayal.media.image import to_tensor, to_uint8
from portrayal.nn.rendering.depth import resample_depth
from portrayal.types import Depth, FaceParams, Layers, Portrait

HEAD = (1.35, 1.5)
"""Half axes of the ellipse that stands for the head, in those of the face's oval: hair is beside and above it."""
HAIR = 0.3
"""How far the ellipse's centre lies above the oval's, in half heights of that."""
SOFT = 0.25
"""Width of the transition to the portrait, in half axes of the ellipse, and"""
BORDER = 0.12
"""at the border of the square, in half sides of that."""
GROWN = 0.04
"""How far beyond `head_mask` and the chin a head is removed, in sides of the crop: a rim would tint what is filled."""
WIDE = (1.12 * HEAD[0], 1.12 * HEAD[1])
"""As `HEAD`, with all hair."""


class Overlay:
    """Lays generated faces over one portrait; what does not change from frame to frame is computed once."""

    def __init__(self, portrait: Portrait) -> None:
        self._image, self._params = portrait.image, portrait.params
        self._places = pixel_centres(portrait.image.shape[2:], portrait.image.device)

    def place(self, faces: Tensor, squares: Tensor) -> Tensor:
        """Generated faces in the pixels of the portrait, of which nothing is seen: their border goes on around them.

        Args:
            faces: (t, 3, s, s).
            squares: (t, 4) where each face's picture belongs: x, y, side in pixels of the portrait, roll
                (`face.box.Box`).

        Returns:
            (t, 3, h, w).
        """
        return _read(faces, square_coordinates(squares, self._places))

    def blend(self, placed: Tensor, params: FaceParams, squares: Tensor) -> Tensor:
        """Draw generated faces into the portrait.

        Where the head is, or was in the portrait, the generated picture counts, as far as its square reaches; where a
        head was and is far from now, else the portrait without it, filled in; everything else stays the portrait's.

        Args:
            placed: (t, 3, h, w) of `place`. params: t frames in pixels of the portrait. squares: (t, 4) as of `place`.

        Returns:
            (t, 3, h, w).
        """
        gone = (self._own_head - head_mask(params, self._places, half_axes=WIDE)).clamp_min(0)[:, None]
        behind = self._image.expand(len(placed), -1, -1, -1)
        if bool(gone.any()):
            behind = torch.lerp(behind, self.bare, gone)
        return torch.lerp(behind, placed, self._share(square_coordinates(squares, self._places), params))

    @cached_property
    def _own_head(self) -> Tensor:
        """(1, h, w)"""
        return head_mask(self._params, self._places)

    @cached_property
    def bare(self) -> Tensor:
        """(1, 3, h, w) the portrait without its head, filled in from around it."""
        filled = fill_in(to_uint8(self._image)[0], hidden_head(self._params, self._image.shape[2:]))
        return to_tensor(filled).to(self._image)

    def lay_depth(self, seen: Depth, params: FaceParams, squares: Tensor) -> Depth:
        """The depth of what `blend` draws; the portrait's own pixels have none.

        Args:
            seen: (t, 1, n, n), of the generated faces. The rest as of `blend`.

        Returns:
            (t, 1, h, w).
        """
        in_square = square_coordinates(squares, self._places)
        laid = resample_depth(seen, in_square)
        return Depth(laid.nearness, laid.opacity * self._share(in_square, params))

    def lay_layers(self, faces: Layers, params: FaceParams, squares: Tensor) -> Layers:
        """Generated faces in the pixels of the portrait, of which nothing is left.

        Args:
            faces: (t, 3, s, s) and, in any size, (t, 1, n, n). The rest as of `blend`.

        Returns:
            (t, 3, h, w) and (t, 1, h, w): where the head is now, which hides nothing where it was in the portrait.
        """
        in_square = square_coordinates(squares, self._places)
        drawn = _read(faces.picture, in_square)
        opacity = F.grid_sample(faces.opacity, in_square, padding_mode="border", align_corners=False)
        share = _inside(in_square, head_mask(params, self._places))
        return Layers(drawn.clamp(0, 1), (opacity * share).clamp(0, 1))

    def _share(self, in_square: Tensor, params: FaceParams) -> Tensor:
        """(t, 1, h, w) in [0, 1] of the generated picture; `in_square` (t, h, w, 2) is in [-1, 1] inside."""
        return _inside(in_square, torch.maximum(head_mask(params, self._places), self._own_head))


def _read(faces: Tensor, in_square: Tensor) -> Tensor:
    return F.grid_sample(faces, in_square, mode="bicubic", padding_mode="border", align_corners=False)


def _inside(in_square: Tensor, head: Tensor) -> Tensor:
    """(t, 1, h, w) what of a head (t, h, w) is inside the square, softly; `in_square` as of `square_coordinates`."""
    inside = ((1 - in_square.abs().amax(-1)) / BORDER).clamp(0, 1)
    return (head * inside * inside * (3 - 2 * inside))[:, None]


def pixel_centres(size: torch.Size, device: torch.device) -> Tensor:
    """(h, w, 2) x and y in pixels."""
    y, x = (torch.arange(side, device=device) + 0.5 for side in size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def hidden_head(face: FaceParams, size: torch.Size) -> NDArray[np.bool_]:
    """(h, w) where one head is in a picture, generously; what is below the chin is neck and is none of it."""
    places = pixel_centres(size, face.landmarks.device)
    down = head_axes(face)[0, 1]
    chin = (face.landmarks[0, list(FACE_OVAL), :2] @ down).max()
    head = (head_mask(face, places)[0] > 0) & (places @ down < chin)
    side = 2 * round(GROWN * min(size)) + 1
    grown = cv2.dilate(head.cpu().numpy().astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    return np.asarray(grown > 0)


def head_axes(params: FaceParams) -> Tensor:
    """(t, 2, 2): the directions in the picture along a head, to its side and down, of length 1."""
    roll = rotation_to_angles(params.rotation)[:, 2]
    return torch.stack([roll.cos(), roll.sin(), -roll.sin(), roll.cos()], -1).unflatten(-1, (2, 2))


def square_coordinates(squares: Tensor, places: Tensor) -> Tensor:
    """(t, h, w, 2) where places (h, w, 2) lie in squares (t, 4), which span [-1, 1]."""
    x, y, side, roll = squares.to(places)[:, :, None, None].unbind(1)
    dx, dy = places[..., 0] - x, places[..., 1] - y
    cos, sin = roll.cos(), roll.sin()
    return torch.stack([cos * dx + sin * dy, cos * dy - sin * dx], -1) / (side[..., None] / 2)


def head_mask(
    params: FaceParams, places: Tensor, *, half_axes: tuple[float, float] = HEAD, hair: float = HAIR
) -> Tensor:
    """(t, h, w) in [0, 1]: 1 on the head, an ellipse around the face's oval, 0 away from it.

    Args:
        half_axes, hair: as `HEAD` and `HAIR`; smaller ones for the face alone.
    """
    oval = params.landmarks[:, list(FACE_OVAL), :2]
    axes = head_axes(params).unbind(1)
    half, middle = [], []
    for axis in axes:
        at = (oval * axis[:, None]).sum(-1)
        half.append((at.amax(1) - at.amin(1)) / 2)
        middle.append((at.amax(1) + at.amin(1)) / 2)
    middle[1] = middle[1] - hair * half[1]
    # A turned face is narrow, its head is not.
    half[0] = half[0].maximum(0.7 * half[1])
    radius = torch.stack(
        [
            ((places * axis[:, None, None]).sum(-1) - m[:, None, None]) / (factor * h)[:, None, None]
            for axis, m, h, factor in zip(axes, middle, half, half_axes, strict=True)
        ]
    ).norm(dim=0)
    share = ((1 + SOFT - radius) / SOFT).clamp(0, 1)
    return share * share * (3 - 2 * share)
