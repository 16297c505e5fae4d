"""Two frames of one clip with their cameras and windows of coefficients: lines 2 of Algorithm 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from portrayal.data.clips import Split
from portrayal.data.pairs import PairData
from portrayal.data.shot import Shot
from portrayal.systems.otavatar.coefficients import face_coefficients, mirror_coefficients, window_frames
from portrayal.systems.otavatar.frames import as_tensor, decoded_side, draw_clip, frame_face
from portrayal.types import FaceParams

ROLES = ("source", "driving")
PHOTO_VARIANTS = 2
"""Moved pictures of each photo."""
Framed = tuple[Shot, Tensor]
"""A face and its window (27, rows)."""


@dataclass(frozen=True)
class Faces:
    """Pictures with what is known of them: I, p and x of Algorithm 1."""

    picture: Tensor
    """(b, 3, s, s) in [-1, 1]."""
    landmarks: Tensor
    """(b, 478, 2) pixels."""
    camera: Tensor
    """(b, 25), p."""
    window: Tensor
    """(b, rows, 27), x."""

    @classmethod
    def of(cls, batch: Mapping[str, Tensor]) -> Faces:
        """Sources first, then the driving frames, 2 b faces of a batch of b pairs (`FramePairs`)."""

        def both(name: str) -> Tensor:
            return torch.cat([batch[f"{role}_{name}"] for role in ROLES])

        return cls(both("picture").float() / 127.5 - 1, both("landmarks"), both("camera"), both("window"))


class FramePairs(PairData):
    """Pairs of frames. A sample holds for source and driving: `<role>_picture` (3, s, s) uint8, `_landmarks` (478, 2)
    pixels of it, `_camera` (25,), `_window` (rows, 27).

    Args: as of `PairData`; `size` is that of the result; rows: coefficients per frame; framing: as of `FaceFrames`;
        photo_share, mirror: as of `DecoupleConfig`. The window of a photo is 27 times the same.

    Differs: the official code draws frames with a lively expression more often; Algorithm 1 draws all alike.
    """

    def __init__(
        self,
        root: Path | str,
        split: Split,
        *,
        size: int,
        seed: int,
        samples: int,
        rows: int,
        framing: float = 1.0,
        photo_share: float = 0.0,
        mirror: bool = False,
        cache: Path | None = None,
    ) -> None:
        self.face_size, self.rows, self.framing = size, rows, framing
        self.photo_share, self.mirror = photo_share, mirror
        decoded, variants = decoded_side(size, framing), PHOTO_VARIANTS if photo_share else 0
        super().__init__(root, split, size=decoded, seed=seed, samples=samples, variants=variants, cache=cache)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """
        Raises:
            BadSample: the clip or photo that is drawn cannot be used; the training takes another sample.
        """
        rng = np.random.Generator(np.random.PCG64([self.seed, index]))
        photo = bool(self.photo_share) and rng.random() < self.photo_share
        pair = self._of_photo(rng) if photo else self._of_clip(rng)
        if self.mirror and rng.random() < 0.5:
            pair = [(shot.mirrored(), mirror_coefficients(window)) for shot, window in pair]
        sample: dict[str, Tensor] = {}
        for role, (shot, window) in zip(ROLES, pair, strict=True):
            face, camera = frame_face(shot, self.face_size, framing=self.framing)
            sample |= {
                f"{role}_picture": as_tensor(face.picture),
                f"{role}_landmarks": torch.from_numpy(face.landmarks[:, :2].copy()),
                f"{role}_camera": camera,
                f"{role}_window": window.T.contiguous(),
            }
        return sample

    def _of_clip(self, rng: Generator) -> list[Framed]:
        chosen = draw_clip(self, rng)
        frames, side = rng.choice(chosen.frames, len(ROLES), replace=False).tolist(), self.side(chosen.clip)
        around = [self.labels.read(chosen.clip, window_frames(frame, chosen.clip.frames)) for frame in frames]
        pictures = self.frames.read(chosen.clip, frames)
        return [self._framed(*face, side) for face in zip(pictures, around, strict=True)]

    def _of_photo(self, rng: Generator) -> list[Framed]:
        pictures, params = self.photos.read(self.table.photos[rng.integers(len(self.table.photos))], rng)
        still = window_frames(0, 1)  # of a clip of one frame
        return [self._framed(picture, params[i][still], self.size) for i, picture in enumerate(pictures)]

    def _framed(self, picture: NDArray[np.uint8], around: FaceParams, side: int) -> Framed:
        """The face in the middle of a window, whose parameters are in pixels of a picture of `side`."""
        window = face_coefficients(around, width=side, height=side, rows=self.rows)
        return Shot.of(picture, around, len(around) // 2, side=side), window
