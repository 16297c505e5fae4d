"""meshwarp's mesh of a portrait, for what other systems leave to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.media.matte import Matte
from portrayal.media.morph import Morph
from portrayal.systems.meshwarp import animate as meshwarp
from portrayal.systems.meshwarp.animate import MeshwarpSource, Reading
from portrayal.systems.meshwarp.behind import neck_moved, turned_away
from portrayal.systems.meshwarp.config import Config
from portrayal.systems.meshwarp.layers import Picture, from_pictures, to_picture, to_pictures
from portrayal.systems.meshwarp.mesh import Face, Pose, neck_of
from portrayal.systems.meshwarp.model import MeshWarp
from portrayal.systems.meshwarp.twin import turned_back
from portrayal.types import FaceParams, Layers, Portrait

Range = tuple[float, float]


@dataclass(frozen=True)
class MeshFrame:
    """The mesh in frame `index`."""

    params: FaceParams
    index: int
    reading: Reading
    skin: Picture
    """(h, w, 3) without eyes and mouth, before the background."""


class PortraitMesh:
    """Of one portrait; made when it is first needed, which for many motions is never."""

    def __init__(self, portrait: Portrait, matte: Matte | None = None) -> None:
        """Args: matte: of the portrait, where it is known already."""
        self.portrait, self._matte = portrait, matte
        self._last: MeshFrame | None = None

    @property
    def model(self) -> MeshWarp:
        return _model()

    @cached_property
    def source(self) -> MeshwarpSource:
        """The portrait as meshwarp knows it."""
        return meshwarp.encode_source(self.model, self.portrait, self._matte)

    @cached_property
    def layers(self) -> Picture:
        """(h, w, 3): where the portrait shows the head, where the person, and nothing."""
        behind, size = self.source.behind, self.portrait.image.shape[2:]
        person = behind.cut[1]
        throat = F.interpolate(behind.matte.throat, size, mode="bilinear", align_corners=False)
        return to_picture(torch.cat([person * throat, person, torch.zeros_like(person)], 1))

    def draw(self, params: FaceParams) -> Tensor:
        """(1, 3, h, w) what meshwarp makes of one frame."""
        frame = meshwarp.with_insides(self.source, self._frame(params, 0).skin, params, 0)
        return from_pictures(frame[None], self.portrait.image.device)

    def person(self, params: FaceParams) -> Tensor:
        """(1, 1, h, w) in [0, 1]: what of `draw` is the person."""
        shown = self._frame(params, 0).reading.alone(self.layers)
        return from_pictures(shown[None], self.portrait.image.device)[:, 1:2]

    def lay_over(self, drawn: Tensor, params: FaceParams, *, within: Range) -> Tensor:
        """What a network draws of t frames (t, 3, h, w), as large as the portrait, with parts of the mesh: neck and
        shoulders of a head that has moved far, what is around the face where it has turned, and of the face what the
        portrait hides. Before the portrait's background, which stays. Shapes move from where the network has them to
        where the mesh does (`media.morph`).

        Args:
            within: head units (outer distance of the eyes) that a neck moves: up to the first it stays as it is drawn.

        Returns:
            `drawn` itself where no frame moves or turns that far.
        """
        parts = self._parts(params, within)
        if not parts:
            return drawn
        frames = to_pictures(drawn)
        for i, (mesh, share) in parts.items():
            frames[i] = Morph(frames[i], mesh.skin, share).of(frames[i], mesh.skin)
        return from_pictures(frames, drawn.device)

    def lay_layers(self, drawn: Layers, params: FaceParams, *, within: Range) -> Layers:
        """As `lay_over`, and what of it is head and person."""
        parts = self._parts(params, within)
        if not parts or drawn.person is None:
            return drawn
        frames = to_pictures(drawn.picture)
        masks = to_pictures(torch.cat([drawn.opacity, drawn.person, torch.zeros_like(drawn.person)], 1))
        for i, (mesh, share) in parts.items():
            alone = mesh.reading.person(self.source.texture)
            morph = Morph(frames[i], alone, share)
            frames[i], masks[i] = morph.of(frames[i], alone), morph.of(masks[i], mesh.reading.of(self.layers))
        head, person, _ = from_pictures(masks, drawn.picture.device).split(1, 1)
        return Layers(from_pictures(frames, drawn.picture.device), head, person)

    def _frame(self, params: FaceParams, index: int) -> MeshFrame:
        """Kept until another one is asked for."""
        if self._last is None or self._last.params is not params or self._last.index != index:
            reading = meshwarp.read_skin(self.model, self.source, params, index)
            self._last = MeshFrame(params, index, reading, reading.shown(self.source.texture))
        return self._last

    def _parts(self, params: FaceParams, within: Range) -> dict[int, tuple[MeshFrame, Picture]]:
        """`meshwarp.share_of` the frames that have some; mattes of the frames of a video would flicker."""
        own, parts = Face.of(self.portrait.params, 0), {}
        neck = neck_of(own, self.model.config.skull_depth)
        for i in range(len(params)):
            pose = Pose.of(params, i)
            body = 0.0 if self.portrait.moving else neck_moved(neck, own.pose, pose, within)
            around = turned_away(own.pose, pose)
            if body or around or turned_back(own.pose, pose):
                mesh = self._frame(params, i)
                share = meshwarp.share_of(self.source, mesh.reading, params, i, body=body, around=around)
                parts[i] = mesh, share
        return parts


@lru_cache(maxsize=1)
def _model() -> MeshWarp:
    return meshwarp.build(Config())
