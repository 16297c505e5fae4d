"""What of a portrait is head and hair: GrabCut, told where a head is.

C. Rother, V. Kolmogorov, A. Blake: "GrabCut", SIGGRAPH 2004, as OpenCV has it. It learns the colours of the person and
of what is behind from one picture, so it needs no weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from portrayal.face.topology import CHIN as CHIN_POINT
from portrayal.face.topology import FACE_OVAL
from portrayal.media.crop import picture_window
from portrayal.media.fill import fill_in
from portrayal.media.head import fill_hull, head_axes, pixel_centres
from portrayal.media.image import to_tensor, to_uint8
from portrayal.nn.rendering.head import head_distance
from portrayal.types import Portrait

SIDE = 160
"""Pixels of the picture that is taken apart."""
SURE, LIKELY, AWAY = 0.95, 1.25, 2.2
"""Radii in the half axes of a head's rough shape: within which everything is head, within which it is at first, and
beyond which nothing is, above `NECK`."""
UNSEEN = 1.15
"""As `AWAY`, where the portrait goes on outside its picture: hair that the picture's border cuts is drawn out there."""
CHIN, NECK = 1.0, 1.05
"""Heights in the face's oval, 0 its upper and 1 its lower end; from the last one on nothing is head."""
JAWS = 0.6
"""From this height on the rough shape is wider than a head with its jaws: only the face itself is surely head there."""
THROAT = 0.2
"""To each side of the chin, in the same heights: what is below it is neck."""
BACKDROP = 1.6
"""Beyond these radii above the chin a picture has the colours of what is behind. Where it has them below, there is a
wall beside a neck at first, not clothes."""
BIN = 4
"""In Lab: colours not much farther from each other are alike."""
JAW = 0.25
"""Of these heights above the chin: what is there is less and less head and more and more neck."""
STUMP = 0.2
"""How much of a neck goes with a head, in these heights."""
OVERLAP = 4.0
"""How much faster a body begins than a head ends."""
ROUNDS = 3
PERSON = (cv2.GC_FGD, cv2.GC_PR_FGD)
FEWEST = 20
"""Pixels from which colours can be learned."""
HALO = 3
"""Pixels by which the head is made larger, since hair is thin at its ends; half as many smooth its border."""
HOLE = 0.02
"""How far a pixel is a person's from which on it is not background."""


@dataclass(frozen=True)
class Matte:
    """Where the person is in one portrait."""

    person: NDArray[np.bool_]
    """(SIDE, SIDE); below the chin as far as the colours tell."""
    face: NDArray[np.bool_]
    """(SIDE, SIDE) inside the face's outline."""
    heights: Tensor
    """(SIDE, SIDE) how far down the face's oval each place is: 0 at its upper end, 1 at the chin. Below a tilted head
    shoulders are upright: 1 in the picture's row of the oval's lowest point, too."""

    @classmethod
    def of(cls, portrait: Portrait, *, unseen: float = UNSEEN) -> Matte:
        """Find the person in a portrait (b = 1).

        Args:
            unseen: as `UNSEEN`; `AWAY` to have what the picture's border repeats of hair.
        """
        heights, across = _oval_places(portrait)
        face = _face(portrait)
        return cls(_person(portrait, face, heights.cpu().numpy(), across.cpu().numpy(), unseen), face, heights)

    @cached_property
    def soft(self) -> Tensor:
        """(1, 1, SIDE, SIDE) in [0, 1]: the person with a soft border."""
        return self._softened(self.person)

    @property
    def above(self) -> Tensor:
        """(1, 1, SIDE, SIDE) in [0, 1]: 0 from the chin on downwards, where a portrait is neck and shoulders."""
        return ((CHIN - self.heights) / JAW).clamp(0, 1)[None, None]

    @property
    def throat(self) -> Tensor:
        """(1, 1, SIDE, SIDE) in [0, 1]: 0 below the neck, which a head brings along where it is laid over another."""
        return ((NECK + STUMP - self.heights) / STUMP).clamp(0, 1)[None, None]

    @property
    def lower(self) -> Tensor:
        """(1, 1, SIDE, SIDE) in [0, 1]: where a person is neck and shoulders, with hair on them. They begin above the
        chin, since a head that is drawn over them ends softly there."""
        return (OVERLAP * (1 - self.above)).clamp_max(1)

    @property
    def head(self) -> Tensor:
        """(1, 1, SIDE, SIDE) in [0, 1]: the head with its hair, a little generously; neither neck nor hair on it."""
        return self.grown * torch.maximum(self.above, self._softened(self.face) * (self.heights < CHIN))

    @cached_property
    def skin(self) -> Tensor:
        """(1, 1, SIDE, SIDE) in [0, 1]: the face, a little generously."""
        return self._softened(_larger(self.face))

    def hidden(self, size: torch.Size) -> NDArray[np.bool_]:
        """(h, w) of `size`: where a head is, generously; what is below the chin is neck and is none of it."""
        return _covered(self.grown * (self.heights < NECK), size)

    def in_front(self, size: torch.Size) -> NDArray[np.bool_]:
        """(h, w) of `size`: where the person is, generously, with neck and shoulders as far as they are known."""
        return _covered(self.grown, size)

    @property
    def below(self) -> Tensor:
        """(1, 1, SIDE, SIDE) in [0, 1]: 1 from a little below the chin on downwards."""
        return ((self.heights - CHIN) / (NECK - CHIN)).clamp(0, 1)[None, None]

    @cached_property
    def grown(self) -> Tensor:
        """(1, 1, SIDE, SIDE) in [0, 1]: as `soft`, a little generously."""
        return self._softened(_larger(self.person))

    def _softened(self, mask: NDArray[np.bool_]) -> Tensor:
        soft = np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), HALO / 2))
        return torch.from_numpy(soft).to(self.heights)[None, None]


