"""What a portrait shows and a network's drawing of it lacks, carried to its other drawings.

For systems whose networks draw a whole face: a small one draws every face too smooth and not quite like the person.
With the portrait's own motion the result should be the portrait, so the difference between both is known, once for each
portrait. On the head it goes where meshwarp moves the skin, beside the face it stays; and it is left out where the
drawing is another one than that of the portrait: where a mouth opens, an eye shuts, a cheek turns into view, and where
the head has gone from. None of the papers has it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.media.overlay import Overlay, head_mask, pixel_centres
from portrayal.systems.meshwarp import animate as meshwarp
from portrayal.systems.meshwarp.config import Config
from portrayal.systems.meshwarp.layers import Picture
from portrayal.systems.meshwarp.model import MeshWarp
from portrayal.types import FaceParams, Portrait

SIDE = 128
"""Drawings are compared at about so many pixels along the side of a portrait,"""
AROUND = 5
"""in squares of so many,"""
ALIKE = 0.1
"""and are alike by 1 / e at this difference, of the range of colours."""
TINT = 15
"""Side of the squares over which a change of hue is averaged, twice: wider than a mouth, whose inside has its own."""
FACE = (1.05, 1.05)
"""Half axes of the ellipse of the face, in those of its oval."""


class PortraitDetail:
    """The detail of one portrait."""

    def __init__(self, portrait: Portrait, own: Tensor, *, strength: float = 1.0) -> None:
        """
        Args:
            own: (1, 3, h, w) what is drawn of the portrait with its own motion, in its size.
            strength: from 0 to 1, how much of the detail is added.
        """
        self._strength = strength
        self._mesh = meshwarp.encode_source(_meshwarp(), portrait)
        self._still = own, portrait.image - own
        self._textures = [_picture(x) for x in self._still]
        self._places = pixel_centres(portrait.image.shape[2:], portrait.image.device)
        self._own_head = head_mask(portrait.params, self._places)[:, None]
        self._factor = max(1, round(min(portrait.image.shape[2:]) / SIDE))

    def add(self, drawn: Tensor, params: FaceParams) -> tuple[Tensor, Tensor]:
        """
        Args:
            drawn: (t, 3, h, w) frames. params: of t frames, in pixels of the portrait.

        Returns:
            (t, 3, h, w), about [0, 1]: the drawings with the detail; the portrait, moved by meshwarp.
        """
        frames = range(len(drawn))
        carried = [meshwarp.carry(_meshwarp(), self._mesh, self._textures, params, i) for i in frames]
        own, lacking = (torch.from_numpy(np.stack(x)).movedim(-1, 1).to(drawn) for x in zip(*carried, strict=True))
        moved = own + lacking
        still, still_lacking = self._still
        head = head_mask(params, self._places)[:, None]
        gone = (self._own_head - head).clamp_min(0)  # its outline is detail, too
        beside = (1 - gone) * (1 - head_mask(params, self._places, half_axes=FACE, hair=0)[:, None])

        seen, own, still, head, beside = (self._reduced(x) for x in (drawn, own, still, head, beside))
        tint = hue_change(seen, own, head)
        seen = seen - tint
        alike = likeness(seen, own, within=ALIKE) * head
        alike_still = likeness(seen, still, within=ALIKE) * (1 - alike) * beside
        gain = self._enlarged(alike) * lacking + self._enlarged(alike_still) * still_lacking - self._enlarged(tint)
        return drawn + self._strength * gain, moved

    def _reduced(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self._factor)

    def _enlarged(self, x: Tensor) -> Tensor:
        return F.interpolate(x, size=self._places.shape[:2], mode="bilinear", align_corners=False)


def draw_over(
    overlay: Overlay, detail: PortraitDetail | None, faces: Tensor, params: FaceParams, squares: Tensor
) -> Tensor:
    """Generated faces in the portrait, with its detail where there is one; arguments as of `Overlay`. (t, 3, h, w)."""
    placed, moved = overlay.place(faces, squares), None
    if detail is not None:
        placed, moved = detail.add(placed, params)
    return overlay.blend(placed, params, squares, moved).clamp(0, 1)


def likeness(drawn: Tensor, own: Tensor, *, within: float) -> Tensor:
    """How alike two drawings (b, 3, h, w) are around each pixel. (b, 1, h, w) in [0, 1]; 1 / e where `within` apart."""
    return torch.exp(-(_around((drawn - own).abs().mean(1, keepdim=True), AROUND) / within).square())


def hue_change(drawn: Tensor, own: Tensor, head: Tensor) -> Tensor:
    """Hue that a head takes on as a whole, which no pose and no expression gives it; brightness may change.

    Args:
        drawn, own: (b, 3, h, w). head: (b, 1, h, w) weights.

    Returns:
        (b, 3, h, w), of `drawn` beside `own`; 0 in the mean of the channels.
    """
    change = drawn - own
    sums = torch.cat([(change - change.mean(1, keepdim=True)) * head, head], 1)
    hue, weight = _around(_around(sums, TINT), TINT).split([3, 1], 1)
    return head * hue / weight.clamp_min(0.05)


def _around(x: Tensor, side: int) -> Tensor:
    """The mean over the square around each pixel."""
    return F.avg_pool2d(x, side, 1, side // 2, count_include_pad=False)


@lru_cache(maxsize=1)
def _meshwarp() -> MeshWarp:
    return meshwarp.build(Config())


def _picture(image: Tensor) -> Picture:
    """(1, 3, h, w) to (h, w, 3)."""
    return np.ascontiguousarray(image[0].movedim(0, -1).float().cpu().numpy())
