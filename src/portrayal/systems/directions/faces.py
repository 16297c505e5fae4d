"""Framed faces out of a clip folder: what the generator learns to draw and the encoder to read."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from portrayal.data.bad import BadSample
from portrayal.data.clip_labels import ClipLabels
from portrayal.data.clips import Photo, Split
from portrayal.data.frames import FrameCache
from portrayal.data.pairs import PairClip, draw_frames, pair_table
from portrayal.data.pseudo_pairs import load_landmarks
from portrayal.errors import InputError
from portrayal.face.align import ffhq_square
from portrayal.face.box import crop_matrix, transform_points, warp
from portrayal.face.topology import MIRROR
from portrayal.media.image import read_image
from portrayal.media.video import probe
from portrayal.systems.directions.config import Config
from portrayal.train.stage import Batch
from portrayal.types import FaceParams

LARGEST_FRAME = 256
"""Side in pixels at which frames of clips are kept: about what their makers prepare them at."""
_FLIP = np.array([-1, 1, 1], np.float32)


@dataclass(frozen=True)
class FramedFace:
    """One face as the generator draws it."""

    picture: NDArray[np.uint8]
    """(s, s, 3) RGB."""
    landmarks: NDArray[np.float32]
    """(478, 3) pixels of it."""

    def mirrored(self) -> FramedFace:
        """As a mirror shows it."""
        points = self.landmarks[list(MIRROR)] * _FLIP + np.array([len(self.picture), 0, 0], np.float32)
        return FramedFace(self.picture[:, ::-1], points)

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """`image` (3, s, s) uint8 and `landmarks` (478, 3) float32, with a prefix before both names."""
        return {
            f"{prefix}image": torch.from_numpy(np.ascontiguousarray(self.picture.transpose(2, 0, 1))),
            f"{prefix}landmarks": torch.from_numpy(np.ascontiguousarray(self.landmarks, np.float32)),
        }

    def as_input(self) -> Tensor:
        """(1, 3, s, s) in [-1, 1]."""
        return as_input(self.tensors()["image"][None])


def frame_face(picture: NDArray[np.uint8], landmarks: NDArray[np.floating], *, size: int, upright: bool) -> FramedFace:
    """Cut a face as FFHQ does; beyond the picture's border it goes on mirrored.

    Args:
        picture: (h, w, 3) RGB. landmarks: (478, 3) pixels of it.
        size: side of the result in pixels.
        upright: see `Config.alignment`.
    """
    matrix = crop_matrix(ffhq_square(landmarks, upright=upright), size)
    cut = warp(picture, matrix, (size, size), border=cv2.BORDER_REFLECT)
    return FramedFace(cut, transform_points(landmarks, matrix))


def frame_squares(params: FaceParams, *, upright: bool) -> Tensor:
    """(t, 4) the squares of `frame_face` as x, y, side, roll in the pixels of `params`."""
    points = params.landmarks.cpu().numpy()
    return torch.stack([torch.from_numpy(ffhq_square(one, upright=upright)) for one in points]).to(params.landmarks)


class FramedFaces(Dataset[dict[str, Tensor]]):
    """Single faces (`image`, `landmarks`), or with `pairs` two of one clip (`source_`, `driving_` before both).

    A sample is a function of the data, the seed and its index alone.

    Args:
        root: clip folder. split: its half.
        pairs: two different frames of a clip; photos are left out.

    Raises:
        InputError: as `data.pairs.pair_table`.
    """

    def __init__(
        self, root: Path | str, split: Split, config: Config, *, seed: int, samples: int, pairs: bool = False
    ) -> None:
        self.root, self.config, self.seed, self.samples, self.pairs = Path(root), config, seed, samples, pairs
        self.photo_share = 0.0 if pairs else config.photo_share
        self.table = pair_table(root, split, photos=self.photo_share > 0)
        self._sides: dict[str, int] = {}
        self.cache_in(None)

    def cache_in(self, folder: Path | None) -> None:
        """Use this folder for decoded frames and fitted labels from now on; None keeps nothing."""
        side = min(2 * self.config.image_size, LARGEST_FRAME)
        self.frames, self.labels = FrameCache(folder, side), ClipLabels(folder)

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """
        Raises:
            BadSample: the clip or photo that is drawn cannot be used; the training takes another sample.
        """
        rng = np.random.Generator(np.random.PCG64([self.seed, index]))
        mirrored = self.config.mirror and bool(rng.random() < 0.5)
        if rng.random() < self.photo_share:
            faces = [self._photo(self.table.photos[rng.integers(len(self.table.photos))])]
        else:
            faces = self._clip(rng)
        faces = [face.mirrored() if mirrored else face for face in faces]
        prefixes = ("source_", "driving_") if self.pairs else ("",)
        sample: dict[str, Tensor] = {}
        for face, prefix in zip(faces, prefixes, strict=True):
            sample |= face.tensors(prefix)
        return sample

    def _clip(self, rng: Generator) -> list[FramedFace]:
        """One frame of a clip, or two of them."""
        clips = self.table.people[rng.integers(len(self.table.people))]
        chosen: PairClip = clips[rng.integers(len(clips))]
        frames = draw_frames(chosen.frames, 1, rng)[: 2 if self.pairs else 1]
        params, pictures = self.labels.read(chosen.clip, frames), self.frames.read(chosen.clip, frames)
        if chosen.clip.name not in self._sides:
            self._sides[chosen.clip.name] = probe(chosen.clip.video).height
        scale = self.frames.size / self._sides[chosen.clip.name]
        points = params.landmarks.numpy() * np.float32(scale)
        return [self._framed(picture, own) for picture, own in zip(pictures, points, strict=True)]

    def _photo(self, photo: Photo) -> FramedFace:
        landmarks = load_landmarks(self.root)
        if photo.row >= len(landmarks):
            sentence = f"{self.root / 'photos.npz'}: landmarks has {len(landmarks)} rows, photos.csv more lines"
            raise InputError(f"{sentence}; copy both again")
        try:
            return self._framed(read_image(photo.picture), landmarks[photo.row])
        except InputError as error:
            raise BadSample(photo.name, str(error)) from error

    def _framed(self, picture: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> FramedFace:
        return frame_face(picture, landmarks, size=self.config.image_size, upright=self.config.alignment == "upright")


def as_input(pictures: Tensor) -> Tensor:
    """(b, 3, s, s) uint8 to floats in [-1, 1], the generator's range."""
    return pictures.float() / 127.5 - 1


@lru_cache(maxsize=4)
def first_faces(root: Path, split: Split, config: Config, count: int, pairs: bool = False) -> Batch:
    """The first `count` faces, or pairs, of one half in the order of seed 0, unmirrored; bad samples are left out."""
    faces = FramedFaces(root, split, replace(config, mirror=False), seed=0, samples=count, pairs=pairs)
    samples = []
    with torch.autocast("cpu", enabled=False):  # labels are fitted here and not in a worker
        for i in range(count):
            with suppress(BadSample):
                samples.append(faces[i])
    return default_collate(samples)


def held_out(root: Path, config: Config, count: int, pairs: bool = False) -> Batch:
    """Validation faces, or pairs; of a folder without any, training faces."""
    try:
        return first_faces(root, "validation", config, count, pairs)
    except InputError:
        return first_faces(root, "train", config, count, pairs)
