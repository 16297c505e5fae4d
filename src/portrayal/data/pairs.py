"""Training pairs: two frames of one clip, or a photo and its warped self; source and driving show the same person.

The training pairs of FOMM, face-vid2vid and MMFA ("selecting both the source image and the driving image randomly in
the same video", MMFA, supplement B). A sample is a function of the data, the seed and its index alone.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

from portrayal.data import augment
from portrayal.data.bad import BadSample
from portrayal.data.clip_labels import ClipLabels, read_valid
from portrayal.data.clips import Clip, Photo, Split, clip_table, photo_table
from portrayal.data.frames import FrameCache
from portrayal.data.pair_options import PairOptions
from portrayal.data.pseudo_pairs import PhotoPairs
from portrayal.data.shot import Shot
from portrayal.data.tracker_faces import LOOK_ALIKES
from portrayal.errors import InputError
from portrayal.media.video import probe

_log = logging.getLogger(__name__)
MANY = 500
"""Clips whose tables are read with a progress bar."""


@dataclass(frozen=True)
class PairClip:
    """A clip that has pairs."""

    clip: Clip
    frames: NDArray[np.intp]
    """Frames with a face, rising, at least two."""


@dataclass(frozen=True)
class PairTable:
    """What pairs can be drawn from."""

    people: tuple[tuple[PairClip, ...], ...]
    """The usable clips of each identity."""
    photos: tuple[Photo, ...]
    identities: dict[str, int]
    """Label to index, for clips and photos together."""
    skipped: dict[str, str]
    """Clip to the sentence that says why it is left out."""


def pair_table(root: Path | str, split: Split, *, photos: bool = False) -> PairTable:
    """Read a clip folder and leave out what cannot be used.

    Args:
        root: folder as `data.clips` reads it. photos: also its portraits.

    Raises:
        MissingFileError: no `clips.csv` (or `photos.csv` where photos are asked for).
        InputError: no clip of the split has two frames with a face, or an identity is in both halves.
    """
    root = Path(root)
    clips = clip_table(root)
    check_halves(root / "clips.csv", ((c.identity, c.split) for c in clips))
    clips = [clip for clip in clips if clip.split == split]
    people: dict[str, list[PairClip]] = defaultdict(list)
    skipped: dict[str, str] = {}
    for clip in track(clips, "reading the clips' tables") if len(clips) > MANY else clips:
        try:
            frames = np.flatnonzero(read_valid(clip))
        except BadSample as error:
            skipped[clip.name] = error.sentence
            continue
        if len(frames) < 2:
            skipped[clip.name] = f"{clip.labels}: fewer than two frames have a face (found); a pair needs two"
        else:
            people[clip.identity].append(PairClip(clip, frames))
    for sentence in skipped.values():
        _log.warning("%s. The clip is left out.", sentence)
    if not people:
        why = f"; the first: {next(iter(skipped.values()))}" if skipped else ""
        raise InputError(f"{root / 'clips.csv'}: no {split} clip has a pair of frames with a face{why}.")
    stills = photo_table(root, split) if photos else []
    stills = [photo for photo in stills if split == "validation" or photo.identity not in LOOK_ALIKES]
    if photos and not stills:
        raise InputError(f"{root / 'photos.csv'}: no {split} photo to make pairs of; set photos to 0.")
    labels = sorted({*people, *(photo.identity for photo in stills)})
    return PairTable(
        people=tuple(tuple(people[name]) for name in sorted(people)),
        photos=tuple(stills),
        identities={name: i for i, name in enumerate(labels)},
        skipped=skipped,
    )


def check_halves(table: Path, rows: Iterable[tuple[str, Split]]) -> None:
    """
    Raises:
        InputError: an identity of (identity, split) is in both halves.
    """
    seen: dict[str, Split] = {}
    for identity, split in rows:
        if seen.setdefault(identity, split) != split:
            sentence = f"{table}: identity {identity} is in both halves (split)"
            raise InputError(f"{sentence}; give all of its clips the same split")


class PairData(Dataset[dict[str, Tensor]]):
    """What data sets of pairs from a clip folder share: its table, and its pictures and labels through one cache.

    Args:
        root: clip folder. split: its half.
        size: side of the pictures in pixels.
        samples: length of the data set.
        variants: moved pictures of each photo; 0 uses no photos.
        cache: folder for decoded frames, fitted labels and moved photos; may be shared by runs. None decodes every
            time.

    Raises:
        InputError: as `pair_table`.
    """

    def __init__(
        self,
        root: Path | str,
        split: Split,
        *,
        size: int,
        seed: int,
        samples: int,
        variants: int,
        cache: Path | None = None,
    ) -> None:
        self.root, self.size, self.seed, self.samples = Path(root), size, seed, samples
        self.table = pair_table(root, split, photos=variants > 0)
        self._variants = variants
        self._sides: dict[str, int] = {}
        self.cache_in(cache)

    def cache_in(self, folder: Path | None) -> None:
        """Use this folder as the cache from now on; None keeps nothing."""
        self.frames, self.labels = FrameCache(folder, self.size), ClipLabels(folder)
        self.photos = PhotoPairs(self.root, size=self.size, variants=self._variants, cache=folder)

    def __len__(self) -> int:
        return self.samples

    def side(self, clip: Clip) -> int:
        """Side of the clip's own pictures, which its labels are in."""
        if clip.name not in self._sides:
            self._sides[clip.name] = probe(clip.video).height
        return self._sides[clip.name]


