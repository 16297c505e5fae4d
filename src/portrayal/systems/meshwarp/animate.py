"""A portrait as a moving mesh: the picture itself, bent by the landmarks of each driving frame.

Once per portrait (`encode_source`) the face's landmarks become a mesh that rings of vertices continue over hair, neck
and background to the still border of the crop; the eyeballs and the inside of the mouth are prepared behind it. Per
frame (`render`) the mesh is drawn from far to near into a map of source positions, the picture is read through it, and
eyeballs and mouth are laid into the openings between lids and lips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import cv2
import numpy as np
import torch
from torch import Tensor

from portrayal.face.topology import LEFT_EYE, LIPS_INNER, RIGHT_EYE
from portrayal.media.crop import picture_window
from portrayal.media.matte import Matte
from portrayal.motion.options import RetargetOptions
from portrayal.systems.meshwarp.behind import LOOSE, MOVED, Behind, moved_away, neck_moved
from portrayal.systems.meshwarp.config import Config
from portrayal.systems.meshwarp.eyes import shut_lids
from portrayal.systems.meshwarp.hidden import HiddenSkin, find_hidden_skin, lend_texture
from portrayal.systems.meshwarp.insides import Insides, draw_insides, find_insides
from portrayal.systems.meshwarp.layers import Array, Picture, close_openings, to_array, to_picture
from portrayal.systems.meshwarp.mesh import (
    FACE_POINTS,
    Face,
    Pose,
    Rings,
    build_rings,
    lash_shares,
    move_rings,
    place_lashes,
    skull_of,
)
from portrayal.systems.meshwarp.model import MeshWarp
from portrayal.systems.meshwarp.outline import face_mask, skull_outline
from portrayal.systems.meshwarp.raster import backward_displacement, read_cells, read_source, texture_density
from portrayal.systems.meshwarp.twin import Twin, find_twin, mirrored_rest, turned_back
from portrayal.types import Driving, FaceClip, FaceParams, Portrait, Source

Triangles = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@dataclass(frozen=True)
class MeshwarpSource(Source):
    """A portrait with its mesh and what lies behind its openings."""

    texture: Picture
    """(h, w, 3) float32 [0, 1], the portrait with the insides of eyes and mouth painted over."""
    rings: Rings
    triangles: Triangles
    """(k, 3) of the whole mesh."""
    lash_edges: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    """(l, 2) as in `MeshWarp`."""
    lash_shares: Array
    """(l,) as from `lash_shares`."""
    hidden: HiddenSkin
    insides: Insides
    behind: Behind

    @property
    def landmarks(self) -> Array:
        """(478, 3) pixels of the crop."""
        return self.insides.source.landmarks

    @property
    def pose(self) -> Pose:
        """Of the portrait."""
        return self.insides.source.pose


def build(config: Config) -> MeshWarp:
    """The model; nothing to load into it."""
    return MeshWarp(config)


def encode_source(model: MeshWarp, portrait: Portrait, matte: Matte | None = None) -> MeshwarpSource:
    """Build the mesh of a portrait and complete what it hides (some tens of milliseconds at 512 x 512).

    Args:
        matte: of the portrait, where it is known already.

    Raises:
        ValueError: if the portrait is not (1, 3, h, w) with one frame of parameters.
    """
    image = portrait.image
    if image.ndim != 4 or image.shape[:2] != (1, 3) or len(portrait.params) != 1:
        raise ValueError(
            "portrait must be one (1, 3, h, w) picture with one face, "
            f"got {tuple(image.shape)} and {len(portrait.params)} faces"
        )
    texture = to_picture(image)
    face = Face.of(portrait.params, 0)
    landmarks, pose = face.landmarks, face.pose
    config = model.config
    rings = build_rings(
        landmarks,
        pose,
        width=image.shape[3],
        height=image.shape[2],
        window=picture_window(texture),
        first=FACE_POINTS + len(model.lash_edges),
        rings=config.rings,
        skull_depth=config.skull_depth,
        still=config.still_border,
        reach=config.jaw_reach,
    )
    triangles = np.concatenate([model.face_triangles.cpu().numpy(), rings.triangles])
    insides = find_insides(texture, face)
    lips = [LIPS_INNER] if insides.mouth.shown > 0 else []
    skin = close_openings(texture, landmarks, (RIGHT_EYE, LEFT_EYE, *lips))
    edges = model.lash_edges.cpu().numpy()
    shares = lash_shares(edges, landmarks)
    hidden = find_hidden_skin(landmarks, pose.picture_to_head(landmarks), model.skin_triangles.cpu().numpy())
    return MeshwarpSource(portrait, skin, rings, triangles, edges, shares, hidden, insides, Behind(portrait, matte))


def driving_pixels(model: MeshWarp) -> None:
    """No pictures of the driving face are looked at."""
    return


def encode_driving(model: MeshWarp, clip: FaceClip) -> Driving:
    """The motion of a clip: landmarks and pose are all that this system needs."""
    return Driving(params=clip.params, times=clip.times)


def retarget_codes(driving: Driving, options: RetargetOptions) -> Driving:
    """There are no tensors beside the face parameters."""
    return driving


def render(model: MeshWarp, source: MeshwarpSource, driving: Driving) -> Iterator[Tensor]:
    """Draw the portrait with a motion that is already retargeted to it.

    Args:
        driving: landmarks and pose in pixels of the portrait; the portrait's own parameters give the portrait back.

    Yields:
        (b, 3, h, w) float32 [0, 1] on the portrait's device, b up to `Config.frames_per_batch`.
    """
    device = source.portrait.image.device
    batch = model.config.frames_per_batch
    for start in range(0, len(driving), batch):
        indices = range(start, min(start + batch, len(driving)))
        frames = np.stack([render_frame(model, source, driving.params, i) for i in indices])
        yield torch.from_numpy(frames).permute(0, 3, 1, 2).to(device)


def render_frame(model: MeshWarp, source: MeshwarpSource, params: FaceParams, index: int) -> Picture:
    """One frame: (h, w, 3) float32 [0, 1]."""
    reading = read_skin(model, source, params, index)
    return with_insides(source, reading.shown(source.texture), params, index)


def with_insides(source: MeshwarpSource, skin: Picture, params: FaceParams, index: int) -> Picture:
    """Frame `index` of its skin (h, w, 3), eyes and mouth."""
    frame = skin.copy()
    draw_insides(frame, source.insides, Face.of(params, index))
    return frame


def carry(
    model: MeshWarp,
    source: MeshwarpSource,
    textures: Sequence[Picture],
    params: FaceParams,
    index: int,
    *,
    masks: Sequence[Picture] = (),
) -> tuple[list[Picture], Picture]:
    """Pictures on the skin of a portrait, each (h, w, 3) like it, moved as frame `index` moves the skin.

    Args:
        masks: like the pictures; there is nothing of them behind the head. With them, there is nothing behind the
            person in the pictures, either.

    Returns:
        The moved pictures and masks; `raster.texture_density` of all, beside that of a portrait as near.
    """
    reading, zoom = read_skin(model, source, params, index), float(params.scale[index]) / source.pose.scale
    show = reading.person if masks else reading.shown
    moved = [show(texture) for texture in textures]
    moved += [reading.alone(mask) for mask in masks]
    return moved, reading.density * zoom**2


def share_of(
    source: MeshwarpSource, reading: Reading, params: FaceParams, index: int, *, body: float, around: float
) -> Picture:
    """For what else draws the portrait as in frame `index`: (h, w) in [0, 1] what is to be the mesh's; of a face, what
    the portrait does not show.

    Args:
        body: in [0, 1], how far neck, shoulders and what is behind the person are, too.
        around: in [0, 1], how far everything is that is not face.
    """
    size = source.texture.shape[:2]
    share = np.zeros(size, np.float32) if reading.twin is None else reading.twin.around(size, reading.step)
    if body:
        share = np.maximum(share, body * reading.of(source.behind.body))
    if around:
        share = np.maximum(share, around * (1 - face_mask(to_array(params.landmarks[index]), size)))
    if reading.apart and (body or around):
        share = 1 - (1 - share) * (1 - max(body, around) * (1 - reading.front))
    return share


@dataclass(frozen=True)
class Reading:
    """Where a frame reads the portrait."""

    displacement: Picture
    """As from `raster.backward_displacement`."""
    step: int
    behind: Behind
    apart: float
    """As of `behind.moved_away`."""
    twin: Twin | None = None
    """None: every half of the face is its own."""

    def of(self, texture: Picture) -> Picture:
        """(h, w, 3) a picture like the portrait, or (h, w) a mask of it, as the frame shows it."""
        frame = read_source(texture, self.displacement, self.step)
        return frame if self.twin is None else self.twin.over(frame, texture, self.step)

    def shown(self, texture: Picture) -> Picture:
        """(h, w, 3) a picture like the portrait as the frame shows it, before the background, which stays."""
        moved = self.of(self.behind.cleaned(texture, self.apart))
        if not self.apart:
            return moved
        return np.asarray(cv2.blendLinear(moved, self.behind.picture, self.front, 1 - self.front))

    def person(self, texture: Picture) -> Picture:
        """(h, w, 3) a picture like the portrait as the frame moves it, with the person's colours at its outline."""
        return self.of(self.behind.alone(texture))

    def alone(self, mask: Picture) -> Picture:
        """(h, w, 3) a mask as the frame moves it; nothing is behind it."""
        moved = self.of(mask)
        return moved * self.front[..., None] if self.apart else moved

    @cached_property
    def front(self) -> Picture:
        """(h, w) in [0, 1]: what is not background."""
        front: Picture = 1 - self.apart * (1 - self.of(self.behind.front))
        return front

    @cached_property
    def density(self) -> Picture:
        """As from `raster.texture_density`."""
        own = texture_density(self.displacement, self.step)
        return own if self.twin is None else own + self.twin.share * (self.twin.density - own)