def without_head(portrait: Portrait, matte: Matte | None = None) -> Tensor:
    """(1, 3, h, w) the portrait without its head, filled in from around it. `matte`: where it is known already."""
    matte = matte or Matte.of(portrait)
    size = portrait.image.shape[2:]
    return _filled(portrait, matte.hidden(size), matte.in_front(size))


def without_person(portrait: Portrait, matte: Matte) -> Tensor:
    """(1, 3, h, w) the portrait without anything of its person, as far as the colours tell, filled in from around."""
    return _filled(portrait, matte.in_front(portrait.image.shape[2:]))


def _filled(portrait: Portrait, hidden: NDArray[np.bool_], foreign: NDArray[np.bool_] | None = None) -> Tensor:
    """(1, 3, h, w) the portrait after `media.fill.fill_in`."""
    filled = fill_in(to_uint8(portrait.image)[0], hidden, foreign, smooth=portrait.moving)
    return to_tensor(filled).to(portrait.image)


def _larger(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask with `HALO` around it."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * HALO + 1, 2 * HALO + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def _covered(mask: Tensor, size: torch.Size) -> NDArray[np.bool_]:
    """(h, w) of `size`: where a mask (1, 1, SIDE, SIDE) is anything."""
    larger = F.interpolate(mask, size, mode="bilinear", align_corners=False)
    return np.asarray(larger[0, 0].cpu().numpy() > HOLE)


def _person(
    portrait: Portrait,
    face: NDArray[np.bool_],
    height: NDArray[np.float32],
    across: NDArray[np.float32],
    unseen: float,
) -> NDArray[np.bool_]:
    size = (SIDE, SIDE)
    picture = to_uint8(F.interpolate(portrait.image, size, mode="bilinear", align_corners=False, antialias=True))[0]
    radius = head_distance(portrait.params.camera, side=SIDE)[0, 0].sqrt().cpu().numpy()
    labels = np.full(size, cv2.GC_PR_BGD, np.uint8)
    apart = ~_alike(picture, (radius > BACKDROP) & (height < NECK), (radius < SURE) & (height < JAWS))
    labels[(radius < LIKELY) & ((height < JAWS) | apart)] = cv2.GC_PR_FGD
    labels[(height > NECK) & apart] = cv2.GC_PR_FGD
    labels[(height > NECK) & (np.abs(across) < THROAT)] = cv2.GC_FGD
    labels[(height < NECK) & (radius > AWAY)] = cv2.GC_BGD
    labels[(height < NECK) & (radius > unseen) & _outside(portrait.image)] = cv2.GC_BGD
    labels[(radius < SURE) & (height < JAWS)] = cv2.GC_FGD
    labels[face] = cv2.GC_FGD
    count = np.isin(labels, PERSON).sum()
    if FEWEST < count < labels.size - FEWEST:
        cv2.setRNGSeed(0)  # its clusters begin at random
        models = np.zeros((2, 1, 65))
        cv2.grabCut(picture, labels, None, models[0], models[1], ROUNDS, cv2.GC_INIT_WITH_MASK)
    person = np.isin(labels, PERSON)
    return np.asarray(cv2.morphologyEx(person.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0)


def _alike(picture: NDArray[np.uint8], behind: NDArray[np.bool_], head: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(h, w) where a picture (h, w, 3) has a colour that it has `behind` (h, w), and more there than in the `head`."""
    if not behind.any() or not head.any():
        return np.zeros_like(head)
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    bins = np.floor((lab + np.array((0, 128, 128), np.float32)) / BIN).astype(int)
    among = [np.zeros(np.array((100, 256, 256)) // BIN + 1, np.float32) for _ in range(2)]
    for colours, where in zip(among, (behind, head), strict=True):
        np.add.at(colours, tuple(bins[where].T), np.float32(1 / where.sum()))
    in_behind, in_head = (gaussian_filter(x, 1, truncate=2, mode="constant")[tuple(bins.T)].T for x in among)
    return np.asarray(in_behind > in_head)


def _face(portrait: Portrait) -> NDArray[np.bool_]:
    """(SIDE, SIDE) inside the face's outline."""
    mask = np.zeros((SIDE, SIDE), np.float32)
    points = portrait.params.landmarks[0, :, :2].cpu().numpy()
    fill_hull(mask, points * (SIDE / portrait.image.shape[-1]) - 0.5, 1.0)
    return mask > 0


def _outside(image: Tensor) -> NDArray[np.bool_]:
    """(SIDE, SIDE) where a portrait only goes on from the border of its picture."""
    window = np.divide(picture_window(image[0].movedim(0, -1).cpu().numpy()), image.shape[-1] / SIDE)
    y, x = np.indices((SIDE, SIDE)) + 0.5
    return np.asarray((x < window[0]) | (y < window[1]) | (x > window[2]) | (y > window[3]))


def _oval_places(portrait: Portrait) -> tuple[Tensor, Tensor]:
    """(SIDE, SIDE) each: `Matte.heights`, and how far to the side of the chin a place is, in the same unit."""
    params, side = portrait.params, portrait.image.shape[-1]
    places = pixel_centres(torch.Size((SIDE, SIDE)), params.landmarks.device) * (side / SIDE)
    beside, down = head_axes(params)[0]
    points = params.landmarks[0, list(FACE_OVAL), :2]
    oval = points @ down
    height = (oval.max() - oval.min()).clamp_min(1)
    lower = torch.maximum(places @ down - oval.max(), places[..., 1] - points[:, 1].max())
    return 1 + lower / height, (places - params.landmarks[0, CHIN_POINT, :2]) @ beside / height
