"""Faces followed through files: picture or video in, one `Track` per face out; track files.

A track file (`*.track.safetensors`) holds every field of `FaceParams` under its name, `found` (t,) and `times` (t, 2)
numerators and denominators of seconds; its metadata holds the format version and the size of the pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from portrayal.errors import InputError, MissingFileError
from portrayal.face.tracker import FaceReading, Tracker, track_frames
from portrayal.media.atomic import make_parent, writing_error
from portrayal.media.image import read_image
from portrayal.media.video import probe, read_frames
from portrayal.types import FaceParams, Frame, Track
from portrayal.weights.registry import save_tensors

Progress = Callable[[str, int, int | None], None]
"""Called with (stage, done, total); total is None where it is not known."""

TRACK_SUFFIX = ".track.safetensors"
FORMAT = "portrayal-track-1"
_CHUNK = 256
"""Frames that are joined into one tensor and fitted at a time."""


def silent(stage: str, done: int, total: int | None) -> None:
    """A `Progress` that shows nothing."""


def track_video(
    path: Path | str, *, tracker: Tracker, max_side: int | None = None, progress: Progress = silent
) -> list[Track]:
    """Follow every face of a video, the one that is largest and longest to be seen first; none where none is seen.

    With `max_side`, frames are reduced to it and the tracks are in their pixels.

    Raises:
        InputError: where the file is not a video that can be read or holds no frame.
    """
    total = probe(path).frames
    return follow_faces(read_frames(path, max_side=max_side), tracker=tracker, total=total, progress=progress)


def follow_faces(
    frames: Iterable[Frame], *, tracker: Tracker, total: int | None = None, progress: Progress = silent
) -> list[Track]:
    """`track_video` on frames in order; they are consumed once and not kept, 7 KB per frame and face are."""
    seen: dict[int, list[FaceReading]] = {}
    at: dict[int, list[int]] = {}
    times: list[Fraction] = []
    height = width = 0
    with one_torch_thread():
        for frame, faces in track_frames(tracker, frames):
            height, width = frame.image.shape[:2]
            for face in faces:
                at.setdefault(face.number, []).append(len(times))
                _append(seen.setdefault(face.number, []), face.reading)
            times.append(frame.time)
            progress("tracking", len(times), max(total or 0, len(times)))
    tracks = []
    for number, parts in seen.items():
        params = _fit(tracker, FaceReading.cat(parts), width, height)
        tracks.append(_spread(params, at[number], tuple(times), width, height))
    return sorted(tracks, key=prominence, reverse=True)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Small tensors gain nothing from more threads, and threads that wait for work take it from decoder and encoder.

    Measured on two busy cores: tracking a frame takes 11 ms of processor time with one thread, 88 ms with two.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def track_picture(path: Path | str, *, tracker: Tracker) -> list[Track]:
    """Every face of a picture, the largest first; none where none is seen.

    Raises:
        InputError: where it is not a picture that can be read.
    """
    picture = read_image(path)
    height, width = picture.shape[:2]
    found = torch.ones(1, dtype=torch.bool)
    return [Track(p, (Fraction(0),), width, height, found) for p in tracker.track_picture(picture)]


def _append(parts: list[FaceReading], reading: FaceReading) -> None:
    """Add a frame; now and then many single ones become one, which takes less memory."""
    parts.append(reading)
    if len(parts) >= _CHUNK and len(parts[-_CHUNK]) == 1:
        parts[-_CHUNK:] = [FaceReading.cat(parts[-_CHUNK:])]


def _fit(tracker: Tracker, readings: FaceReading, width: int, height: int) -> FaceParams:
    """`FaceParams` of one face: the identity from frames all over the clip, the rest chunk by chunk."""
    step = -(-len(readings) // _CHUNK)
    identity = tracker.fit(readings[list(range(0, len(readings), step))], width, height).identity[:1]
    chunks = [list(range(i, min(i + _CHUNK, len(readings)))) for i in range(0, len(readings), _CHUNK)]
    return FaceParams.cat([tracker.fit(readings[c], width, height, identity=identity) for c in chunks])


def _spread(params: FaceParams, at: Sequence[int], times: tuple[Fraction, ...], width: int, height: int) -> Track:
    """The face seen in frames `at`, over all frames: elsewhere the nearest seen frame, with confidence 0."""
    seen = torch.tensor(at)
    found = torch.zeros(len(times), dtype=torch.bool)
    found[seen] = True
    params = params[nearest(seen, len(times))]
    return Track(params.replace(confidence=params.confidence * found), times, width, height, found)


def nearest(seen: Tensor, count: int) -> Tensor:
    """For each of `count` frames, the position in `seen` of the nearest frame; the earlier one of two.

    Args:
        seen: (n,) int64, rising, not empty.

    Returns:
        (count,) int64 indices into `seen`.
    """
    frames = torch.arange(count)
    after = torch.searchsorted(seen, frames).clamp(max=len(seen) - 1)
    before = (after - 1).clamp(min=0)
    return torch.where((frames - seen[before]).abs() <= (seen[after] - frames).abs(), before, after)


def prominence(track: Track) -> float:
    """How much of the clip a face fills: its area in squared face units, summed over the frames it was seen in."""
    return float((track.params.scale.double().square() * track.found).sum())


def join_tracks(tracks: Sequence[Track]) -> Track:
    """The most prominent face; where it is lost and comes back under another number, the pieces in one track.

    Args:
        tracks: of one video, the most prominent first; a piece is taken only if it shares no frame with what is there.
    """
    whole = tracks[0]
    for piece in tracks[1:]:
        if not bool((piece.found & whole.found).any()):
            both = torch.cat([whole.found.nonzero()[:, 0], piece.found.nonzero()[:, 0]])
            params = FaceParams.cat([whole.params[whole.found], piece.params[piece.found]])
            order = both.argsort()
            whole = _spread(params[order], both[order].tolist(), whole.times, whole.width, whole.height)
    return whole


def save_track(path: Path | str, track: Track, *, note: str = "") -> None:
    """Write a track file; `note` is free text in its metadata.

    Raises:
        InputError: a place that cannot be written. PortrayalError: the disk is full.
    """
    tensors = {f.name: getattr(track.params, f.name).contiguous() for f in fields(FaceParams)}
    tensors["found"] = track.found
    tensors["times"] = torch.tensor([(t.numerator, t.denominator) for t in track.times], dtype=torch.int64)
    metadata = {"format": FORMAT, "width": str(track.width), "height": str(track.height), "note": note}
    path = Path(path)
    make_parent(path)
    try:
        save_tensors(path, tensors, metadata)
    except OSError as error:
        raise writing_error(error, path) from error


def load_track(path: Path | str) -> tuple[Track, str]:
    """Read a track file; returns the track and its note.

    Raises:
        MissingFileError: without the file. InputError: where it is no track file of this version.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"{path} does not exist; write it with: portrayal track VIDEO")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is not a dict
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a track file ({error}); write it with: portrayal track VIDEO") from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} has the format {metadata.get('format')!r}, this version reads {FORMAT}; track again.")
    try:
        params = FaceParams(**{f.name: tensors[f.name] for f in fields(FaceParams)})
        times = tuple(Fraction(int(n), int(d)) for n, d in tensors["times"])
        track = Track(params, times, int(metadata["width"]), int(metadata["height"]), tensors["found"])
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"{path} is damaged ({error}); write it again with: portrayal track VIDEO") from error
    return track, metadata.get("note", "")


def draw_landmarks(image: np.ndarray, faces: Sequence[FaceParams]) -> np.ndarray:
    """A copy of a picture with the landmarks of faces drawn on it.

    Args:
        image: (h, w, 3) uint8 RGB. faces: each t = 1, in pixels of the picture.
    """
    import cv2

    drawn = image.copy()
    radius = max(1, round(max(image.shape) / 700))
    for face in faces:
        for x, y in face.landmarks[0, :, :2].round().int().tolist():
            cv2.circle(drawn, (x, y), radius, (40, 230, 90), -1, cv2.LINE_AA)
    return drawn