def read_skin(model: MeshWarp, source: MeshwarpSource, params: FaceParams, index: int) -> Reading:
    """Where frame `index` reads the portrait."""
    rest, vertices = move_mesh(source, params, index)
    pose = Pose.of(params, index)
    displacement = _drawing(model, source)(rest, vertices, source.triangles)
    reading = Reading(displacement, model.config.map_step, source.behind, _apart(source, pose, MOVED))
    back = turned_back(source.pose, pose)
    if not back:
        return reading
    own, rings = source.insides.source, model.config.rings
    mirrored = mirrored_rest(own, source.lash_edges, source.lash_shares, vertices, pose, rings=rings)
    other = _drawing(model, source)(mirrored, vertices, source.triangles)
    shown = None
    if not source.portrait.moving:
        halves = (reading.displacement, other)
        shown = [read_cells(source.behind.person, half, reading.step) for half in halves]
    skull = pose.head_to_picture(skull_outline(skull_of(own, model.config.skull_depth)))
    step = reading.step
    twin = find_twin(other, reading.density, vertices, skull, shown, rings=rings, step=step, amount=back)
    return replace(reading, twin=twin)


def move_on(
    model: MeshWarp, source: MeshwarpSource, picture: Picture, before: FaceParams, after: FaceParams
) -> Picture:
    """A picture (h, w, 3) of the portrait with its head as in `before`, bent until it is as in `after` (t = 1 each)."""
    rest, vertices = (move_mesh(source, params, 0)[1] for params in (before, after))
    displacement = _drawing(model, source)(rest, vertices, source.triangles)
    return Reading(displacement, model.config.map_step, source.behind, 0.0).of(picture)


