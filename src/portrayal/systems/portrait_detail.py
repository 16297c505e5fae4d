"""The portrait itself in a network's drawings of it, wherever they draw nothing new.

For systems whose networks draw a whole face: a small one draws every face too smooth and not quite like the person.
What it draws with the portrait's own motion is known, once for each portrait, and so is what it should have drawn: the
portrait. Both go where meshwarp moves the skin, and where another drawing is like that one, the result is the portrait.
Where it is not (a mouth opens, a brow rises), and where meshwarp would stretch the portrait (a cheek turns into view),
the drawing stays. Around the face (hair, neck, what is behind them) is the portrait, too. None of the papers has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.face.topology import LIPS_INNER
from portrayal.media.head import head_axes, head_mask, pixel_centres
from portrayal.media.overlay import Overlay
from portrayal.systems.drawn_shape import bend
from portrayal.systems.meshwarp import animate as meshwarp
from portrayal.systems.meshwarp.layers import Picture, to_picture
from portrayal.systems.openings import Openings
from portrayal.systems.portrait_mesh import PortraitMesh
from portrayal.types import FaceParams, Layers, Portrait

SIDE = 128
"""Drawings are compared at about so many pixels along the side of a portrait,"""
AROUND = 5
"""in squares of so many,"""
ALIKE = 0.14
"""and are alike by 1 / e at this difference, of the range of colours."""
STRETCHED = (0.15, 0.5)
"""Pixels of the portrait in one of a frame (`meshwarp.raster.texture_density`), up to which it tells nothing of it, and
from which on all."""
FACE = (0.95, 0.95)
"""Half axes of the ellipse in which the drawing counts, in those of the face's oval."""


@dataclass(frozen=True)
class Carried:
    """What meshwarp moves with the skin, and where that is; `h'` and `w'` are about `SIDE`."""

    own: Tensor
    """(t, 3, h, w) the drawing of the portrait."""
    moved: Tensor
    """(t, 3, h, w) the portrait."""
    known: Tensor
    """(t, 1, h', w') in [0, 1]: how far the portrait shows what is here."""
    head: Tensor
    """(t, 1, h', w') in [0, 1], as the following."""
    face: Tensor
    more: tuple[Tensor, ...] = ()
    """(t, 3, h, w) each: what else was to be moved."""

    @property
    def drawn(self) -> Tensor:
        """(t, 1, h', w') in [0, 1]: where a drawing counts, and not the portrait around it."""
        return torch.maximum(self.face, self.head * (1 - self.known))


