"""meshwarp's mesh of a portrait, for what other systems leave to it."""

from __future__ import annotations

from functools import cached_property, lru_cache

from torch import Tensor

from portrayal.systems.meshwarp import animate as meshwarp
from portrayal.systems.meshwarp.animate import MeshwarpSource
from portrayal.systems.meshwarp.config import Config
from portrayal.systems.meshwarp.layers import from_pictures, to_pictures
from portrayal.systems.meshwarp.model import MeshWarp
from portrayal.types import FaceParams, Portrait


class PortraitMesh:
    """Of one portrait; made when it is first needed, which for most motions is never."""

    def __init__(self, portrait: Portrait) -> None:
        self.portrait = portrait

    @property
    def model(self) -> MeshWarp:
        return _model()

    @cached_property
    def source(self) -> MeshwarpSource:
        """The portrait as meshwarp knows it."""
        return meshwarp.encode_source(self.model, self.portrait)

    def lay_over(self, drawn: Tensor, params: FaceParams) -> Tensor:
        """What a network draws of t frames (t, 3, h, w), as large as the portrait, before its background that stays."""
        frames = to_pictures(drawn)
        for i, frame in enumerate(frames):
            frames[i] = meshwarp.lay_over(self.model, self.source, frame, params, i)
        return from_pictures(frames, drawn.device)


@lru_cache(maxsize=1)
def _model() -> MeshWarp:
    return meshwarp.build(Config())
