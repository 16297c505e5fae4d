"""What is around and behind a portrait's head: hair that the density leaves out, and what a head that moves uncovers.

Beyond the paper (S 1.7 names its background as a limit). A turning head shows what it hid in the portrait. There the
network has only hues, so its place is filled in from beside it (`media.fill`). The density ends where hair gets thin;
the rest of the hair would stay behind as a ghost, so it goes with the head, as flat as the picture has it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.media.matte import Matte, without_head
from portrayal.nn.precision import in_float32
from portrayal.nn.rendering.head import MIDDLE, head_distance, seen_from
from portrayal.systems.export3d.detail import fetch, own_places, rising, sample
from portrayal.systems.export3d.renderer import Fetched
from portrayal.types import Portrait

CROWN = (0.0, 0.35, -0.06)
"""World units: above `MIDDLE`, for the direction and the size of a head in a picture."""
HAIR = (1.4, 1.9)
"""Radii in the half axes of a head's rough shape, up to which hair goes with the head and from which on it stays."""
GONE = (0.05, 0.4)
"""Less of a head in a place than in the portrait: up to this it is still there, from this on the place is uncovered."""
SIDE = 128
"""Pixels that a head's rough shape is drawn with."""


class Surroundings:
    """Of one portrait, with b = 1 everywhere."""

    def __init__(self, portrait: Portrait, matte: Matte, opacity: Tensor) -> None:
        """
        Args:
            matte: of the portrait.
            opacity: (1, 1, n, n) of the head as the networks have it in the portrait's own view.
        """
        self._camera, self._image = portrait.params.camera, portrait.image
        self._size = portrait.image.shape[2:]
        head, above = self._enlarged(matte.head), self._enlarged(matte.above)
        own = head * torch.maximum(self._enlarged(opacity), self._near(self._camera))
        self._still = torch.cat([portrait.image, without_head(portrait, matte), own, above], 1)
        self._hair = torch.cat([portrait.image, head], 1)

    def draw(self, view: Fetched, camera: Tensor) -> Tensor:
        """A view in the size of the portrait (1, 3, h, w), about [0, 1]."""
        assert view.opacity is not None  # it has a background
        head, made, share = (self._enlarged(x) for x in (view.opacity, view.made, view.share))
        still = self._still if view.behind is None else sample(self._still, view.behind)
        portrait, bare, own, above = still.tensor_split([3, 6, 7], 1)
        hair, strands = self.hair(camera)
        gone = rising(own - torch.maximum(head, strands), *GONE)
        behind = torch.lerp(torch.lerp(portrait, bare, gone), hair, strands)
        pixels = torch.lerp(behind, fetch(self._image, view.places, None, twin=view.twin), head)
        # Beside the head, above the neck, nothing is left to be drawn.
        known = torch.maximum(gone, torch.maximum(strands, above) - head)
        return torch.lerp(made, pixels, torch.maximum(share, known))

    @in_float32
    def hair(self, camera: Tensor) -> tuple[Tensor, Tensor]:
        """The portrait turned in its plane and moved with the head (1, 3, h, w), and how much of it is head or hair
        (1, 1, h, w)."""
        (start, up), (own_start, own_up) = (_upright(view) for view in (camera, self._camera))
        turn = own_up / up
        places = own_places(*self._size).to(camera)
        moved = (torch.complex(places[0], places[1]) - start) * turn + own_start
        picture, matte = sample(self._hair, torch.stack([moved.real, moved.imag])[None]).tensor_split([3], 1)
        return picture, matte * self._near(camera)

    def _near(self, camera: Tensor) -> Tensor:
        """(1, 1, h, w): 1 near the head of a camera, 0 away from it."""
        return 1 - rising(self._enlarged(head_distance(camera, side=SIDE)).clamp_min(0).sqrt(), *HAIR)

    def _enlarged(self, x: Tensor) -> Tensor:
        return F.interpolate(x.float(), size=self._size, mode="bilinear", align_corners=False)


def _upright(camera: Tensor) -> tuple[Tensor, Tensor]:
    """A head's middle and its upward axis in a picture that spans [-1, 1], as complex numbers."""
    middle, crown = 2 * seen_from(camera, camera.new_tensor([MIDDLE, CROWN]))[0][0] - 1
    return torch.complex(*middle), torch.complex(*(crown - middle))
