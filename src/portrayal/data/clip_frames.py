"""Frames of one person with what a tri-plane system is driven by: expression, gaze and camera of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from portrayal.data import augment
from portrayal.data.clips import Split
from portrayal.data.expressions import mirror_signs
from portrayal.data.pair_options import PairOptions
from portrayal.data.pairs import PairClip, PairData
from portrayal.errors import InputError
from portrayal.face.camera import mirror_camera
from portrayal.face.morphable import load_face_model
from portrayal.face.topology import MIRROR
from portrayal.types import FaceParams


class ClipFrames(PairData):
    """Samples of `count` different frames of one clip, in random order:

    `pictures` (count, 3, s, s) uint8, `expression` (count, 64) coefficients b, `gaze` (count, 2, 2) radians, `camera`
    (count, 25), `shape` (count, 80) coefficients a, `landmarks` (count, 478, 2) in sides of the picture, float32
    (`types.FaceParams`); `identity` () int64.
    A person is drawn, then one of the person's clips.

    Args: as of `PairData`, and
        count: clips with fewer frames that show a face are left out.
        mirror: show every second sample in a mirror.
        colour: largest change of colours, alike in all pictures of a sample (`PairOptions.colour`).
        photo_share: share of the samples that are a photo's face in a pose that meshwarp gave it, and the photo's own
            (`pseudo_pairs`), in this order; needs a count of 2.

    Raises:
        InputError: as `PairData`, or no clip has so many frames.
    """

    def __init__(
        self,
        root: Path | str,
        split: Split,
        *,
        size: int,
        seed: int,
        samples: int,
        count: int,
        mirror: bool = False,
        colour: float = 0.0,
        photo_share: float = 0.0,
        cache: Path | None = None,
    ) -> None:
        if photo_share and count != 2:
            raise ValueError(f"a photo gives samples of two pictures, not of {count}")
        variants = PairOptions().photo_variants if photo_share else 0
        super().__init__(root, split, size=size, seed=seed, samples=samples, variants=variants, cache=cache)
        self.count, self.mirror, self.colour, self.photo_share = count, mirror, colour, photo_share
        long_enough = (tuple(c for c in clips if len(c.frames) >= count) for clips in self.table.people)
        self.people: tuple[tuple[PairClip, ...], ...] = tuple(clips for clips in long_enough if clips)
        if not self.people:
            longest = max(len(clip.frames) for clips in self.table.people for clip in clips)
            raise InputError(
                f"{self.root}: no {split} clip has {count} frames with a face, the longest has {longest}; "
                "use longer clips or fewer frames of each (clebs.negatives)"
            )

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """
        Raises:
            BadSample: the clip that is drawn cannot be used; the training takes another sample.
        """
        rng = np.random.Generator(np.random.PCG64([self.seed, index]))
        photo = bool(self.photo_share) and rng.random() < self.photo_share
        pictures, params, side, identity = self._draw_photo(rng) if photo else self._draw_clip(rng)
        if self.colour:
            change = augment.draw_colour(self.colour, rng)
            pictures = np.stack([augment.change_colour(picture, change) for picture in pictures])
        sample = {
            "pictures": torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))),
            "expression": params.expression.float(),
            "gaze": params.gaze.float(),
            "camera": params.camera.float(),
            "shape": params.identity.float(),
            "landmarks": params.landmarks[..., :2].float() / side,
        }
        if self.mirror and rng.random() < 0.5:
            sample = mirror_frames(sample)
        return sample | {"identity": torch.tensor(self.table.identities[identity])}

    def _draw_clip(self, rng: Generator) -> tuple[NDArray[np.uint8], FaceParams, int, str]:
        """Pictures, faces, side of the picture that these are in, identity."""
        clips = self.people[rng.integers(len(self.people))]
        chosen = clips[rng.integers(len(clips))]
        frames = rng.choice(chosen.frames, self.count, replace=False).tolist()
        pictures = np.stack(self.frames.read(chosen.clip, frames))
        return pictures, self.labels.read(chosen.clip, frames), self.side(chosen.clip), chosen.clip.identity

    def _draw_photo(self, rng: Generator) -> tuple[NDArray[np.uint8], FaceParams, int, str]:
        photo = self.table.photos[rng.integers(len(self.table.photos))]
        pictures, params = self.photos.read(photo, rng)
        return pictures[::-1], params[[1, 0]], self.size, photo.identity


def mirror_frames(frames: dict[str, Tensor]) -> dict[str, Tensor]:
    """The fields of `ClipFrames` but the identity as a mirror shows them."""
    landmarks = frames["landmarks"][..., list(MIRROR), :]
    return {
        "pictures": frames["pictures"].flip(-1),
        "expression": frames["expression"] * mirror_signs(load_face_model().expression_basis),
        "shape": frames["shape"] * mirror_signs(load_face_model().identity_basis),
        "gaze": frames["gaze"].flip(-2) * torch.tensor([-1.0, 1.0]),
        "camera": mirror_camera(frames["camera"]),
        "landmarks": torch.stack([1 - landmarks[..., 0], landmarks[..., 1]], -1),
    }
