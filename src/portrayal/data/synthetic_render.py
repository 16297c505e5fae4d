"""Pictures of synthetic heads, with everything that is known about them.

`Renderer` draws one person under any `FaceParams`: the face is exactly the 468 landmarks (scaled orthographic, as
`FaceParams` has it), irises follow the gaze, the rest of the head follows the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from portrayal.data.synthetic_hair import Hair, comb
from portrayal.data.synthetic_openings import (
    LOWER_EDGE,
    TEETH_BEHIND_LIPS,
    UPPER_EDGE,
    Eyeball,
    Teeth,
    shade_eye,
    shade_mouth,
)
from portrayal.data.synthetic_person import Person, generator
from portrayal.data.synthetic_raster import Floats, Ints, Visible, incidence, rasterise, sh_basis, vertex_normals
from portrayal.data.synthetic_scene import Scene, paint_background
from portrayal.data.synthetic_shape import (
    CENTRE,
    FACE_POINTS,
    PARTS,
    Head,
    head_mesh,
    mean_points,
)
from portrayal.data.synthetic_texture import atlas_places, below_collar, paint_atlas
from portrayal.errors import InputError
from portrayal.face.gaze import EYEBALL_RADIUS, eye_frames
from portrayal.face.morphable import load_face_model
from portrayal.face.pose import angles_to_rotation, rotation_to_angles
from portrayal.face.topology import CHIN, FACE_OVAL, LEFT_EYE, LIPS_INNER, RIGHT_EYE
from portrayal.motion.semantic import NECK
from portrayal.types import FaceParams

SKIN, EYES, MOUTH, NECK_PART, CLOTHES, HAIR = range(1, 7)
FOLLOWING = (0.3, 0.15, 0.15)
"""How much of the head's yaw, pitch and roll the shoulders follow."""
SUPERSAMPLE = 2
"""Samples per pixel side."""


@dataclass(frozen=True)
class Geometry:
    """What lies at each pixel's centre."""

    depth: Floats
    """(h, w) pixels, as the z of the landmarks; inf where there is only background."""
    normals: Floats
    """(h, w, 3) unit, picture frame, towards the camera; 0 on the background."""
    labels: NDArray[np.uint8]
    """(h, w) 0 background, then as `synthetic_shape.PARTS`."""

    def mask(self, name: str) -> NDArray[np.bool_]:
        """(h, w) where `name` is: background, skin, eyes, mouth, neck, clothes or hair."""
        names = ("background", *PARTS)
        if name not in names:
            raise InputError(f"there is no mask {name!r}; choose one of {', '.join(names)}")
        return np.asarray(self.labels == names.index(name))


@dataclass(frozen=True)
class _Posed:
    """All vertices in the picture."""

    points: Floats
    """(v, 3) pixels."""
    normals: Floats
    """(v, 3)"""
    shape: NDArray[np.float64]
    """(478, 3) the landmarks in the head frame."""
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    scale: float


