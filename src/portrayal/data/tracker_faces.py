"""Training samples for the face tracker: crops with landmarks, and tiles with several small faces.

A sample depends on (seed, index) alone, so a resumed run sees what an uninterrupted one would.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

from portrayal.data import augment
from portrayal.data.clips import (
    Split,
    clip_table,
    load_clip_landmarks,
    load_photo_landmarks,
    photo_table,
)
from portrayal.data.edited_faces import edited_faces
from portrayal.errors import InputError
from portrayal.face.box import Matrix, box_of_landmarks, crop_matrix, transform_points, warp
from portrayal.face.config import Config
from portrayal.face.topology import FACE_OVAL, MIRROR
from portrayal.media.image import read_image
from portrayal.media.video import read_frames

HELD_OUT_SCENES = frozenset(
    f"scene{n:03d}"
    for n in (
        0, 1, 2, 3, 4, 27, 28, 30, 34, 39, 47, 50, 52, 64, 73, 75, 77, 78, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90,
        91, 92, 93, 94, 95, 96, 97, 108, 170, 171, 176, 178, 239, 241, 244, 251, 252, 256, 260, 261, 264, 265, 267, 270,
        272, 276, 288, 291, 295, 299, 300, 303, 58, 59, 60, 69, 186,
    )
)  # fmt: skip
"""Scenes kept for validation: whole groups of look-alikes (identity embeddings closer than 0.5), every one that may
show a validation identity, and five without faces."""
LOOK_ALIKES = frozenset({"id206"})
"""Photo identities that may be validation people under another label; not trained on."""
MAX_FACES = 6
"""Faces a tile can hold."""


@dataclass
class Face:
    """One labelled picture; `landmarks` (n, 478, 3) of its n faces, in pixels."""

    picture: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


@dataclass
class FacePool:
    """All labelled pictures of a split, in memory."""

    clips: list[list[Face]] = field(default_factory=list)
    photos: list[Face] = field(default_factory=list)
    edited: list[Face] = field(default_factory=list)
    """Photos with other expressions, see `data.edited_faces`."""
    scenes: list[Face] = field(default_factory=list)
    faceless: list[NDArray[np.uint8]] = field(default_factory=list)

    def draw(self, rng: Generator) -> Face:
        """A labelled face: clips for motion, photos and scenes for variety."""
        kind = rng.random()
        if self.clips and (kind < 0.5 or not self.photos):
            clip = self.clips[rng.integers(len(self.clips))]
            return clip[rng.integers(len(clip))]
        if self.edited and kind < 0.7:
            return self.edited[rng.integers(len(self.edited))]
        pool = self.photos if kind < 0.85 or not self.scenes else self.scenes
        return pool[rng.integers(len(pool))]


def load_pool(root: Path | str, split: Split, *, every: int = 2, edits: int = 0) -> FacePool:
    """Read a data folder (see `data.clips`); of clips every `every`-th frame, and of each photo `edits` edited ones.

    Raises:
        MissingFileError: a table or picture does not exist. InputError: a table is not as documented.
    """
    root = Path(root)
    pool = FacePool()
    for clip in clip_table(root, split):
        landmarks, valid = load_clip_landmarks(root, clip)
        frames = [frame.image for frame in islice(read_frames(clip.video), 0, None, every)]
        faces = zip(frames, landmarks[::every], valid[::every], strict=False)
        pool.clips.append([Face(frame, points[None]) for frame, points, seen in faces if seen])
    if (root / "photos.csv").is_file():
        labels = load_photo_landmarks(root)
        for photo in photo_table(root, split):
            if split == "validation" or photo.identity not in LOOK_ALIKES:
                pool.photos.append(Face(read_image(photo.picture), labels[photo.row][None]))
    for row, face in enumerate(track(pool.photos, "photos with other expressions") if edits else ()):
        rng = np.random.Generator(np.random.PCG64([0, row]))
        edited = edited_faces(face.picture, face.landmarks[0], rng, count=edits)
        pool.edited += [Face(picture, points[None]) for picture, points in edited]
    if (root / "scenes.csv").is_file():
        for name, points in scene_table(root, split):
            picture = read_image(root / "scenes" / f"{name}.jpg")
            if len(points):
                pool.scenes.append(Face(picture, points))
            else:
                pool.faceless.append(picture)
    if not pool.clips and not pool.photos:
        raise InputError(f"{root} holds no {split} faces; see docs/training.md for the layout")
    return pool


def scene_table(root: Path | str, split: Split) -> list[tuple[str, NDArray[np.float32]]]:
    """(scene, landmarks (n, 478, 3) px) of uncropped pictures; n = 0 where nobody is in them."""
    with np.load(Path(root) / "scenes_landmarks.npz") as arrays:
        labels = {name: arrays[name].astype(np.float32) / 8 for name in arrays.files}
    names = [line.split(",")[0] for line in (Path(root) / "scenes.csv").read_text().splitlines()[1:]]
    empty = np.zeros((0, 478, 3), np.float32)
    return [(name, labels.get(name, empty)) for name in names if (name in HELD_OUT_SCENES) == (split == "validation")]


class TrackerFaces(Dataset[dict[str, Tensor]]):
    """Endless samples: a crop with its landmarks, and on every second index a detector tile.

    Keys: crop (3, s, s) uint8; landmarks (478, 3) in [-1, 1] of the crop; is_face (); tile (3, s, s) uint8;
    tile_faces (6, 4) face boxes in tile pixels, side 0 where there is none.
    """

    def __init__(self, pool: FacePool, config: Config, *, seed: int, samples: int) -> None:
        self.pool, self.config, self.seed, self.samples = pool, config, seed, samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.Generator(np.random.PCG64([self.seed, index]))
        crop, landmarks, is_face = draw_crop(self.pool, self.config, rng)
        sample = {"crop": _chw(crop), "landmarks": torch.from_numpy(landmarks), "is_face": torch.tensor(is_face)}
        if index % 2 == 0:
            tile, faces = draw_tile(self.pool, self.config, rng)
            sample |= {"tile": _chw(tile), "tile_faces": torch.from_numpy(faces)}
        return sample


def collate(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stack; tiles come with half of the samples."""
    keys = {key for sample in samples for key in sample}
    return {key: torch.stack([sample[key] for sample in samples if key in sample]) for key in keys}