class ClipPairs(PairData):
    """Pairs as MMFA trains on them, in the picture's own frame.

    A sample holds, for the roles source and driving: the picture (3, s, s) uint8 under the role's name, and
    `<role>_landmarks` (478, 3), `<role>_rotation` (3, 3), `<role>_translation` (3,), `<role>_scale` (), float32 in
    pixels of it (`types.FaceParams`); further `identity` () int64 and `pseudo` () bool: made from a photo.
    """

    def __init__(
        self,
        root: Path | str,
        split: Split,
        *,
        size: int,
        seed: int,
        samples: int,
        options: PairOptions | None = None,
        cache: Path | None = None,
    ) -> None:
        self.options = options or PairOptions()
        variants = self.options.photo_variants if self.options.photos else 0
        super().__init__(root, split, size=size, seed=seed, samples=samples, variants=variants, cache=cache)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """
        Raises:
            BadSample: the clip or photo that is drawn cannot be used; the training takes another sample.
        """
        rng = np.random.Generator(np.random.PCG64([self.seed, index]))
        pseudo = bool(rng.random() < self.options.photos)
        source, driving, identity = self._draw_photo(rng) if pseudo else self._draw_clip(rng)
        source, driving = vary(source, driving, self.options, rng)
        about = {"identity": torch.tensor(self.table.identities[identity]), "pseudo": torch.tensor(pseudo)}
        return source.tensors("source") | driving.tensors("driving") | about

    def _draw_clip(self, rng: Generator) -> tuple[Shot, Shot, str]:
        people = self.table.people
        if self.options.by_identity:
            clips = people[rng.integers(len(people))]
            chosen = clips[rng.integers(len(clips))]
        else:
            number = int(rng.integers(sum(map(len, people))))
            chosen = [clip for clips in people for clip in clips][number]
        frames = draw_frames(chosen.frames, self.options.candidates, rng)
        pictures = self.frames.read(chosen.clip, frames)
        params = self.labels.read(chosen.clip, frames)
        side = self.side(chosen.clip)
        source, driving = (Shot.of(picture, params, i, side=side) for i, picture in enumerate(pictures))
        return source, driving, chosen.clip.identity

    def _draw_photo(self, rng: Generator) -> tuple[Shot, Shot, str]:
        photo = self.table.photos[rng.integers(len(self.table.photos))]
        still, moved = self.photos.draw(photo, rng)
        source, driving = (still, moved) if self.options.photo_is_source else (moved, still)
        return source, driving, photo.identity


def draw_frames(frames: NDArray[np.intp], candidates: int, rng: Generator) -> list[int]:
    """Two different ones of `frames`: a source, and of `candidates` driving frames the one farthest from it."""
    source = int(rng.integers(len(frames)))
    others = rng.integers(1, len(frames), candidates)
    driving = max(
        ((source + int(step)) % len(frames) for step in others), key=lambda i: abs(frames[i] - frames[source])
    )
    return [int(frames[source]), int(frames[driving])]


def vary(source: Shot, driving: Shot, options: PairOptions, rng: Generator) -> tuple[Shot, Shot]:
    """Mirror both or none, and change their colours alike: the pair still is one person in one light."""
    if options.mirror and rng.random() < 0.5:
        source, driving = source.mirrored(), driving.mirrored()
    if options.colour:
        change = augment.draw_colour(options.colour, rng)
        source, driving = (shot.showing(augment.change_colour(shot.picture, change)) for shot in (source, driving))
    return source, driving
