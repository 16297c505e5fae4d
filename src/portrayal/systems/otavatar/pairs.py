"""Two frames of one clip with their cameras and windows of coefficients: lines 2 of Algorithm 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portrayal.data.clips import Split
from portrayal.data.pairs import PairClip, PairData
from portrayal.data.shot import Shot
from portrayal.systems.otavatar.coefficients import face_coefficients, window_frames
from portrayal.systems.otavatar.frames import as_tensor, decoded_side, draw_clip, frame_face

ROLES = ("source", "driving")


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

    Args: as of `PairData`; `size` is that of the result; rows: coefficients per frame; framing: as of `FaceFrames`.

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
        cache: Path | None = None,
    ) -> None:
        self.face_size, self.rows, self.framing = size, rows, framing
        decoded = decoded_side(size, framing)
        super().__init__(root, split, size=decoded, seed=seed, samples=samples, variants=0, cache=cache)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """
        Raises:
            BadSample: the clip that is drawn cannot be used; the training takes another sample.
        """
        rng = np.random.Generator(np.random.PCG64([self.seed, index]))
        chosen = draw_clip(self, rng)
        frames = rng.choice(chosen.frames, len(ROLES), replace=False).tolist()
        pictures = self.frames.read(chosen.clip, frames)
        sample: dict[str, Tensor] = {}
        for role, frame, picture in zip(ROLES, frames, pictures, strict=True):
            sample |= self._face(role, chosen, frame, picture)
        return sample

    def _face(self, role: str, chosen: PairClip, frame: int, picture: NDArray[np.uint8]) -> dict[str, Tensor]:
        side = self.side(chosen.clip)
        around = self.labels.read(chosen.clip, window_frames(frame, chosen.clip.frames))
        window = face_coefficients(around, width=side, height=side, rows=self.rows).T.contiguous()
        shot = Shot.of(picture, around, len(around) // 2, side=side)
        face, camera = frame_face(shot, self.face_size, framing=self.framing)
        return {
            f"{role}_picture": as_tensor(face.picture),
            f"{role}_landmarks": torch.from_numpy(face.landmarks[:, :2].copy()),
            f"{role}_camera": camera,
            f"{role}_window": window,
        }
