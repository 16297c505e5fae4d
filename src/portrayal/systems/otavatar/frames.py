"""Faces with their cameras, out of a clip folder: single pictures for EG3D, pairs of one clip for Algorithm 1."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from portrayal.data.clips import Split
from portrayal.data.pairs import PairClip, PairData
from portrayal.data.shot import Shot
from portrayal.media.image import to_uint8
from portrayal.systems.otavatar.coefficients import face_square, square_camera
from portrayal.types import Portrait, move

DECODED = 4 / 3
"""Side of the frames of clips in sides of EG3D's square around their face."""


def decoded_side(size: int, framing: float) -> int:
    """Side of the decoded frames of which pictures of `size` are cut."""
    return round(size * DECODED / framing)


def frame_face(shot: Shot, size: int, *, framing: float = 1.0) -> tuple[Shot, Tensor]:
    """The square around a face (`coefficients.face_square`) and its camera (25,).

    Beyond the picture its border goes on.
    """
    rotation, translation = (
        torch.from_numpy(shot.rotation.copy())[None],
        torch.from_numpy(shot.translation.copy())[None],
    )
    scale = torch.tensor([shot.scale])
    side, centre = face_square(rotation, translation, scale, framing=framing)
    k = size / float(side)
    corner = centre[0].numpy() - float(side) / 2
    matrix = np.array([[k, 0, -k * corner[0]], [0, k, -k * corner[1]]])
    matrix[:, 2] += (k - 1) / 2  # OpenCV counts pixel centres at integers
    picture = cv2.warpAffine(
        shot.picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    offset = np.array([*corner, 0], np.float32)
    moved = replace(
        shot,
        picture=np.asarray(picture, np.uint8),
        landmarks=np.asarray((shot.landmarks - offset) * k, np.float32),
        translation=np.asarray((shot.translation - offset) * k, np.float32),
        scale=shot.scale * k,
    )
    return moved, square_camera(rotation, translation, scale, framing=framing)[0]


def frame_portrait(portrait: Portrait, size: int, *, framing: float = 1.0) -> tuple[Shot, Tensor]:
    """`frame_face` of a portrait, which is reduced before as the frames of clips are."""
    picture, params = to_uint8(portrait.image)[0], move(portrait.params, "cpu")
    side, _ = face_square(params.rotation, params.translation, params.scale, framing=framing)
    reduced = round(len(picture) * size / float(side))
    shown = (
        picture if reduced >= len(picture) else cv2.resize(picture, (reduced, reduced), interpolation=cv2.INTER_AREA)
    )
    return frame_face(Shot.of(np.asarray(shown, np.uint8), params, 0, side=len(picture)), size, framing=framing)


class FaceFrames(PairData):
    """Single faces. A sample holds `picture` (3, s, s) uint8, `camera` (25,) and `landmarks` (478, 2), pixels of it.

    With `pairs` the same person from another place, too, with `other_` before the names: another frame of the clip, or
    the photo in a mirror.

    Args: as of `PairData`; `size` is that of the result, and
        photo_share: of the samples that are portraits of `photos.csv`.
        mirror: mirror every second picture.
        framing: `GeneratorConfig.framing`.
    """

    def __init__(
        self,
        root: Path | str,
        split: Split,
        *,
        size: int,
        seed: int,
        samples: int,
        photo_share: float = 0.0,
        mirror: bool = True,
        pairs: bool = False,
        framing: float = 1.0,
        cache: Path | None = None,
    ) -> None:
        self.face_size, self.photo_share, self.mirror = size, photo_share, mirror
        self.roles = ("", "other_") if pairs else ("",)
        self.framing = framing
        variants = 1 if photo_share else 0
        decoded = decoded_side(size, framing)
        super().__init__(root, split, size=decoded, seed=seed, samples=samples, variants=variants, cache=cache)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """
        Raises:
            BadSample: the clip or photo that is drawn cannot be used; the training takes another sample.
        """
        rng = np.random.Generator(np.random.PCG64([self.seed, index]))
        shots = self._draw(rng)
        mirrored = self.mirror and rng.random() < 0.5
        sample: dict[str, Tensor] = {}
        for role, shot in zip(self.roles, shots, strict=True):
            face, camera = frame_face(shot.mirrored() if mirrored else shot, self.face_size, framing=self.framing)
            landmarks = torch.from_numpy(face.landmarks[:, :2].copy())
            own = {"picture": as_tensor(face.picture), "camera": camera, "landmarks": landmarks}
            sample |= {f"{role}{name}": value for name, value in own.items()}
        return sample

    def _draw(self, rng: Generator) -> list[Shot]:
        """One for each of `roles`."""
        count = len(self.roles)
        if self.table.photos and rng.random() < self.photo_share:
            photo = self.table.photos[rng.integers(len(self.table.photos))]
            still = self.photos.draw(photo, rng)[0]
            return [still, still.mirrored()][:count]
        chosen = draw_clip(self, rng)
        frames = rng.choice(chosen.frames, count, replace=False).tolist()
        pictures, params = self.frames.read(chosen.clip, frames), self.labels.read(chosen.clip, frames)
        side = self.side(chosen.clip)
        return [Shot.of(picture, params, i, side=side) for i, picture in enumerate(pictures)]


def draw_clip(data: PairData, rng: Generator) -> PairClip:
    """A person, then one of the person's clips."""
    clips = data.table.people[rng.integers(len(data.table.people))]
    return clips[rng.integers(len(clips))]


def as_tensor(picture: NDArray[np.uint8]) -> Tensor:
    """(s, s, 3) to (3, s, s)."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