def draw_crop(pool: FacePool, config: Config, rng: Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32], float]:
    """One augmented input of the landmark network: crop, landmarks in [-1, 1], 1 or 0 (no face)."""
    size = config.crop_size
    if rng.random() < 0.15:
        nothing = draw_background(pool, size, rng) if rng.random() < 0.6 else _draw_wrong_crop(pool, size, rng)
        return _quality(nothing, rng), np.zeros((478, 3), np.float32), 0.0
    face = pool.draw(rng)
    landmarks = face.landmarks[rng.integers(len(face.landmarks))]
    matrix = _crop_matrix(landmarks, config, rng)
    border = augment.BORDERS[rng.integers(len(augment.BORDERS))]
    crop = warp(face.picture, matrix, (size, size), border=border)
    points = transform_points(landmarks, matrix)
    if rng.random() < 0.15:
        crop = augment.paste_background(crop, points[list(FACE_OVAL), :2], draw_background(pool, size, rng), rng)
    if rng.random() < 0.25:
        texture = draw_background(pool, size, rng) if rng.random() < 0.5 else None
        crop = augment.occlude(crop, rng, texture=texture)
    points = points / (size / 2) - np.array([1, 1, 0], np.float32)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
        points = points[list(MIRROR)] * np.array([-1, 1, 1], np.float32)
    return _quality(np.ascontiguousarray(crop), rng), points.astype(np.float32), 1.0


