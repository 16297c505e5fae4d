"""What is around and behind a portrait's head: hair that the density leaves out, and what a head that moves uncovers.

Beyond the paper (S 1.7 names its background as a limit). A turning head shows what it hid in the portrait. There the
network has only hues, so its place is filled in from beside it (`media.fill`). The density ends where hair gets thin;
the rest of the hair would stay behind as a ghost, so it goes with the head, as flat as the picture has it, and less and
less of it the farther down it hangs. Where nothing can be fetched, the network's colours are not shown, but what is
handed over instead (`portrait_mesh`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.media.matte import Matte, without_head
from portrayal.nn.precision import in_float32
from portrayal.nn.rendering.head import MIDDLE, head_distance, seen_from
from portrayal.systems.export3d.detail import Window, own_places, rising, sample
from portrayal.systems.export3d.renderer import Fetched
from portrayal.types import Portrait

CROWN = (0.0, 0.35, -0.06)
"""World units: above `MIDDLE`, for the direction and the size of a head in a picture."""
HAIR = (1.8, 2.4)
"""Radii in the half axes of a head's rough shape, up to which hair goes with the head and from which on it stays."""
HANGS, LIES = (0.5, 0.95), (0.95, 1.1)
"""In the heights of a `Matte`: above the first all goes with the head, below the second hair goes as shoulders do, and
is theirs below the last one."""
STAYS = (0.005, 0.02)
"""Half pictures: a jaw that has moved from its shoulders by more than the second is not drawn where it was."""
GONE = (0.05, 0.4)
"""Less of a head in a place than in the portrait: up to this it is still there, from this on the place is uncovered."""
STILL = 0.1
"""Half pixels of the portrait, by which something that stays is off its place."""
LEAST = 1 / 512
"""Of a pixel that would not be seen."""


