"""Training pairs streamed from WebDataset shards (`data.shards`): every shard is read by one worker, front to back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import torch
import webdataset
from numpy.random import Generator
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from portrayal.data.bad import BadSample
from portrayal.data.clips import Clip, Split
from portrayal.data.frames import FrameCache, Picture
from portrayal.data.pair_options import PairOptions
from portrayal.data.pairs import ClipPairs, draw_frames, vary
from portrayal.data.shards import INDEX, read_index
from portrayal.data.shot import Shot
from portrayal.errors import InputError

PAIRS_PER_CLIP = 4
"""Pairs drawn of a clip each time it comes by; it is decoded once for all of them."""
SHUFFLED = 256
"""Pairs among which the next one is chosen; what is kept of them is the compressed clip until one is shown."""


class ShardPairs(IterableDataset[dict[str, Tensor]]):
    """An endless stream of pairs with the keys of `pairs.ClipPairs`, without photos.

    `identity` counts the people of `shards.json`. The stream of each worker follows from the seed, the process and the
    number of workers. It begins again, in another order of shards and with other frames, when its shards are read.

    Args:
        root: folder of shards. split: its half.

    Raises:
        InputError: no shards of that half.
    """

    def __init__(
        self, root: Path | str, split: Split, *, size: int, seed: int, options: PairOptions | None = None
    ) -> None:
        self.root, self.split, self.size, self.seed = Path(root), split, size, seed
        self.options = options or PairOptions()
        if self.options.photos:
            raise InputError(f"{root}: shards hold no photos; set photos to 0 or train from the clip folder.")
        index = read_index(root)
        self.identities: dict[str, int] = index["identities"]
        self.shards: list[str] = sorted(index["shards"][split])
        if not self.shards:
            raise InputError(f"{root}: there is no {split} shard; pack a folder with {split} clips")
        for name in self.shards:
            if Path(name).name != name:
                raise InputError(f"{root}: shards.json names {name!r}, which is no file name; pack again")
        self.skipped: list[str] = []
        self.take_part()

    def take_part(
        self, *, process: int = 0, processes: int = 1, workers: int = 0, batch: int = 1, start: int = 0
    ) -> None:
        """Stream the share of one process from now on.

        Args:
            workers: of the loader. batch: samples of each of its batches, which the workers give in turn.
            start: batches that this process has seen before a resume; their samples are passed over without being
                decoded. The same place as before, unless one of them had been skipped.

        Raises:
            InputError: fewer shards than workers of all processes.
        """
        self.process, self.batch, self.start = process, batch, start
        self.workers = max(1, workers)
        self.all_workers = self.workers * processes
        if len(self.shards) < self.all_workers:
            told = f"{len(self.shards)} {self.split} shards for {self.all_workers} workers"
            raise InputError(f"{self.root}: {told}; use fewer --workers, or pack again with a smaller --shard-mb")

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        info = get_worker_info()
        worker = ((0 if info is None else info.id) + self.start) % self.workers  # the next batch is the first one's
        seen = len(range(worker, self.start, self.workers)) * self.batch
        for bundle, pair, rng in islice(self._draws(self.process * self.workers + worker), seen, None):
            try:
                source, driving = bundle.shots(pair)
            except BadSample as error:
                self.skipped.append(error.sentence)
                continue
            source, driving = vary(source, driving, self.options, rng)
            about = {"identity": torch.tensor(self.identities[bundle.clip.identity]), "pseudo": torch.tensor(False)}
            yield source.tensors("source") | driving.tensors("driving") | about

    def _draws(self, worker: int) -> Iterator[tuple[_Bundle, int, Generator]]:
        """Pairs of this worker in mixed order, nothing decoded: (clip, which of its pairs, randomness of that pair)."""
        waiting: list[tuple[_Bundle, int, Generator]] = []
        rng = np.random.Generator(np.random.PCG64([self.seed, worker]))
        epoch = 0
        while True:
            seen = 0
            for bundle in self._clips(epoch, worker):
                seen += 1
                for pair in range(len(bundle.frames)):
                    mixed = np.random.Generator(np.random.PCG64([self.seed, epoch, worker, seen, pair]))
                    waiting.append((bundle, pair, mixed))
                while len(waiting) >= SHUFFLED:
                    yield waiting.pop(int(rng.integers(len(waiting))))
            if not seen:
                raise InputError(f"{self.root}: no clip in the shards of worker {worker} can be read; pack again")
            epoch += 1  # a small data set comes again until the buffer is full

    def _clips(self, epoch: int, worker: int) -> Iterator[_Bundle]:
        """This worker's clips of one pass; every shard is read by exactly one worker."""
        order = np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(len(self.shards))
        mine = [str(self.root / self.shards[i]) for i in order[worker :: self.all_workers]]
        rng = np.random.Generator(np.random.PCG64([self.seed, epoch, worker]))
        stream = webdataset.DataPipeline(
            webdataset.SimpleShardList(mine), webdataset.tarfile_to_samples(handler=self._go_on)
        )
        for sample in stream:
            try:
                yield _Bundle.read(sample, self.size, self.options, rng)
            except BadSample as error:
                self.skipped.append(error.sentence)

    def _go_on(self, error: Exception) -> bool:
        """A damaged shard ends early; what could be read of it is used."""
        self.skipped.append(f"a shard is damaged ({error}); what can be read of it is used; pack it again")
        return True


