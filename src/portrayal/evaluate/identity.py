"""Faces as an embedding network sees them, aligned as it was trained with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.evaluate.view import View, require_faces, require_finite
from portrayal.face.align import FIVE_POINTS, align


class IdentityNetwork(nn.Module):
    """An embedding network together with the alignment it was trained with."""

    def __init__(
        self, net: nn.Module, *, name: str, size: tuple[int, int], aligned_points: tuple[tuple[float, float], ...]
    ) -> None:
        """
        Args:
            net: (b, 3, h, w) in [0, 1] to (b, c).
            name: what reports call it; numbers of different networks do not compare.
            size: h, w of its input.
            aligned_points: `FIVE_POINTS` in pixels of its input, x y.
        """
        super().__init__()
        self.net, self.name, self.size = net, name, size
        self.register_buffer("aligned_points", torch.tensor(aligned_points), persistent=False)

    @torch.no_grad()
    def embed(self, view: View) -> Tensor:
        """(t, c) of length 1.

        Raises:
            InputError: a frame has no face, or is not finite.
        """
        if view.embedding is not None:
            return F.normalize(view.embedding.float(), dim=1)
        landmarks = require_faces(view).landmarks
        require_finite(view)
        points = landmarks[:, list(FIVE_POINTS), :2].to(view.images)
        faces = align(view.images.float(), points, self.get_buffer("aligned_points").to(view.images), self.size)
        return F.normalize(self.net(faces), dim=1)
