"""meshwarp's mesh of a portrait, for what other systems leave to it."""

from __future__ import annotations

from functools import cached_property, lru_cache

from torch import Tensor

from portrayal.systems.meshwarp import animate as meshwarp
from portrayal.systems.meshwarp.animate import MeshwarpSource
from portrayal.systems.meshwarp.behind import neck_moved
from portrayal.systems.meshwarp.config import Config
from portrayal.systems.meshwarp.layers import from_pictures, to_pictures
from portrayal.systems.meshwarp.mesh import Face, Pose, neck_of
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

    def lay_over(self, drawn: Tensor, params: FaceParams, *, within: tuple[float, float]) -> Tensor:
        """What a network draws of t frames (t, 3, h, w), as large as the portrait, with the mesh's neck and shoulders,
        before the portrait's background, which stays.

        Args:
            within: head units (outer distance of the eyes) that a neck moves: up to the first all stays as it is drawn.

        Returns:
            `drawn` itself where no frame moves that far, and in a video, whose mattes would flicker.
        """
        if self.portrait.moving:
            return drawn
        own, depth = Face.of(self.portrait.params, 0), self.model.config.skull_depth
        neck, poses = neck_of(own, depth), [Pose.of(params, i) for i in range(len(params))]
        shares = [neck_moved(neck, own.pose, pose, within) for pose in poses]
        if not any(shares):
            return drawn
        frames = to_pictures(drawn)
        for i, share in enumerate(shares):
            if share:
                frames[i] = meshwarp.lay_over(self.model, self.source, frames[i], params, i, share=share)
        return from_pictures(frames, drawn.device)


@lru_cache(maxsize=1)
def _model() -> MeshWarp:
    return meshwarp.build(Config())
