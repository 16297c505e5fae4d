"""What is behind lids and lips, laid into what a network draws of a portrait: eyeballs, teeth, tongue and shadow.

For systems whose small networks have learned too little of it: between opened lips they draw a pale or red blob.
What meshwarp knows of the portrait's eyes and mouth (its own pixels where it shows them, elsewhere drawn ones in its
palette) is as sharp as the portrait and follows the motion exactly. None of the papers has it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from portrayal.systems.meshwarp import animate as meshwarp
from portrayal.systems.meshwarp.config import Config
from portrayal.systems.meshwarp.model import MeshWarp
from portrayal.types import FaceParams, Portrait


@lru_cache(maxsize=1)
def mesh_model() -> MeshWarp:
    """meshwarp, which has no weights."""
    return meshwarp.build(Config())


class Openings:
    """Eyes and mouth of one portrait."""

    def __init__(self, mesh: meshwarp.MeshwarpSource, *, eyes: bool = True) -> None:
        """
        Args:
            eyes: lay in the eyeballs, too, and not the mouth alone.
        """
        self._mesh, self._eyes = mesh, eyes

    @classmethod
    def of(cls, portrait: Portrait, *, eyes: bool = True) -> Openings:
        """Those of a portrait that is no mesh yet (some tens of milliseconds at 512 x 512)."""
        return cls(meshwarp.encode_source(mesh_model(), portrait), eyes=eyes)

    def fill(self, drawn: Tensor, params: FaceParams) -> Tensor:
        """
        Args:
            drawn: (t, 3, h, w) in [0, 1], lids and lips where `params` has them. params: of t frames, in its pixels.

        Returns:
            (t, 3, h, w) float32.
        """
        frames = drawn.movedim(1, -1).float().cpu().numpy().copy(order="C")  # which is drawn into
        for i, frame in enumerate(frames):
            meshwarp.fill_openings(self._mesh, frame, params, i, eyes=self._eyes)
        return torch.from_numpy(frames).movedim(-1, 1).to(drawn.device)
