"""Expressions without pictures: coefficients of the linear face model, read from the labels of a clip folder."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

from portrayal.data.bad import BadSample
from portrayal.data.clip_labels import load_clip_track
from portrayal.data.clips import Split, clip_table, load_photo_landmarks, photo_table
from portrayal.data.tracker_faces import LOOK_ALIKES
from portrayal.errors import InputError
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.topology import MIRROR
from portrayal.types import EXPRESSION_SIZE

_log = logging.getLogger(__name__)
FRAMES_PER_CLIP = 256
"""At most, evenly spaced: what a clip takes in memory does not grow with its length."""


def load_expressions(root: Path | str, split: Split) -> tuple[list[Tensor], Tensor]:
    """Read the labels of a folder (see `data.clips`); clips whose labels cannot be used are left out with a warning.

    Returns:
        of each identity in clips (n, 64) coefficients b, n >= 1; of the photos (m, 64).

    Raises:
        MissingFileError, InputError: as `clip_table` and its like; or there is no face at all.
    """
    clips: dict[str, list[Tensor]] = {}
    for clip in track(clip_table(root, split), "reading expressions"):
        try:
            labels = load_clip_track(clip)
        except BadSample as error:
            _log.warning("%s. It is left out.", error.sentence.rstrip("."))
            continue
        found = labels.params.expression[labels.found]
        few = torch.linspace(0, len(found) - 1, min(len(found), FRAMES_PER_CLIP)).round().long()
        clips.setdefault(clip.identity, []).append(found[few].float())
    photos = _photo_expressions(Path(root), split)
    by_identity = [torch.cat(parts) for parts in clips.values()]
    if not by_identity and not len(photos):
        raise InputError(f"{root} has no {split} face whose labels can be used; see the warnings above")
    return by_identity, photos


def _photo_expressions(root: Path, split: Split) -> Tensor:
    if not (root / "photos.csv").is_file():
        return torch.empty(0, EXPRESSION_SIZE)
    chosen = [p for p in photo_table(root, split) if p.identity not in LOOK_ALIKES]
    points = torch.from_numpy(load_photo_landmarks(root)[[p.row for p in chosen]])
    if not len(points):
        return torch.empty(0, EXPRESSION_SIZE)
    return fit_params(load_face_model(), points, width=1, height=1, shared_identity=False).expression


def mirror_signs(basis: Tensor) -> Tensor:
    """(n,) of 1 and -1: coefficients of a face in a mirror are its own times these.

    Args:
        basis: (n, 478, 3) of the face model, whose directions are built so.
    """
    mirrored = basis[:, list(MIRROR)] * torch.tensor([-1.0, 1.0, 1.0])
    return torch.sign((basis * mirrored).sum((1, 2)))


class Expressions(Dataset[dict[str, Tensor]]):
    """Samples with `expression` (faces, 64): coefficients b of faces drawn at random, every second one mirrored.

    Every identity of the clips is drawn equally often; a photo with probability `photo_share`. A sample depends on
    (seed, index) alone.
    """

    def __init__(
        self, root: Path | str, split: Split, *, seed: int, samples: int, faces: int, photo_share: float
    ) -> None:
        self.identities, self.photos = load_expressions(root, split)
        self.signs = mirror_signs(load_face_model().expression_basis)
        self.seed, self.samples, self.faces, self.photo_share = seed, samples, faces, photo_share

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.Generator(np.random.PCG64([self.seed, index]))
        drawn = torch.stack([self._draw(rng) for _ in range(self.faces)])
        mirrored = torch.from_numpy(rng.random(self.faces) < 0.5)[:, None]
        return {"expression": torch.where(mirrored, drawn * self.signs, drawn)}

    def _draw(self, rng: np.random.Generator) -> Tensor:
        photo = len(self.photos) and (rng.random() < self.photo_share or not self.identities)
        pool = self.photos if photo else self.identities[rng.integers(len(self.identities))]
        return pool[rng.integers(len(pool))]
