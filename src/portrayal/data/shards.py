"""A clip folder as WebDataset shards: tar files to be read from front to back, for many machines.

    OUT/train-000000.tar        per clip NAME.mp4, NAME.track.safetensors and NAME.json (identity, frames)
    OUT/validation-000000.tar
    OUT/shards.json             shards and clips of each half; identities with their numbers

Every clip is in one shard and every identity in one half. Clips are shuffled once, so that a shard is a fair sample.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from safetensors.torch import save

from portrayal.data.bad import BadSample
from portrayal.data.clip_labels import load_clip_track
from portrayal.data.clips import Clip, Split, clip_table
from portrayal.data.pairs import check_halves
from portrayal.data.prepare_options import ShardOptions
from portrayal.errors import InputError
from portrayal.media.atomic import complete_or_absent, make_parent
from portrayal.tracking import Progress, silent
from portrayal.types import Track

INDEX = "shards.json"
FORMAT = "portrayal-shards-1"
HALVES: tuple[Split, ...] = ("train", "validation")
LABELS = ("landmarks", "rotation", "translation", "scale")
"""Fields of `FaceParams` that pairs need."""


@dataclass(frozen=True)
class Sharded:
    """What was written."""

    out: Path
    shards: int
    clips: int
    skipped: dict[str, str]
    """Clip to why it is left out."""

    def summary(self) -> str:
        """What the command line prints."""
        lines = [f"{name}: left out, {sentence}" for name, sentence in self.skipped.items()]
        return "\n".join([*lines, f"{self.clips} clips in {self.shards} shards: {self.out}"])


def write_shards(
    root: Path | str, out: Path | str, options: ShardOptions | None = None, *, progress: Progress = silent
) -> Sharded:
    """Pack a clip folder; a clip that cannot be read is left out and named.

    A shard appears only when it is complete; one clip is in memory at a time.

    Raises:
        InputError: no clip folder, an identity in both halves, no clip that can be read, or `out` holds shards already.
    """
    root, out, options = Path(root), Path(out), options or ShardOptions()
    clips = clip_table(root)
    check_halves(root / "clips.csv", ((c.identity, c.split) for c in clips))
    if (out / INDEX).is_file():
        raise InputError(f"{out / INDEX}: there are shards in this folder already; choose another with -o")
    order = [clips[i] for i in np.random.Generator(np.random.PCG64(0)).permutation(len(clips))]
    skipped: dict[str, str] = {}
    index: dict[str, Any] = {"format": FORMAT, "identities": {}, "shards": {}}

    def samples(half: Split) -> Iterator[dict[str, Any]]:
        for number, clip in enumerate(order):
            if clip.split != half:
                continue
            try:
                yield _pack(clip, number)
            except BadSample as error:
                skipped[clip.name] = error.sentence
                continue
            index["identities"][clip.identity] = None
            progress(f"{half} clips", number + 1, len(order))

    for half in HALVES:
        writer = _ShardWriter(out, half, options.shard_mb * 1_000_000)
        writer.write(samples(half))
        index["shards"][half] = writer.written
    if not index["identities"]:
        raise InputError(f"{root}: no clip can be read; the first: {next(iter(skipped.values()))}")
    index["identities"] = {name: i for i, name in enumerate(sorted(index["identities"]))}
    with complete_or_absent(out / INDEX) as temporary:
        temporary.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    counts = [n for half in HALVES for n in index["shards"][half].values()]
    return Sharded(out, len(counts), sum(counts), skipped)


def read_index(root: Path | str) -> dict[str, Any]:
    """`shards.json` of a folder of shards.

    Raises:
        InputError: there is none, or it is not of this version.
    """
    path = Path(root) / INDEX
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sentence = f"{path} cannot be read ({error}); make shards with: portrayal data shards FOLDER -o {root}"
        raise InputError(sentence) from error
    if index.get("format") != FORMAT:
        raise InputError(f"{path} has the format {index.get('format')!r}, this version reads {FORMAT}; pack again")
    return index


class _ShardWriter:
    """Tar files of one half, each closed when it has grown to `limit` bytes."""

    def __init__(self, out: Path, half: Split, limit: int) -> None:
        self.out, self.half, self.limit = out, half, limit
        self.written: dict[str, int] = {}

    def write(self, samples: Iterable[dict[str, Any]]) -> None:
        rest = iter(samples)
        sample = next(rest, None)
        while sample is not None:
            path = self.out / f"{self.half}-{len(self.written):06d}.tar"
            make_parent(path)
            count = size = 0
            with complete_or_absent(path) as temporary, temporary.open("wb") as file:
                writer = webdataset.TarWriter(file, encoder=False, mtime=0, compress=False)
                while sample is not None and (not count or size < self.limit):
                    size += writer.write(sample)
                    count += 1
                    sample = next(rest, None)
                writer.close()
            self.written[path.name] = count


def _pack(clip: Clip, number: int) -> dict[str, Any]:
    """One clip as WebDataset stores it; numbers are keys, because a name's first dot would end it."""
    track = load_clip_track(clip)
    try:
        video = clip.video.read_bytes()
    except OSError as error:
        raise BadSample(clip.name, f"{clip.video} cannot be read ({error.strerror}); copy it again") from error
    about = {"clip": clip.name, "identity": clip.identity, "frames": clip.frames, "side": track.width}
    return {
        "__key__": f"{number:08d}",
        "mp4": video,
        "track.safetensors": _labels(track),
        "json": json.dumps(about).encode(),
    }


def _labels(track: Track) -> bytes:
    """What pairs need of a track."""
    tensors = {name: getattr(track.params, name).contiguous() for name in LABELS}
    return save(tensors | {"found": track.found})