class Surroundings:
    """Of one portrait, with b = 1 everywhere."""

    def __init__(self, portrait: Portrait, matte: Matte, opacity: Tensor) -> None:
        """
        Args:
            matte: of the portrait.
            opacity: (1, 1, n, n) of the head as the networks have it in the portrait's own view.
        """
        self._camera = portrait.params.camera
        self._head = matte.head
        self._person, self._skin, self._heights = matte.grown, matte.skin, matte.heights[None, None]
        self._lower = torch.cat([matte.lower * matte.throat, matte.lower], 1)
        self._size = portrait.image.shape[2:]
        self._bare = without_head(portrait, matte)
        self._own = self._head * torch.maximum(_resized(opacity, self._head.shape[2:]), self._near(self._camera))

    def draw(self, view: Fetched, camera: Tensor, made: Tensor, image: Tensor) -> Tensor:
        """A view in the size of the portrait (1, 3, h, w), about [0, 1].

        Args:
            made: (1, 3, h, w) what is to be seen where nothing can be fetched.
            image: (1, 3, h, w) what is fetched from, the portrait or one like it.
        """
        still, bent = _behind(view)
        hanging, strands = self._strands(camera, bent)
        share, head, strands, gone = self._shares(view, bent, strands)
        frame = image.clone()
        elsewhere = _resized((bent - still).abs().amax(1, keepdim=True), self._size) * self._size[0]
        _lay(frame, (elsewhere > STILL).float(), lambda at: sample(image, bent, at))
        _lay(frame, gone, lambda at: sample(self._bare, bent, at))
        _lay(frame, strands, lambda at: sample(image, hanging, at))
        _lay(frame, head, lambda at: sample(image, view.places, at))
        # Beside the head nothing is left to be drawn.
        return torch.lerp(made, frame, torch.maximum(share, torch.maximum(gone, 1 - head)))

    def person(self, view: Fetched, camera: Tensor, made: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 1, h, w) in [0, 1] each: what of a view is head or hair that goes with it; with neck and shoulders.

        Args:
            made: (1, 1, h, w) in [0, 1] what is person where nothing can be fetched.
            shown: (1, 1, h, w) in [0, 1] what is person in the portrait.
        """
        _, bent = _behind(view)
        hanging, strands = self._strands(camera, bent)
        share, opacity, strands, gone = self._shares(view, bent, strands)
        lower = _resized(sample(self._lower, bent), self._size)
        fetched, body = sample(shown, view.places), lower * sample(shown, bent) * (1 - gone)
        strands = torch.minimum(strands, sample(shown, hanging))  # what is laid over the portrait is generous
        neck, body = body.split(1, 1)
        drawn = opacity * torch.lerp(made, fetched, share)
        head = torch.maximum(drawn, torch.maximum(strands, neck))
        return head, torch.maximum(head, body)

    def _shares(self, view: Fetched, bent: Tensor, strands: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(1, 1, h, w) each, in the size of the portrait: how much of a view is fetched, how much is head, how much
        `strands` (1, 1, n, n), and how far the place of the portrait's head is uncovered."""
        assert view.opacity is not None  # it has a background
        enlarged = (view.share, view.opacity, strands, sample(self._own, bent))
        share, head, strands, own = (_resized(x, self._size) for x in enlarged)
        return share, head, strands, rising(own - torch.maximum(head, strands), *GONE)

    @in_float32
    def _turned(self, camera: Tensor) -> Tensor:
        """(1, 2, n, n) where the portrait shows what is turned in its plane and moved with the head."""
        (start, up), (own_start, own_up) = (_upright(view) for view in (camera, self._camera))
        turn = own_up / up
        places = own_places(*self._head.shape[2:]).to(camera)
        moved = (torch.complex(places[0], places[1]) - start) * turn + own_start
        return torch.stack([moved.real, moved.imag])[None]

    @in_float32
    def _strands(self, camera: Tensor, bent: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 2, n, n) where the portrait shows what moves with the head, below less and less than `_turned`, and
        (1, 1, n, n) how much of it is head or hair."""
        turned = self._turned(camera)
        heights, size = sample(self._heights, turned), turned.shape[2:]
        low = rising(heights, *HANGS)
        still, larger = (own_places(*n).to(bent)[None] for n in (bent.shape[2:], size))
        hanging = torch.lerp(turned, larger + _resized(bent - still, size), low)
        elsewhere = rising((hanging - turned).norm(dim=1, keepdim=True), *STAYS)
        hair = sample(self._person, hanging) * (1 - sample(self._skin, hanging) * elsewhere)
        hair = hair * (1 - rising(heights, *LIES))
        return hanging, torch.lerp(sample(self._head, turned), hair, low) * self._near(camera)

    def _near(self, camera: Tensor) -> Tensor:
        """(1, 1, n, n): 1 near the head of a camera, 0 away from it."""
        distance = head_distance(camera, side=self._head.shape[-1])
        return 1 - rising(distance.clamp_min(0).sqrt(), *HAIR)


def _behind(view: Fetched) -> tuple[Tensor, Tensor]:
    """(1, 2, n, n) each: the places of a view's pixels, and those in the portrait of what is behind the head there."""
    still = own_places(*view.places.shape[2:]).to(view.places)[None]
    return still, still if view.behind is None else view.behind


def _resized(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x.float(), size=size, mode="bilinear", align_corners=False)


def _lay(frame: Tensor, share: Tensor, read: Callable[[Window], Tensor]) -> None:
    """Put a picture over a frame (1, 3, h, w), as far as `share` (1, 1, h, w) says; `read` gives it in a window."""
    seen = share[0, 0] > LEAST
    window = _span(seen.any(1)), _span(seen.any(0))
    if window[0] != slice(0, 0):
        frame[..., *window] = torch.lerp(frame[..., *window], read(window).to(frame), share[..., *window])


def _span(found: Tensor) -> slice:
    """The shortest one with all that was found (n,)."""
    at = found.nonzero()
    return slice(int(at[0]), int(at[-1]) + 1) if len(at) else slice(0, 0)


def _upright(camera: Tensor) -> tuple[Tensor, Tensor]:
    """A head's middle and its upward axis in a picture that spans [-1, 1], as complex numbers."""
    middle, crown = 2 * seen_from(camera, camera.new_tensor([MIDDLE, CROWN]))[0][0] - 1
    return torch.complex(*middle), torch.complex(*(crown - middle))
