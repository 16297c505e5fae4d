"""Generated faces laid over the portrait that they are of, each where its square is.

For systems whose network draws a square around the face, wherever that is in the portrait.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.media.head import HEAD, head_mask, pixel_centres
from portrayal.media.matte import without_head
from portrayal.nn.rendering.depth import resample_depth
from portrayal.types import Depth, FaceParams, Layers, Portrait

BORDER = 0.12
"""Width of the transition to the portrait at the border of the square, in half sides of that."""
WIDE = (1.12 * HEAD[0], 1.12 * HEAD[1])
"""As `HEAD`, with all hair."""


class Overlay:
    """Lays generated faces over one portrait; what does not change from frame to frame is computed once."""

    def __init__(self, portrait: Portrait) -> None:
        self._portrait = portrait
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
        behind = self._portrait.image.expand(len(placed), -1, -1, -1)
        if bool(gone.any()):
            behind = torch.lerp(behind, self.bare, gone)
        return torch.lerp(behind, placed, self._share(square_coordinates(squares, self._places), params))

    @cached_property
    def _own_head(self) -> Tensor:
        """(1, h, w)"""
        return head_mask(self._portrait.params, self._places)

    @cached_property
    def bare(self) -> Tensor:
        """(1, 3, h, w) the portrait without its head, filled in from around it."""
        return without_head(self._portrait)

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


def square_coordinates(squares: Tensor, places: Tensor) -> Tensor:
    """(t, h, w, 2) where places (h, w, 2) lie in squares (t, 4), which span [-1, 1]."""
    x, y, side, roll = squares.to(places)[:, :, None, None].unbind(1)
    dx, dy = places[..., 0] - x, places[..., 1] - y
    cos, sin = roll.cos(), roll.sin()
    return torch.stack([cos * dx + sin * dy, cos * dy - sin * dx], -1) / (side[..., None] / 2)
