"""Pairs framed as `animate` frames a portrait, with poses and head shapes: for training guided by landmarks.

The same clips and photos as `data.pairs`; but both pictures of a pair are cut with the one crop that is put around the
source's face, a little off and of random tightness, and the shape of the face comes in the head frame.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from portrayal.data import augment
from portrayal.data.clips import Split
from portrayal.data.pairs import PairClip, PairData
from portrayal.face.morphable import load_face_model
from portrayal.face.topology import MIRROR
from portrayal.media.crop import Crop, params_to_crop
from portrayal.motion.compose import head_shape
from portrayal.types import FaceParams

FACE_SHARE = (1.75, 2.4)
"""Side of the crop in sides of the face's box."""
VARIANTS = 5
"""Pictures of each photo that meshwarp moved."""
_FLIP = np.array([-1, 1, 1], np.float32)


class FacePairs(PairData):
    """Samples: under `source` and `driving` a picture (3, s, s) uint8, and with these endings

    `_rotation` (3, 3), `_scale` (), `_translation` (2,): the pose, normalised over the crop (`keypoints.Pose`);
    `_shape` (478, 3): landmarks in the head frame.

    Further `neutral` (478, 3), the person at rest by the linear face model; and of 4 * `more` other faces without
    pictures `more_shape` and `more_neutral` (4 * more, 478, 3).

    Args: as of `PairData`, and
        photo_share: of the samples that are photos with their face moved by meshwarp.
        more: faces without pictures, of each of four clips.
    """

    def __init__(
        self,
        root: Path | str,
        split: Split,
        *,
        size: int,
        seed: int,
        samples: int,
        photo_share: float,
        more: int = 0,
        cache: Path | None = None,
    ) -> None:
        self.photo_share, self.more = photo_share, more
        variants = VARIANTS if photo_share else 0
        super().__init__(root, split, size=size, seed=seed, samples=samples, variants=variants, cache=cache)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """
        Raises:
            BadSample: the clip or photo that is drawn cannot be used; the training takes another sample.
        """
        rng = np.random.Generator(np.random.PCG64([self.seed, index]))
        pictures, params = self._draw(rng)
        matrix = _crop_matrix(params.landmarks[0, :, :2].numpy(), self.size, rng)
        mirrored = bool(rng.random() < 0.5)
        colour = int(rng.integers(2**31)) if rng.random() < 0.7 else None
        shapes = head_shape(params).numpy()
        sample: dict[str, Tensor] = {}
        for i, role in enumerate(("source", "driving")):
            picture = _cut(pictures[i], matrix, self.size)
            if colour is not None:
                picture = augment.jitter_colour(picture, np.random.Generator(np.random.PCG64(colour)))
            sample |= _posed(role, picture, params[i], shapes[i], matrix, mirrored)
        sample["neutral"] = _mirrored(_neutral(params), mirrored)
        return sample | self._draw_more(rng) if self.more else sample

    def _draw(self, rng: Generator) -> tuple[NDArray[np.uint8], FaceParams]:
        """Source and driving picture (2, s, s, 3) and their faces in pixels of them."""
        if self.table.photos and rng.random() < self.photo_share:
            photo = self.table.photos[rng.integers(len(self.table.photos))]
            pictures, params = self.photos.read(photo, rng)
            return pictures[::-1], params[[1, 0]]  # the photo itself is the truth
        chosen = self._draw_clip(rng)
        frames = rng.choice(chosen.frames, 2).tolist()
        params = self.labels.read(chosen.clip, frames)
        return np.stack(self.frames.read(chosen.clip, frames)), self._in_frames(chosen, params)

    def _draw_clip(self, rng: Generator) -> PairClip:
        clips = self.table.people[rng.integers(len(self.table.people))]
        return clips[rng.integers(len(clips))]

    def _in_frames(self, chosen: PairClip, params: FaceParams) -> FaceParams:
        """Labels are in pixels of the clip, which may have another size than its cached frames."""
        k = self.size / self.side(chosen.clip)
        return params if k == 1 else params_to_crop(params, Crop(np.array([[k, 0, 0], [0, k, 0.0]]), self.size))

    def _draw_more(self, rng: Generator) -> dict[str, Tensor]:
        shapes, neutrals = [], []
        for _ in range(4):  # a file each
            chosen = self._draw_clip(rng)
            params = self.labels.read(chosen.clip, rng.choice(chosen.frames, self.more).tolist())
            mirrored = bool(rng.random() < 0.5)
            shapes += [_mirrored(shape, mirrored) for shape in head_shape(params).numpy()]
            neutrals += [_mirrored(_neutral(params), mirrored)] * self.more
        return {"more_shape": torch.stack(shapes), "more_neutral": torch.stack(neutrals)}


def _neutral(params: FaceParams) -> NDArray[np.float32]:
    """(478, 3) the person of the first frame at rest, head frame."""
    rest = load_face_model().shape(params.identity[:1], torch.zeros_like(params.expression[:1]))
    return np.asarray(rest[0].numpy(), np.float32)


def _mirrored(shape: NDArray[np.float32], mirrored: bool) -> Tensor:
    """(478, 3) head-frame points, as they are or of the mirrored face."""
    return torch.from_numpy(np.ascontiguousarray(shape[list(MIRROR)] * _FLIP if mirrored else shape))


def _crop_matrix(points: NDArray[np.float32], size: int, rng: Generator) -> NDArray[np.float64]:
    """(2, 3) picture to crop pixels: the crop around the source face, a little off and turned, of random tightness."""
    low, high = points.min(0), points.max(0)
    side = float((high - low).max()) * rng.uniform(*FACE_SHARE)
    centre = (low + high) / 2 + rng.normal(0, 0.03, 2) * side + np.array([0, -0.08]) * side
    angle = rng.normal(0, 0.08)
    linear = size / side * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.concatenate([linear, (size / 2 - linear @ centre)[:, None]], 1)


def _cut(picture: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """The crop; beyond the picture its border goes on."""
    matrix = matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV counts pixel centres at integers
    cut = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.uint8)


def _posed(
    role: str,
    picture: NDArray[np.uint8],
    params: FaceParams,
    shape: NDArray[np.float32],
    matrix: NDArray[np.float64],
    mirrored: bool,
) -> dict[str, Tensor]:
    """One picture of a pair with its pose in the crop."""
    size, linear = picture.shape[0], matrix[:, :2]
    scale = float(np.hypot(*linear[0]))
    turn = np.eye(3)
    turn[:2, :2] = linear / scale
    rotation = turn @ params.rotation[0].numpy()
    translation = (linear @ params.translation[0, :2].numpy() + matrix[:, 2]) * 2 / size - 1
    if mirrored:
        picture, rotation, translation = picture[:, ::-1], rotation * _FLIP[:, None] * _FLIP, translation * _FLIP[:2]
    arrays = {"rotation": rotation, "translation": translation}
    sample = {f"{role}_{k}": torch.from_numpy(np.ascontiguousarray(v, dtype=np.float32)) for k, v in arrays.items()}
    sample[f"{role}_shape"] = _mirrored(shape, mirrored)
    sample[f"{role}_scale"] = torch.tensor(float(params.scale[0]) * scale * 2 / size)
    return sample | {role: torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))}