class PortraitDetail:
    """The detail of one portrait."""

    def __init__(self, portrait: Portrait, own: Tensor, *, strength: float = 1.0) -> None:
        """
        Args:
            own: (1, 3, h, w) what is drawn of the portrait with its own motion, in its size.
            strength: from 0 to 1, how much of the portrait is in the result.
        """
        self.strength = strength
        own = bend(own, portrait.params)
        self._mesh = PortraitMesh(portrait)
        self._openings = Openings(self._mesh.source.insides)
        self._textures = [to_picture(x) for x in (own, portrait.image)]
        self._size = portrait.image.shape[2:]
        self._factor = max(1, round(min(self._size) / SIDE))
        places = pixel_centres(self._size, portrait.image.device)
        self._reduced_places = self._reduced(places.movedim(-1, 0)).movedim(0, -1)

    def carry(self, params: FaceParams, *more: Picture) -> Carried:
        """Everything as t frames move it; `params` in pixels of the portrait, `more` as large as that, of the head
        and what is below it alone."""
        move = partial(meshwarp.carry, self._mesh.model, self._mesh.source, self._textures, params, masks=more)
        frames = [move(i) for i in range(len(params))]
        pictures, densities = zip(*frames, strict=True)
        own, moved, *others = (self._batch(x).movedim(-1, 1) for x in zip(*pictures, strict=True))
        (low, high), size = STRETCHED, self._reduced_places.shape[:2]
        density = F.interpolate(self._batch(densities)[:, None], size=size, mode="bilinear", align_corners=False)
        known = ((density - low) / (high - low)).clamp(0, 1)
        head = head_mask(params, self._reduced_places)
        face = head_mask(params, self._reduced_places, half_axes=FACE, hair=0)
        return Carried(own, moved, known, head[:, None], face[:, None], tuple(others))

    def add(self, drawn: Tensor, params: FaceParams, carried: Carried | None = None) -> Tensor:
        """
        Args:
            drawn: (t, 3, h, w) frames. params: of t frames, in pixels of the portrait.
            carried: of these frames, where it is known already.

        Returns:
            (t, 3, h, w), about [0, 1]: the drawings, bent as the motion wants them (`drawn_shape`), with the detail and
            what is behind lids and lips (`openings`).
        """
        carried = carried or self.carry(params)
        drawn = bend(drawn, params, strength=self.strength)
        seen, own, known = self._reduced(drawn), self._reduced(carried.own), carried.known
        mouth = _between_lips(params, self._reduced_places)
        shown = carried.face * known
        skin = (own * shown).sum((2, 3), keepdim=True) / shown.sum((2, 3), keepdim=True).clamp_min(1)
        tint = hue_change(seen, torch.lerp(skin, own, torch.maximum(known, mouth)), carried.head, mouth)
        alike = likeness(seen - tint, own, within=ALIKE) * carried.head * known
        shown = drawn - self.strength * self._enlarged(tint)
        shown = torch.lerp(shown, carried.moved, self.strength * self._enlarged(alike))
        return torch.lerp(shown, self._openings.fill(shown, params), self.strength)

    def draw_over(
        self,
        overlay: Overlay,
        placed: Tensor,
        params: FaceParams,
        squares: Tensor,
        carried: Carried | None = None,
    ) -> Tensor:
        """The drawings with the detail, in the portrait that moves around them; arguments as of `Overlay.blend`."""
        carried = carried or self.carry(params)
        drawn = self.add(placed, params, carried)
        shown = torch.lerp(carried.moved, drawn, self._enlarged(carried.drawn))
        return shown if self.strength == 1 else torch.lerp(overlay.blend(drawn, params, squares), shown, self.strength)

    def draw_layers(self, overlay: Overlay, faces: Layers, params: FaceParams, squares: Tensor) -> Layers:
        """`draw_over`, and what of it is head and person: where the portrait shows them, as they move, and what is
        drawn beside. Arguments as of `Overlay.lay_layers`."""
        carried, laid = self.carry(params, self._mesh.layers), overlay.lay_layers(faces, params, squares)
        picture = self.draw_over(overlay, overlay.place(faces.picture, squares), params, squares, carried)
        head, person = carried.more[0][:, :2].split(1, 1)
        drawn = laid.opacity * self._enlarged(carried.drawn)
        return Layers(picture.clamp(0, 1), torch.maximum(head, drawn), torch.maximum(person, drawn))

    def _batch(self, arrays: Sequence[Picture]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(self._reduced_places.device)

    def _reduced(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self._factor)

    def _enlarged(self, x: Tensor) -> Tensor:
        return F.interpolate(x, size=self._size, mode="bilinear", align_corners=False)


def draw_over(
    overlay: Overlay, detail: PortraitDetail | None, faces: Tensor, params: FaceParams, squares: Tensor
) -> Tensor:
    """Generated faces in the portrait, with its detail where there is one; arguments as of `Overlay`. (t, 3, h, w)."""
    placed = overlay.place(faces, squares)
    blend = overlay.blend if detail is None else partial(detail.draw_over, overlay)
    return blend(placed, params, squares).clamp(0, 1)


def likeness(drawn: Tensor, own: Tensor, *, within: float) -> Tensor:
    """How alike two drawings (b, 3, h, w) are around each pixel. (b, 1, h, w) in [0, 1]; 1 / e where `within` apart."""
    return torch.exp(-(_around((drawn - own).abs().mean(1, keepdim=True)) / within).square())


def hue_change(drawn: Tensor, own: Tensor, head: Tensor, mouth: Tensor) -> Tensor:
    """Hue that a head takes on in a drawing and that no pose and no expression gives it; brightness may change.

    On skin every change of hue is one. In a mouth there is more or less of the hue that the portrait's lips have,
    beside white and black, and no other.

    Args:
        drawn, own: (b, 3, h, w). head, mouth: (b, 1, h, w) weights.

    Returns:
        (b, 3, h, w), of `drawn` beside `own`; 0 in the mean of the channels.
    """
    change = _hue(drawn - own)
    lips = F.normalize((_hue(own) * mouth).sum((2, 3), keepdim=True), dim=1)
    return head * (change - mouth * (change * lips).sum(1, keepdim=True) * lips)


def _hue(x: Tensor) -> Tensor:
    return x - x.mean(1, keepdim=True)


def _between_lips(params: FaceParams, places: Tensor) -> Tensor:
    """(t, 1, h, w) in [0, 1]: 1 inside an opened mouth, of places (h, w, 2) in pixels."""
    axes = head_axes(params).mT
    inner = params.landmarks[:, list(LIPS_INNER), :2] @ axes  # (t, n, 2) along the mouth and across it
    low, high = inner.amin(1), inner.amax(1)
    half = ((high - low) / 2).clamp_min(1)
    away = (torch.einsum("hwi,tij->thwj", places, axes) - ((low + high) / 2)[:, None, None]) / half[:, None, None]
    return (3 - 2 * away.norm(dim=-1)).clamp(0, 1)[:, None]


def _around(x: Tensor) -> Tensor:
    """The mean over the square around each pixel."""
    return F.avg_pool2d(x, AROUND, 1, AROUND // 2, count_include_pad=False)
