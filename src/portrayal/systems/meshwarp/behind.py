"""What is behind a head that moves: the background stays, and a head with its hair moves over it as one piece.

A mesh alone would draw out hair and background between a head that has moved and the border of the picture.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from portrayal.media.cutout import cut_out
from portrayal.media.matte import Matte, without_person
from portrayal.systems.meshwarp.layers import Array, Picture, smoothstep, to_picture
from portrayal.systems.meshwarp.mesh import Pose, neck_move
from portrayal.types import Portrait

MOVED = (0.08, 0.25)
"""Head units: a head that has moved less is one mesh with what is around it, one that has moved more lies over it."""
LOOSE = (0.15, 0.5)
"""Head units: hair is drawn out by a head that moves less, and goes with one that moves more. After `MOVED`, since the
mesh tears in the background then."""
FAR = (0.2, 0.5)
"""Head units: a neck that moves less is stretched, one that moves more goes with its head."""
TURNED = (0.2, 0.3)
"""Radians between two ways of looking: up to the first networks draw what is around a face, from the second on not."""
UNSEEN = 1e-3
"""A share of a pixel that does not count."""
RIM = ((0.95, -0.1, 0.7), (-0.95, -0.1, 0.7), (0.0, -1.2, 0.7), (0.0, 0.6, 0.7))
"""Head units: points on the rim of a head, whose move is measured."""


def moved_away(source: Pose, pose: Pose, within: tuple[float, float] = MOVED) -> float:
    """How far a head has left its place: from 0 at the first to 1 at the second head units."""
    rim = np.array(RIM)
    by = (pose.head_to_picture(rim) - source.head_to_picture(rim))[:, :2] / source.scale
    return float(smoothstep(np.linalg.norm(by, axis=1).max(), *within))


def turned_away(source: Pose, pose: Pose) -> float:
    """How far a head looks elsewhere than in the portrait: from 0 to 1 within `TURNED`."""
    turn = np.arccos(np.clip(source.rotation[:, 2] @ pose.rotation[:, 2], -1, 1))
    return float(smoothstep(turn, *TURNED))


def neck_moved(neck: Array, source: Pose, pose: Pose, within: tuple[float, float] = FAR) -> float:
    """How far a neck, as of `mesh.neck_of`, has left its place: from 0 at the first to 1 at the second head units."""
    moved = np.hypot(*neck_move(neck, source, pose)) / source.scale
    return float(smoothstep(np.array(moved), *within))


class Behind:
    """Of one portrait; made when it is first needed, since it takes some tenths of a second."""

    def __init__(self, portrait: Portrait, matte: Matte | None = None) -> None:
        """Args: matte: where it is known already."""
        self._portrait, self._matte = portrait, matte

    @cached_property
    def matte(self) -> Matte:
        """Of the portrait."""
        return self._matte or Matte.of(self._portrait)

    @cached_property
    def picture(self) -> Picture:
        """(h, w, 3) the portrait without its person."""
        return to_picture(without_person(self._portrait, self.matte))

    @cached_property
    def cut(self) -> tuple[Tensor, Tensor]:
        """The person's colours and where it is, as of `media.cutout`; in a video these would take long and flicker."""
        if not self._portrait.moving:
            return cut_out(self._portrait, self.matte)
        size = self._portrait.image.shape[2:]
        return self._portrait.image, F.interpolate(self.matte.soft, size, mode="bilinear", align_corners=False)

    @cached_property
    def front(self) -> Picture:
        """(h, w) in [0, 1]: what of the portrait moves, head and hair, and everything below the chin."""
        return np.maximum(to_picture(self.cut[1])[..., 0], self.body)

    def alone(self, picture: Picture) -> Picture:
        """(h, w, 3) a picture like the portrait, without the wall's colours at the outline of the person."""
        return picture + self._off

    def cleaned(self, picture: Picture, apart: float) -> Picture:
        """(h, w, 3) a picture like the portrait, at the outline of the person without the wall's colours as far as it
        will not be seen there: where `front` leaves all of the wall away, as it does with `apart` 1 above the chin.

        Args:
            apart: in [0, 1]; so much of what is not `front` is to be away.
        """
        if not apart:
            return picture
        # A pixel is a F + (1 - a) B of person and wall; of f >= a that is shown of it a F + (f - a) B is to be seen.
        outline, own, beside, off = self._outline
        away = np.float32(apart) * beside
        factor = own * away / (np.maximum(1 - away, UNSEEN) * np.maximum(1 - own, UNSEEN))
        result = picture.copy()
        result.reshape(-1, 3)[outline] += off * np.minimum(factor, 1)[:, None]
        return result

    @cached_property
    def _outline(self) -> tuple[Array, Picture, Picture, Picture]:
        """Pixels (n,) whose colours are others' in the person's, of each how much is person and how much is not
        `front`, (n,), and what its colour lacks (n, 3)."""
        off = self._off.reshape(-1, 3)
        outline = np.flatnonzero(np.abs(off).max(1) > UNSEEN)
        own, front = to_picture(self.cut[1]).ravel(), self.front.ravel()
        return outline, own[outline], 1 - front[outline], off[outline]

    @cached_property
    def _off(self) -> Picture:
        """(h, w, 3) the person's colours at the outline, less the portrait's."""
        return to_picture(self.cut[0] - self._portrait.image)

    @cached_property
    def person(self) -> Picture:
        """(h, w) in [0, 1]: head, hair and neck, and shoulders as far as the colours tell."""
        return self._enlarged(self.matte.soft)

    @cached_property
    def body(self) -> Picture:
        """(h, w) in [0, 1]: everything below the chin."""
        return self._enlarged(self.matte.below)

    def _enlarged(self, mask: Tensor) -> Picture:
        larger = F.interpolate(mask, self._portrait.image.shape[2:], mode="bilinear", align_corners=False)
        return np.ascontiguousarray(larger[0, 0].cpu().numpy())
