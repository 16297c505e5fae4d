"""A head that goes far from where the portrait has it: the network draws it near that place, meshwarp carries it on.

Beyond the paper. The dense motion has learned from faces that hardly leave their place: further away it leaves a second
chin or ear where they were, and tears hair from shoulders. meshwarp's mesh moves the whole of neck, shoulders and
background with a head, which needs no learning.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from portrayal.systems.meshwarp import animate as meshwarp
from portrayal.systems.meshwarp.layers import from_pictures, to_pictures
from portrayal.systems.portrait_mesh import PortraitMesh
from portrayal.types import FaceParams

NEAR = 0.1
"""Sides of the portrait: so far the network moves a head itself."""


class FarHead:
    """Of one portrait."""

    def __init__(self, mesh: PortraitMesh) -> None:
        self._mesh, self._portrait = mesh, mesh.portrait

    def split(self, params: FaceParams) -> tuple[FaceParams, Tensor]:
        """
        Args:
            params: of t frames, in pixels of the portrait.

        Returns:
            The same faces, near their place in the portrait, and (t, 2) pixels that they are to be carried.
        """
        away = (params.translation - self._portrait.params.translation)[:, :2]
        near = NEAR * self._portrait.image.shape[-1]
        by = away * (1 - near / away.norm(dim=1, keepdim=True).clamp_min(near))
        return _shifted(params, -by), by

    def carry(self, drawn: Tensor, near: FaceParams, by: Tensor) -> Tensor:
        """Faces (t, 3, h, w) as `split` has them, carried by (t, 2) pixels; those that are near stay as they are."""
        far = by.abs().amax(1).gt(0).nonzero()[:, 0].tolist()
        if not far:
            return drawn
        frames = to_pictures(drawn)
        own = self._portrait.params
        for i in far:
            before = _shifted(own, near.translation[i : i + 1, :2] - own.translation[:, :2])
            after = _shifted(before, by[i : i + 1])
            frames[i] = meshwarp.move_on(self._mesh.model, self._mesh.source, frames[i], before, after)
        return from_pictures(frames, drawn.device)


def _shifted(params: FaceParams, by: Tensor) -> FaceParams:
    """Faces moved by (t, 2) pixels in the picture; their cameras stay."""
    depth = F.pad(by, (0, 1))
    return params.replace(landmarks=params.landmarks + depth[:, None], translation=params.translation + depth)
