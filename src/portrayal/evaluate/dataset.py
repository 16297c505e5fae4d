"""What is evaluated on: video clips with a person's label, from clip folders and the layouts of public data sets.

A layout only says where videos lie and which part of a path is the person; faces are tracked with our own tracker.

    clips         clips.csv and clips/<clip>.mp4 (`portrayal.data.clips`), with its own train and validation halves
    voxceleb      [mp4/]<id10001>/<video>/<00001>.mp4, or the cut form id10283#<video>#<00001>#<start>#<end>.mp4
    vfhq          Clip+<video>+P<person>+C<scene>+F<start>-<end>.mp4; one person of one video is one identity
    talkinghead   <video>_<nnnn>_S<start>_E<end>_....mp4; one video is one identity
    hdtf          <RD|WDA|WRA>_<Name>_<nnn>.mp4; the name without its number is the identity
    videos        any videos; the first folder below the root is the identity, or the file where there is none
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from portrayal.data.clips import Split, clip_table
from portrayal.errors import InputError, MissingFileError
from portrayal.evaluate.options import Layout

VIDEOS = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})
_PATTERNS = {
    "voxceleb": re.compile(r"(?:^|/)(id\d+)[/#]"),
    "vfhq": re.compile(r"Clip\+(.+?\+P\d+)\+C\d+"),
    "talkinghead": re.compile(r"(?:^|/)([^/]+?)_\d{4}(?:_S\d+_E\d+[^/]*)?\.\w+$"),
    "hdtf": re.compile(r"(?:^|/)((?:RD|WDA|WRA)_[^/]+?)(?:_\d+)?\.\w+$"),
}


@dataclass(frozen=True)
class EvalClip:
    """One video of one person."""

    name: str
    """Unique in its data set; used in reports and file names."""
    identity: str
    video: Path


def read_dataset(
    root: Path | str, *, layout: Layout = "auto", split: Literal["val", "train", "all"] = "val"
) -> list[EvalClip]:
    """The clips of a folder, in a fixed order.

    Only the layout `clips` has halves; of the public layouts every video counts, so name the folder of their test set.

    Raises:
        MissingFileError: no such folder. InputError: no video in it fits the layout.
    """
    root = Path(root)
    if not root.is_dir():
        raise MissingFileError(f"{root} is no folder; give the folder of the evaluation data with --data")
    if layout == "auto":
        layout = "clips" if (root / "clips.csv").is_file() else "videos"
    if layout == "clips":
        halves: dict[str, Split | None] = {"val": "validation", "train": "train", "all": None}
        found = [EvalClip(c.name, c.identity, c.video) for c in clip_table(root, halves[split])]
    else:
        found = _scan(root, layout)
    if not found:
        known = ", ".join(name for name in get_args(Layout) if name != "auto")
        raise InputError(f"{root} holds no {split} clip in the layout {layout}; --layout may be {known}")
    return found


def _scan(root: Path, layout: str) -> list[EvalClip]:
    """All videos below `root` whose path says who is in them."""
    clips = []
    for path in sorted(p for p in root.rglob("*") if p.suffix.lower() in VIDEOS and p.is_file()):
        inside = path.relative_to(root)
        identity = _identity(inside.as_posix(), layout)
        if identity is not None:
            clips.append(EvalClip(_file_name(inside.with_suffix("").as_posix()), identity, path))
    return clips


def _identity(path: str, layout: str) -> str | None:
    """The person's label that a path below the root says; None where it does not fit the layout."""
    if layout == "videos":
        first, _, rest = path.partition("/")
        return first if rest else Path(first).stem
    match = _PATTERNS[layout].search(path)
    return match.group(1) if match else None


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", text)


def identities(clips: Iterable[EvalClip]) -> dict[str, list[EvalClip]]:
    """Clips by identity, both in order of first appearance."""
    groups: dict[str, list[EvalClip]] = {}
    for clip in clips:
        groups.setdefault(clip.identity, []).append(clip)
    return groups