def _crop_matrix(landmarks: NDArray[np.float32], config: Config, rng: Generator) -> Matrix:
    """A crop as a detector or the last frame would place it, with their errors and a little shear."""
    x, y, side, roll = box_of_landmarks(landmarks)
    wild = rng.random() < 0.2
    roll += rng.uniform(-0.85, 0.85) if wild else rng.normal(0, 0.2)
    shift = rng.normal(0, 0.08 if wild else 0.04, 2) * side
    side *= config.crop_margin * np.exp(rng.normal(0, 0.18 if wild else 0.08))
    matrix = crop_matrix(np.array([x + shift[0], y + shift[1], side, roll]), config.crop_size)
    if rng.random() < 0.4:
        stretch = np.eye(2) + rng.normal(0, 0.05, (2, 2))
        middle = np.full(2, config.crop_size / 2)
        linear = stretch @ matrix[:, :2]
        matrix = np.concatenate([linear, (stretch @ (matrix[:, 2] - middle) + middle)[:, None]], 1)
    return matrix


def _draw_wrong_crop(pool: FacePool, size: int, rng: Generator) -> NDArray[np.uint8]:
    """A crop that a wrong detection would give: a part of a face, a face far too small, or one beside the middle."""
    face = pool.draw(rng)
    x, y, side, roll = box_of_landmarks(face.landmarks[rng.integers(len(face.landmarks))])
    kind = rng.random()
    if kind < 0.4:
        factor, reach = rng.uniform(0.2, 0.5), 0.6
    elif kind < 0.6:
        factor, reach = rng.uniform(3.0, 5.0), 1.0
    else:
        factor, reach = rng.uniform(0.6, 1.8), 1.2
    direction = rng.uniform(0, 2 * np.pi)
    distance = side * (rng.uniform(0, reach) if kind < 0.6 else reach * max(factor, 1.0))
    centre = (x + distance * np.cos(direction), y + distance * np.sin(direction))
    return _cut(face.picture, centre, factor * side, size, rng, roll=roll)


def draw_background(pool: FacePool, size: int, rng: Generator) -> NDArray[np.uint8]:
    """(size, size, 3) without a whole face: a faceless scene, a place away from faces, or a huge close-up."""
    if pool.faceless and rng.random() < 0.4:
        picture = pool.faceless[rng.integers(len(pool.faceless))]
        h, w = picture.shape[:2]
        side = np.exp(rng.uniform(np.log(0.15), np.log(1.2))) * min(h, w)
        centre = (rng.uniform(0, w), rng.uniform(0, h))
        return _cut(picture, centre, side, size, rng)
    for _ in range(8):
        wide = bool(pool.scenes) and rng.random() < 0.6  # scenes show most beside faces
        face = pool.scenes[rng.integers(len(pool.scenes))] if wide else pool.draw(rng)
        h, w = face.picture.shape[:2]
        boxes = [box_of_landmarks(points) for points in face.landmarks]
        side = np.exp(rng.uniform(np.log(0.1), np.log(0.8))) * min(h, w)
        middle = np.array([rng.uniform(0, w), rng.uniform(0, h)])
        if all(side < 0.35 * b[2] or np.abs(middle - b[:2]).max() > 0.55 * (b[2] + side) for b in boxes):
            return _cut(face.picture, (middle[0], middle[1]), side, size, rng)
    return np.broadcast_to(rng.integers(0, 256, 3).astype(np.uint8), (size, size, 3)).copy()