class Renderer:
    """One person, ready to be drawn many times.

    Args:
        person: who.
        size: side of the pictures in pixels that the painted detail should suffice for.
    """

    def __init__(self, person: Person, size: int = 256) -> None:
        self.person, head, model = person, head_mesh(), load_face_model()
        side = 256 if size <= 160 else 512 if size <= 400 else 1024
        self.atlas = paint_atlas(person, side)
        self.head = head
        self.hair = comb(person.style, generator(person.seed, "hair"))
        neck = head.neck
        rigid = np.where(neck, 0, 1 - np.asarray(head.from_face.sum(1)).ravel())
        self.rigid = rigid.astype(np.float32)[:, None]
        pieces: list[Head | Hair] = [head] if self.hair is None else [head, self.hair]
        count = len(head.offset)
        triangles = [head.triangles] if self.hair is None else [head.triangles, self.hair.triangles + count]
        self.triangles: Ints = np.concatenate(triangles)
        self.parts = np.full(len(self.triangles), HAIR, np.uint8)
        self.parts[: len(head.parts)] = head.parts
        self.shade: Floats = np.concatenate([p.shade for p in pieces])
        self.body: Floats = np.concatenate([p.body for p in pieces])[:, None]
        self.shine = np.full(len(self.shade), 0.35 * float(np.mean(person.hair)), np.float32)
        self.shine[:count] = np.where(neck, 0, person.shine)
        regions = np.where(neck[:, None], atlas_places(head.texture, "body"), atlas_places(head.texture, "face"))
        if self.hair is not None:
            regions = np.concatenate([regions, atlas_places(self.hair.texture, "hair")])
        self.texture: Floats = (regions * side - 0.5).astype(np.float32)
        self.meets = incidence(self.triangles, len(self.shade))
        self.is_hair = np.arange(len(self.shade)) >= count
        self.iris_offsets = model.iris_offsets.numpy().astype(np.float64)
        self.rest = model.shape(person.identity[None], torch.zeros(1, 64))[0].numpy().astype(np.float64)
        hair = np.ones((len(self.shade) - count, 1), np.float32)
        self.lid_shade: Floats = np.concatenate([_lid_shades(), hair])
        self.left_eye = head.mean[head.triangles[:, 0], 0] > 0

    def render(self, params: FaceParams, scene: Scene, *, width: int, height: int) -> NDArray[np.uint8]:
        """One picture.

        Args:
            params: t = 1, in pixels of the picture.

        Returns:
            (height, width, 3) uint8 RGB.
        """
        posed = self._pose(params, scene)
        n = SUPERSAMPLE
        seen = self._visible(posed, width, height, n)
        if len(seen.pixels) == 0:
            return _to_uint8(paint_background(scene, width, height))
        colour = np.zeros((height * n * width * n, 4), np.float32)
        colour[seen.pixels, :3] = self._shade(posed, seen, scene, params, width * n, n)
        colour[seen.pixels, 3] = 1
        layer = cv2.resize(colour.reshape(height * n, width * n, 4), (width, height), interpolation=cv2.INTER_AREA)
        linear = layer[..., :3] + (1 - layer[..., 3:]) * paint_background(scene, width, height)
        return _to_uint8(linear)

    def geometry(self, params: FaceParams, scene: Scene, *, width: int, height: int) -> Geometry:
        """Depth, normals and labels of the picture that `render` gives."""
        posed = self._pose(params, scene)
        seen = self._visible(posed, width, height, 1)
        values = seen.interpolate(self.triangles, np.concatenate([posed.points[:, 2:], posed.normals], 1))
        depth, labels = np.full(width * height, np.inf, np.float32), np.zeros(width * height, np.uint8)
        normals = np.zeros((width * height, 3), np.float32)
        depth[seen.pixels] = values[:, 0]
        length = np.linalg.norm(values[:, 1:], axis=1, keepdims=True)
        normals[seen.pixels] = values[:, 1:] / np.maximum(length, 1e-9)
        labels[seen.pixels] = self.parts[seen.triangles]
        dressed = self._dressed(seen)
        labels[seen.pixels[dressed]] = CLOTHES
        return Geometry(depth.reshape(height, width), normals.reshape(height, width, 3), labels.reshape(height, width))

    def _pose(self, params: FaceParams, scene: Scene) -> _Posed:
        if len(params) != 1:
            raise InputError(f"a picture shows one face at one time; params must have 1 frame, got {len(params)}")
        scale, turn = float(params.scale[0]), params.rotation[0].numpy().astype(np.float64)
        move = params.translation[0].numpy().astype(np.float64)
        shape = (params.landmarks[0].numpy().astype(np.float64) - move) @ turn / scale
        factors = np.array(self.person.skull)
        places = self.head.from_face @ shape[:FACE_POINTS].astype(np.float32) + self.head.offset
        places = places + self.rigid * ((places - CENTRE) * (factors - 1))
        places[self.head.neck] *= [self.person.neck, 1, 1]
        if self.hair is not None:
            oval = list(FACE_OVAL)
            hair = CENTRE + (self.hair.points - CENTRE) * factors
            hair = hair + self.hair.follow @ (shape[oval] - mean_points()[oval])
            places = np.concatenate([places, hair])
        angles = rotation_to_angles(params.rotation[0]).double().numpy() * FOLLOWING + scene.turn
        shoulders = angles_to_rotation(torch.from_numpy(angles)).numpy()
        joint = np.array(NECK)
        with_head = places @ turn.T
        with_body = (places - joint) @ shoulders.T + turn @ joint
        points = (scale * (with_head + self.body * (with_body - with_head)) + move).astype(np.float32)
        normals = vertex_normals(points, self.triangles, self.meets)
        count = len(self.head.mean)
        normals[:count] = self.head.smooth @ normals[:count]
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        away = self.is_hair & (normals[:, 2] > 0)
        normals[away] *= -1
        return _Posed(points, normals, shape, turn, move, scale)

    def _visible(self, posed: _Posed, width: int, height: int, samples: int) -> Visible:
        points = posed.points * np.float32(samples)
        size = {"width": width * samples, "height": height * samples}
        return rasterise(points, self.triangles, both_sides=self.parts == HAIR, **size)

    def _dressed(self, seen: Visible) -> NDArray[np.bool_]:
        """(n,) neck pixels that the clothes cover."""
        place = np.zeros((len(self.shade), 2), np.float32)
        place[: len(self.head.texture)] = self.head.texture
        around, row = seen.interpolate(self.triangles, place).T
        on_neck = self.parts[seen.triangles] == NECK_PART
        return np.asarray(on_neck & (below_collar(self.person, around, row) > 0))

    def _shade(
        self, posed: _Posed, seen: Visible, scene: Scene, params: FaceParams, columns: int, samples: int
    ) -> Floats:
        """(n, 3) linear colours of the visible points."""
        light = np.maximum(sh_basis(posed.normals) @ scene.light, 0.015) * self.shade[:, None]
        half = scene.key + np.array([0, 0, -1], np.float32)
        facing = np.maximum(posed.normals @ (half / np.linalg.norm(half)), 0)
        glow = self.shine * self.shade * facing**14
        values = np.concatenate([light, glow[:, None], self.texture], 1).astype(np.float32)
        values = seen.interpolate(self.triangles, values)
        rows = -(-len(values) // 1024)
        place = np.zeros((rows * 1024, 2), np.float32)
        place[: len(values)] = values[:, 4:]
        albedo = cv2.remap(
            self.atlas, place.reshape(rows, 1024, 2), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        colour = albedo.reshape(-1, 3)[: len(values)] * values[:, :3] + values[:, 3:4] * scene.key_colour
        part = self.parts[seen.triangles]
        opening = np.flatnonzero((part == EYES) | (part == MOUTH))
        if len(opening):
            colour[opening] = self._openings(posed, seen, opening, scene, params, columns, samples)
        return np.asarray(colour, np.float32)

    def _openings(
        self, posed: _Posed, seen: Visible, which: Ints, scene: Scene, params: FaceParams, columns: int, samples: int
    ) -> Floats:
        """(m, 3) linear colours of eyes and mouth at the visible points `which`."""
        part = Visible(seen.pixels[which], seen.triangles[which], seen.second[which], seen.third[which])
        places = np.stack([part.pixels % columns + 0.5, part.pixels // columns + 0.5], 1) / samples
        shade = part.interpolate(self.triangles, self.lid_shade)[:, 0]
        kind, left = self.parts[part.triangles], self.left_eye[part.triangles]
        colour = np.zeros((len(which), 3), np.float32)
        balls = self._eyeballs(posed, params)
        for ball, inside in zip(balls, ((kind == EYES) & ~left, (kind == EYES) & left), strict=True):
            colour[inside] = shade_eye(ball, places[inside], shade[inside], self.person, scene, 1 / samples)
        inside = kind == MOUTH
        origin = np.concatenate([places[inside], np.zeros((int(inside.sum()), 1))], 1)
        origin = (origin - posed.translation) @ posed.rotation / posed.scale
        teeth = self._teeth(posed.shape)
        colour[inside] = shade_mouth(teeth, origin, posed.rotation[2], shade[inside], self.person, scene)
        return colour

    def _eyeballs(self, posed: _Posed, params: FaceParams) -> list[Eyeball]:
        middle, width = (x.numpy() for x in eye_frames(torch.from_numpy(posed.shape)))
        gaze = params.gaze[0].double()
        turns = angles_to_rotation(torch.cat([gaze, torch.zeros(2, 1, dtype=gaze.dtype)], 1)).numpy()
        balls = []
        for i in range(2):
            offsets = self.iris_offsets[i]
            centre = middle[i] + width[i] * (offsets[0] + [0, 0, EYEBALL_RADIUS])
            centre = posed.scale * posed.rotation @ centre + posed.translation
            iris = tuple(float(np.linalg.norm(offsets[a] - offsets[b])) / 2 for a, b in ((1, 3), (2, 4)))
            axes = posed.rotation @ turns[i]
            balls.append(Eyeball(centre, axes, posed.scale * float(width[i]), (iris[0], iris[1])))
        return balls

    def _teeth(self, shape: NDArray[np.float64]) -> Teeth:
        fall = float(shape[CHIN, 1] - self.rest[CHIN, 1])
        upper, lower = float(self.rest[13, 1]), float(self.rest[14, 1])
        edge = upper + UPPER_EDGE
        return Teeth(
            front=float(self.rest[[13, 14], 2].mean()) + TEETH_BEHIND_LIPS,
            upper=edge,
            lower=max(edge - 0.01, lower - LOWER_EDGE + 0.9 * max(fall, 0.0)),
        )


@lru_cache(maxsize=1)
def _lid_shades() -> Floats:
    """(v, 1) light at the head's vertices in the openings: dark under the upper lid and the upper lip."""
    face, shade = mean_points(), np.ones(FACE_POINTS)
    for contour in (RIGHT_EYE, LEFT_EYE, LIPS_INNER):
        middle = face[list(contour), 1].mean()
        for landmark in contour:
            shade[landmark] = 0.45 if face[landmark, 1] < middle else 1.0
        for corner in (contour[0], contour[len(contour) // 2]):
            shade[corner] = 0.6
    spread = head_mesh().from_face @ shade.astype(np.float32)
    return np.asarray(spread.clip(0.4, 1)[:, None], np.float32)


def _to_uint8(linear: Floats) -> NDArray[np.uint8]:
    """Linear light to sRGB, the inverse of `synthetic_texture.to_linear`."""
    return np.asarray((np.sqrt(linear.clip(0, 1)) * 255 + 0.5).astype(np.uint8))