def _apart(source: MeshwarpSource, pose: Pose, within: tuple[float, float]) -> float:
    """`behind.moved_away`; 0 in a video, whose mattes would flicker."""
    return 0.0 if source.portrait.moving else moved_away(source.pose, pose, within)


def _drawing(model: MeshWarp, source: MeshwarpSource) -> Callable[[Array, Array, Triangles], Picture]:
    """`backward_displacement` of a mesh at rest, the same one moved, and its triangles."""
    height, width = source.texture.shape[:2]
    return partial(backward_displacement, behind=model.holes, width=width, height=height, step=model.config.map_step)


def move_mesh(source: MeshwarpSource, params: FaceParams, index: int) -> tuple[Array, Array]:
    """Where all vertices read the source, and where they are in frame `index` (n, 3).

    The order is that of `MeshwarpSource.triangles`: face, lashes, rings.
    """
    pose = Pose.of(params, index)
    landmarks = shut_lids(source.landmarks, to_array(params.landmarks[index]))
    lashes = place_lashes(
        source.lash_edges, source.lash_shares, source.landmarks, landmarks, pose.scale / source.pose.scale
    )
    loose, far = _apart(source, pose, LOOSE), neck_moved(source.rings.neck, source.pose, pose)
    rings = move_rings(source.rings, source.insides.source, Face(landmarks, pose), loose=loose, far=far)
    rest = np.concatenate([source.landmarks[:FACE_POINTS], lashes[0], source.rings.rest])
    rest = lend_texture(rest, source.hidden, landmarks)
    return rest, np.concatenate([landmarks[:FACE_POINTS], lashes[1], rings])