def draw_tile(pool: FacePool, config: Config, rng: Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """One detector picture: whole pictures at small scale, or faces pasted onto a background.

    Returns:
        (s, s, 3) uint8 and (6, 4) face boxes in its pixels (side 0: none).
    """
    size = config.tile_size
    tile = draw_background(pool, size, rng)
    boxes: list[NDArray[np.float64]] = []
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.15, 0.35, 0.3, 0.2])):
        tile, boxes = _add_face(tile, boxes, pool, config, rng)
    faces = np.zeros((MAX_FACES, 4), np.float32)
    inside = [b for b in boxes if (b[:2] >= 0).all() and (b[:2] < size).all()][:MAX_FACES]
    if inside:
        faces[: len(inside)] = inside
    if rng.random() < 0.5:
        tile = np.ascontiguousarray(tile[:, ::-1])
        faces[:, 0], faces[:, 3] = np.where(faces[:, 2] > 0, size - faces[:, 0], 0), -faces[:, 3]
    return _quality(tile, rng), faces


def _add_face(
    tile: NDArray[np.uint8], boxes: list[NDArray[np.float64]], pool: FacePool, config: Config, rng: Generator
) -> tuple[NDArray[np.uint8], list[NDArray[np.float64]]]:
    """Draw a picture into the tile so that its first face has a wanted size, angle and place.

    Faces that the new picture covers are dropped; the picture's other faces come along.
    """
    size, (low, high) = config.tile_size, config.face_sizes
    face = pool.draw(rng)
    picked = box_of_landmarks(face.landmarks[rng.integers(len(face.landmarks))])
    side = np.exp(rng.uniform(np.log(low * 0.9), np.log(high * 1.4)))
    angle = rng.normal(0, 0.15) if rng.random() < 0.5 else rng.uniform(-0.95, 0.95)
    target = rng.uniform(-0.05, 1.05, 2) * size
    matrix = crop_matrix(np.array([picked[0], picked[1], size * picked[2] / side, picked[3] - angle]), size)
    matrix[:, 2] += target - size / 2
    drawn = warp(face.picture, matrix, (size, size), border=cv2.BORDER_CONSTANT)
    h, w = face.picture.shape[:2]
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]]) @ matrix[:, :2].T + matrix[:, 2]
    mask = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(mask, corners.round().astype(np.int32), 255)
    if rng.random() < 0.4:  # only the head, so that frames around pictures tell nothing
        keep = np.zeros_like(mask)
        radius = (rng.uniform(0.65, 1.3) * side, rng.uniform(0.8, 1.4) * side)
        cv2.ellipse(keep, (target.tolist(), (2 * radius[0], 2 * radius[1]), np.degrees(angle)), 255, -1)
        mask &= keep
    mask = cv2.erode(mask, np.ones((3, 3), np.uint8))
    kept = [b for b in boxes if mask[_clip(b[1], size), _clip(b[0], size)] == 0 and not _covered(mask, b)]
    added = [box_of_landmarks(transform_points(points, matrix)) for points in face.landmarks]
    added = [b for b in added if mask[_clip(b[1], size), _clip(b[0], size)] > 0]
    return np.where(mask[..., None] > 0, drawn, tile), kept + added


def _covered(mask: NDArray[np.uint8], box: NDArray[np.float64]) -> bool:
    """More than a third of the face box lies under the mask."""
    x0, y0 = (box[:2] - box[2] / 2).astype(int).clip(0)
    x1, y1 = (box[:2] + box[2] / 2).astype(int).clip(1)
    part = mask[y0:y1, x0:x1]
    return bool(part.size and (part > 0).mean() > 0.33)


def _clip(value: float, size: int) -> int:
    return int(np.clip(value, 0, size - 1))


def _cut(
    picture: NDArray[np.uint8],
    centre: tuple[float, float],
    side: float,
    size: int,
    rng: Generator,
    *,
    roll: float = 0.0,
) -> NDArray[np.uint8]:
    matrix = crop_matrix(np.array([*centre, side, roll + rng.uniform(-0.5, 0.5)]), size)
    return warp(picture, matrix, (size, size), border=cv2.BORDER_REFLECT)


def _quality(picture: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
    return augment.degrade(augment.jitter_colour(picture, rng), rng)


def _chw(picture: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
