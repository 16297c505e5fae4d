"""Pairs of pictures of one face with their poses and head shapes, for landmark-guided training.

A pair is two frames of one clip; or a photo with itself, its face moved by meshwarp: then the moved one is the source
and the photo the truth, so that no artefact of the warp is ever learned as real. Both pictures of a pair are cut with
the one crop that `animate` would put around the source face.

A sample depends on (seed, index) alone.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

import portrayal.systems.meshwarp as meshwarp
from portrayal.data import augment
from portrayal.data.clips import Clip, Split, clip_table, load_clip_landmarks, load_photo_landmarks, photo_table
from portrayal.data.edited_faces import draw_edit
from portrayal.data.tracker_faces import LOOK_ALIKES
from portrayal.errors import InputError
from portrayal.face.measure import eye_openness
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.topology import MIRROR
from portrayal.media.crop import apply_crop, crop_around, params_to_crop
from portrayal.media.image import read_image, to_tensor, to_uint8
from portrayal.media.video import read_frames
from portrayal.motion.compose import head_shape
from portrayal.motion.edit import apply_edit
from portrayal.types import Driving, FaceParams, Portrait

EDITS_PER_PHOTO = 5
MOVED_SIDE = 288
"""Side in pixels of the photos' crops that are moved."""
PHOTO_SHARE = 0.35
"""Of the samples."""
FACE_SHARE = (1.75, 2.4)
"""Side of the crop in sides of the face's box."""


@dataclass(frozen=True)
class Faces:
    """Pictures of one face, all of one size, with everything a pair needs."""

    pictures: NDArray[np.uint8]
    """(t, h, w, 3), in memory or on disk."""
    rotation: NDArray[np.float32]
    """(t, 3, 3)."""
    scale: NDArray[np.float32]
    """(t,) pixels per head unit."""
    translation: NDArray[np.float32]
    """(t, 2) pixels."""
    shape: NDArray[np.float32]
    """(t, 478, 3) landmarks in the head frame."""
    neutral: NDArray[np.float32]
    """(478, 3) the person at rest, head frame."""

    @classmethod
    def of(cls, pictures: NDArray[np.uint8], params: FaceParams) -> Faces:
        model = load_face_model()
        neutral = model.shape(params.identity[:1], torch.zeros_like(params.expression[:1]))[0]
        tensors = (params.rotation, params.scale, params.translation[:, :2], head_shape(params), neutral)
        return cls(pictures, *(x.float().numpy() for x in tensors))

    def points(self, index: int) -> NDArray[np.float32]:
        """(478, 2) pixels."""
        turned = self.shape[index] @ self.rotation[index].T * self.scale[index]
        return turned[:, :2] + self.translation[index]


@dataclass(frozen=True)
class FacePool:
    """All faces of a split."""

    clips: list[list[Faces]]
    """By identity."""
    photos: list[Faces]
    """The photo first, then itself moved."""


def load_faces(root: Path, split: Split, *, cache: Path, edits: int = EDITS_PER_PHOTO) -> FacePool:
    """Read a data folder (see `data.clips`); frames are decoded once to files in `cache`.

    Raises:
        MissingFileError, InputError: as `clip_table` and its like.
    """
    by_identity: dict[str, list[Faces]] = {}
    for clip in track(clip_table(root, split), "reading clips"):
        landmarks, valid = load_clip_landmarks(root, clip)
        frames = decoded(clip, cache)
        seen = np.flatnonzero(valid[: len(frames)])
        if len(seen) < 2:
            continue
        faces = Faces.of(frames, _params(landmarks[: len(frames)], *frames.shape[2:0:-1]))
        by_identity.setdefault(clip.identity, []).append(_keep(faces, seen))
    photos = []
    if (root / "photos.csv").is_file():
        labels = load_photo_landmarks(root)
        for photo in track(photo_table(root, split), "moving photos"):
            if photo.identity not in LOOK_ALIKES:
                kept = cache / f"{photo.name}-{edits}.npz"
                if not kept.is_file():
                    faces = moved_photo(read_image(photo.picture), labels[photo.row], photo.row, edits)
                    partial = kept.with_suffix(f".{os.getpid()}.partial.npz")
                    np.savez(partial, **vars(faces))
                    os.replace(partial, kept)
                with np.load(kept) as arrays:
                    photos.append(Faces(**arrays))
    if not by_identity and not photos:
        raise InputError(f"{root} holds no {split} faces in pairs; see docs/training.md for the layout")
    return FacePool(list(by_identity.values()), photos)