@dataclass
class _Bundle:
    """One clip of a shard and the pairs that were drawn of it."""

    clip: Clip
    video: bytes
    labels: dict[str, Tensor]
    side: int
    """Of the clip's pictures in pixels."""
    size: int
    frames: list[list[int]]
    """(source, driving) of each pair."""
    _pictures: dict[int, Picture] = field(default_factory=dict)
    _left: int = 0
    """Pairs that are still to be shown."""

    @classmethod
    def read(cls, sample: dict[str, Any], size: int, options: PairOptions, rng: Generator) -> _Bundle:
        """
        Raises:
            BadSample: a file is missing in the shard or damaged, or fewer than two frames have a face.
        """
        place = f"{sample.get('__url__')}: clip {sample.get('__key__')}"
        try:
            about = json.loads(sample["json"])
            labels = load(sample["track.safetensors"])
            found: NDArray[np.intp] = np.flatnonzero(labels["found"].numpy())
            nowhere = Path("clip.mp4")
            clip = Clip(about["clip"], about["identity"], int(about["frames"]), "train", nowhere, nowhere)
            video, side = sample["mp4"], int(about["side"])
        except (KeyError, ValueError, TypeError, SafetensorError) as error:
            raise BadSample(place, f"{place} is damaged ({error}); pack again") from error
        if len(found) < 2:
            raise BadSample(place, f"{place} has fewer than two frames with a face (found)")
        frames = [draw_frames(found, options.candidates, rng) for _ in range(PAIRS_PER_CLIP)]
        return cls(clip, video, labels, side, size, frames, _left=PAIRS_PER_CLIP)

    def shots(self, pair: int) -> tuple[Shot, Shot]:
        """Source and driving; the first call decodes the frames of all pairs, the last one forgets them.

        Raises:
            BadSample: the video cannot be decoded.
        """
        if not self._pictures:
            wanted = sorted({i for frames in self.frames for i in frames})
            self._pictures = dict(zip(wanted, self._decode(wanted), strict=True))
        source, driving = (self._shot(i) for i in self.frames[pair])
        self._left -= 1
        if not self._left:
            self._pictures = {}
        return source, driving

    def _decode(self, wanted: list[int]) -> list[Picture]:
        with NamedTemporaryFile(suffix=".mp4") as file:
            file.write(self.video)
            file.flush()
            here = Clip(self.clip.name, self.clip.identity, self.clip.frames, "train", Path(file.name), Path(file.name))
            return FrameCache(None, self.size).read(here, wanted)

    def _shot(self, frame: int) -> Shot:
        k = self.size / self.side
        labels = {name: value[frame].numpy() for name, value in self.labels.items() if name != "found"}
        return Shot(
            picture=self._pictures[frame],
            landmarks=labels["landmarks"] * np.float32(k),
            rotation=labels["rotation"],
            translation=labels["translation"] * np.float32(k),
            scale=float(labels["scale"]) * k,
        )


def open_pairs(
    root: Path, split: Split, *, size: int, seed: int, samples: int, options: PairOptions
) -> ClipPairs | ShardPairs:
    """The pairs of a clip folder, or of a folder of shards.

    Raises:
        InputError: as the two.
    """
    if (root / INDEX).is_file():
        return ShardPairs(root, split, size=size, seed=seed, options=options)
    return ClipPairs(root, split, size=size, seed=seed, samples=samples, options=options)
