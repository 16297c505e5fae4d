"""Labelled faces on disk: clips of talking people and portraits, split by identity.

A folder holds `clips.csv` (clip, identity, frames, optionally split) with `clips/<clip>.mp4` and, for each, either
`clips/<clip>.track.safetensors` (a `Track`, as `portrayal data prepare` writes it) or `clips/<clip>.npz` (landmarks);
and maybe `photos.csv` (photo, identity, size, optionally split) with `photos/<photo>.jpg` and `photos.npz`. Landmarks
are the 478 points of `portrayal.face.topology` in pixels of their picture, z in the same unit (smaller is nearer).
`data.clip_labels` reads both kinds of labels as `FaceParams`.
"""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from portrayal.errors import InputError, MissingFileError
from portrayal.face.topology import LANDMARKS
from portrayal.tracking import TRACK_SUFFIX, load_track

VALIDATION_IDENTITIES = frozenset(
    {"id003", "id011", "id019", "id024", "id033", "id041", "id048", "id055", "id062", "id069"}
)
"""Never trained on; every reported number is measured on these. Used where a table has no `split` column."""

Split = Literal["train", "validation"]


@dataclass(frozen=True)
class Clip:
    """One line of `clips.csv`."""

    name: str
    identity: str
    frames: int
    split: Split
    video: Path
    labels: Path
    """A track file, or landmarks as .npz."""


@dataclass(frozen=True)
class Photo:
    """One line of `photos.csv`."""

    name: str
    identity: str
    size: int
    """Side of the square picture in pixels."""
    split: Split
    picture: Path
    row: int
    """Row in `photos.npz`."""


def clip_table(root: Path | str, split: Split | None = None) -> list[Clip]:
    """The clips below `root`, in the order of `clips.csv`; `split` None gives both halves.

    Raises:
        MissingFileError: without `clips.csv`. InputError: where it cannot be read as that table.
    """
    folder, table = Path(root) / "clips", Path(root) / "clips.csv"
    clips = [
        Clip(
            name=_name(row, "clip", table),
            identity=row["identity"],
            frames=_whole(row, "frames", table),
            split=_split(row),
            video=folder / f"{row['clip']}.mp4",
            labels=_labels(folder, row["clip"]),
        )
        for row in _read_table(table, ("clip", "identity", "frames"))
    ]
    return [clip for clip in clips if split in (None, clip.split)]


def photo_table(root: Path | str, split: Split | None = None) -> list[Photo]:
    """The portraits below `root`, in the order of `photos.csv`; otherwise as `clip_table`."""
    folder, table = Path(root) / "photos", Path(root) / "photos.csv"
    photos = [
        Photo(
            name=_name(row, "photo", table),
            identity=row["identity"],
            size=_whole(row, "size", table),
            split=_split(row),
            picture=folder / f"{row['photo']}.jpg",
            row=i,
        )
        for i, row in enumerate(_read_table(table, ("photo", "identity", "size")))
    ]
    return [photo for photo in photos if split in (None, photo.split)]


def load_clip_landmarks(root: Path | str, clip: str | Clip) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The labels of one clip.

    Args:
        root: folder that holds `clips/`.
        clip: name ("clip000") or a line of `clip_table`.

    Returns:
        landmarks (t, 478, 3) float32 in pixels of the frame; valid (t,) bool: a face was found in that frame.

    Raises:
        MissingFileError: without that file. InputError: where it does not hold such labels.
    """
    path = clip.labels if isinstance(clip, Clip) else _labels(Path(root) / "clips", clip)
    if path.name.endswith(TRACK_SUFFIX):
        track, _ = load_track(path)
        return track.params.landmarks.numpy(), track.found.numpy()
    arrays = _read_arrays(path, ("landmarks_delta", "valid"))
    delta, valid = arrays["landmarks_delta"], arrays["valid"].astype(bool)
    if delta.shape != (LANDMARKS, 3, len(valid)):
        raise InputError(f"{path}: landmarks_delta must be (478, 3, {len(valid)}), got {delta.shape}")
    landmarks = np.cumsum(delta.astype(np.int32), axis=2).transpose(2, 0, 1) / np.float32(8)
    return np.ascontiguousarray(landmarks, dtype=np.float32), valid


def load_photo_landmarks(root: Path | str) -> NDArray[np.float32]:
    """(n, 478, 3) float32 in pixels of each photo; rows as in `photos.csv` (`Photo.row`). Raises as above."""
    path = Path(root) / "photos.npz"
    landmarks = _read_arrays(path, ("landmarks",))["landmarks"]
    if landmarks.ndim != 3 or landmarks.shape[1:] != (LANDMARKS, 3):
        raise InputError(f"{path}: landmarks must be (n, 478, 3), got {landmarks.shape}")
    return landmarks.astype(np.float32) / np.float32(32)


def _labels(folder: Path, clip: str) -> Path:
    """The clip's track file where there is one, else its landmarks."""
    track = folder / f"{clip}{TRACK_SUFFIX}"
    return track if track.is_file() else folder / f"{clip}.npz"


def _name(row: dict[str, str], column: str, table: Path) -> str:
    """A file's name without its extension; it cannot lead out of the folder."""
    name = row[column]
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise InputError(f"{table}: {column} {name!r} is no file name; rename the file and correct the line")
    return name


def _whole(row: dict[str, str], column: str, table: Path) -> int:
    try:
        return int(row[column])
    except (TypeError, ValueError):
        line = ", ".join(str(value) for value in row.values())
        raise InputError(f"{table}: {column} must be a whole number in the line {line!r}; correct it") from None


def _split(row: dict[str, str]) -> Split:
    if row.get("split"):
        return "validation" if row["split"].startswith("val") else "train"
    return "validation" if row["identity"] in VALIDATION_IDENTITIES else "train"


def _read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; give the folder that holds it with --data")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or any(rows[0].get(column) is None for column in columns):
        raise InputError(f"{path} must be a table with the columns {', '.join(columns)} and at least one line")
    return rows


def _read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; the labels belong beside the pictures")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} must hold the arrays {', '.join(names)} ({error}); copy it again") from error