def decoded(clip: Clip, cache: Path) -> NDArray[np.uint8]:
    """(t, h, w, 3) all frames of a clip, read from a file in `cache` that is made the first time."""
    status = clip.video.stat()
    mark = hashlib.sha256(f"{clip.video} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:12]
    path = cache / f"{clip.name}-{mark}.npy"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial.npy")
        np.save(partial, np.stack([frame.image for frame in read_frames(clip.video)]))
        os.replace(partial, path)
    frames: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return frames


def moved_photo(picture: NDArray[np.uint8], landmarks: NDArray[np.float32], row: int, edits: int) -> Faces:
    """A photo's crop, and its face moved `edits` times."""
    rng = np.random.Generator(np.random.PCG64([1, row]))
    params = _params(landmarks[None], picture.shape[1], picture.shape[0])
    crop = crop_around(params.landmarks, size=MOVED_SIDE, scale=2.1)
    own = params_to_crop(params, crop)
    image = apply_crop(picture, crop)
    moved = FaceParams.cat([apply_edit(own, draw_edit(rng, turn=2.0)) for _ in range(edits)])
    model = meshwarp.build(meshwarp.Config.compact())
    source = meshwarp.encode_source(model, Portrait(to_tensor(image), own))
    driving = Driving(moved, tuple(Fraction(t, 25) for t in range(edits)))
    rendered = [to_uint8(batch) for batch in meshwarp.render(model, source, driving)]
    return Faces.of(np.concatenate([image[None], *rendered]), FaceParams.cat([own, moved]))


def _params(landmarks: NDArray[np.float32], width: int, height: int) -> FaceParams:
    points = torch.from_numpy(np.ascontiguousarray(landmarks))
    return fit_params(load_face_model(), points, width=width, height=height, eye_openness=eye_openness(points))


def _keep(faces: Faces, seen: NDArray[np.int64]) -> Faces:
    """Only the frames with a face; `pictures` stays whole on disk and is read through an index."""
    return Faces(
        _Picked(faces.pictures, seen),  # type: ignore[arg-type]
        faces.rotation[seen],
        faces.scale[seen],
        faces.translation[seen],
        faces.shape[seen],
        faces.neutral,
    )


@dataclass(frozen=True)
class _Picked:
    """Some frames of a clip on disk."""

    frames: NDArray[np.uint8]
    index: NDArray[np.int64]

    def __getitem__(self, i: int) -> NDArray[np.uint8]:
        return np.asarray(self.frames[self.index[i]])

    def __len__(self) -> int:
        return len(self.index)


class FacePairs(Dataset[dict[str, Tensor]]):
    """Samples: for source and driving picture, under `source` and `driving` with these endings

    (3, s, s) uint8 picture; `_rotation` (3, 3), `_scale` (), `_translation` (2,) normalised over the crop;
    `_shape` (478, 3) head frame; `neutral` (478, 3) of the person; and of `more` other faces drawn at random, without
    pictures, `more_shape` and `more_neutral` (more, 478, 3).
    """

    def __init__(
        self, pool: FacePool, *, size: int, seed: int, samples: int, photo_share: float = PHOTO_SHARE, more: int = 0
    ) -> None:
        self.pool, self.size, self.seed, self.samples = pool, size, seed, samples
        self.photo_share, self.more = photo_share, more

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.Generator(np.random.PCG64([self.seed, index]))
        faces, source, driving = self._draw(rng)
        matrix = _crop_matrix(faces.points(source), self.size, rng)
        mirrored = bool(rng.random() < 0.5)
        colour = int(rng.integers(2**31)) if rng.random() < 0.7 else None
        sample: dict[str, Tensor] = {}
        for name, i in (("source", source), ("driving", driving)):
            picture = cv2.warpAffine(
                faces.pictures[i],
                _centres_at_integers(matrix),
                (self.size, self.size),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            if colour is not None:
                picture = augment.jitter_colour(picture, np.random.Generator(np.random.PCG64(colour)))
            sample |= _labelled(name, picture, faces, i, matrix, self.size, mirrored)
        sample["neutral"] = _mirrored(faces.neutral, mirrored)
        if self.more:
            others = [self._draw(rng) for _ in range(self.more)]
            sides = rng.random(self.more) < 0.5
            shapes = [_mirrored(f.shape[i], m) for (f, i, _), m in zip(others, sides, strict=True)]
            neutrals = [_mirrored(f.neutral, m) for (f, _, _), m in zip(others, sides, strict=True)]
            sample |= {"more_shape": torch.stack(shapes), "more_neutral": torch.stack(neutrals)}
        return sample

    def _draw(self, rng: Generator) -> tuple[Faces, int, int]:
        """A face and the numbers of its two pictures."""
        if self.pool.photos and (rng.random() < self.photo_share or not self.pool.clips):
            faces = self.pool.photos[rng.integers(len(self.pool.photos))]
            return faces, int(rng.integers(1, len(faces.pictures))), 0
        clips = self.pool.clips[rng.integers(len(self.pool.clips))]
        faces = clips[rng.integers(len(clips))]
        source, driving = rng.integers(len(faces.pictures), size=2).tolist()
        return faces, source, driving


def _mirrored(shape: NDArray[np.float32], mirrored: bool | np.bool_) -> Tensor:
    """(478, 3) head-frame points, as they are or of the mirrored face."""
    return torch.from_numpy(shape[list(MIRROR)] * np.array([-1, 1, 1], np.float32) if mirrored else shape)


def _crop_matrix(points: NDArray[np.float32], size: int, rng: Generator) -> NDArray[np.float64]:
    """(2, 3) picture to crop pixels: the crop around the source face, a little off, turned and of random tightness."""
    low, high = points.min(0), points.max(0)
    face = float((high - low).max())
    side = face * rng.uniform(*FACE_SHARE)
    centre = (low + high) / 2 + rng.normal(0, 0.03, 2) * side + np.array([0, -0.08]) * side
    angle = rng.normal(0, 0.08)
    linear = size / side * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.concatenate([linear, (size / 2 - linear @ centre)[:, None]], 1)


def _centres_at_integers(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """OpenCV counts pixel centres at integers, the project at half integers."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    return shifted


def _labelled(
    name: str,
    picture: NDArray[np.uint8],
    faces: Faces,
    i: int,
    matrix: NDArray[np.float64],
    size: int,
    mirrored: bool,
) -> dict[str, Tensor]:
    """One picture of a pair with its pose in the crop."""
    linear = matrix[:, :2]
    scale = float(np.hypot(*linear[0]))
    turn = np.eye(3)
    turn[:2, :2] = linear / scale
    rotation, shape = turn @ faces.rotation[i], faces.shape[i]
    translation = (linear @ faces.translation[i] + matrix[:, 2]) * 2 / size - 1
    if mirrored:
        flip = np.diag([-1.0, 1.0, 1.0])
        picture, rotation, shape = picture[:, ::-1], flip @ rotation @ flip, shape[list(MIRROR)] * [-1, 1, 1]
        translation = translation * [-1, 1]
    arrays = {
        "rotation": rotation,
        "translation": translation,
        "shape": shape,
    }
    sample = {f"{name}_{k}": torch.from_numpy(np.ascontiguousarray(v, dtype=np.float32)) for k, v in arrays.items()}
    sample[f"{name}_scale"] = torch.tensor(float(faces.scale[i]) * scale * 2 / size)
    return sample | {name: torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))}
