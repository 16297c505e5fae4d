"""What is known of a clip's faces, one interface for both kinds of labels: `FaceParams` per frame, and where faces are.

A track file is read frame by frame where it lies. Landmarks (.npz) are fitted once (`face.morphable.fit_params`) and
the result is kept as a track file in the cache folder, so that a data set of any size takes no memory.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import fields
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from portrayal.data.bad import BadSample
from portrayal.data.clips import Clip, load_clip_landmarks
from portrayal.errors import InputError, PortrayalError
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.media.video import probe
from portrayal.tracking import TRACK_SUFFIX, load_track, nearest, save_track
from portrayal.types import FaceParams, Track

_log = logging.getLogger(__name__)
_RATE = 25
"""Frames per second of clips that come with bare landmarks."""


def mark(*parts: object) -> str:
    """Twelve letters that change when a file (its size or date, for a `Path` among `parts`) or a number changes."""
    told: list[object] = []
    for part in parts:
        if isinstance(part, Path):
            status = part.stat()
            told += [str(part.resolve()), status.st_size, status.st_mtime_ns]
        else:
            told.append(part)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def load_clip_track(clip: Clip) -> Track:
    """All frames of one clip; landmarks are fitted with the face model.

    Where a frame shows no face (`found` false), `params` holds the nearest frame that does.

    Raises:
        BadSample: labels that are missing, damaged, without any face, or of another number of frames than `clips.csv`
            and the video say.
    """
    try:
        if clip.labels.name.endswith(TRACK_SUFFIX):
            track, _ = load_track(clip.labels)
        else:
            track = _fit(clip)
    except InputError as error:
        raise BadSample(clip.name, str(error)) from error
    _check_length(clip, len(track))
    return track


def read_valid(clip: Clip) -> NDArray[np.bool_]:
    """(t,) in which frames a face was found, without reading anything else.

    Raises:
        BadSample: as `load_clip_track`.
    """
    path = clip.labels
    try:
        if path.name.endswith(TRACK_SUFFIX):
            with safe_open(path, framework="np") as file:
                valid = np.asarray(file.get_tensor("found"))
        else:
            with np.load(path, allow_pickle=False) as arrays:
                valid = arrays["valid"]
    except (OSError, KeyError, ValueError, EOFError, SafetensorError) as error:
        raise BadSample(clip.name, f"{path}: the clip's labels cannot be read ({error}); prepare it again") from error
    _check_length(clip, len(valid))
    return valid.astype(bool)


class ClipLabels:
    """Reads single frames of clips.

    Args:
        cache: folder for fitted landmarks; None keeps those of the last few clips in memory.
    """

    def __init__(self, cache: Path | None) -> None:
        self.cache = cache

    def read(self, clip: Clip, frames: Sequence[int]) -> FaceParams:
        """The faces of some frames, in pixels of the clip.

        Raises:
            BadSample: as `load_clip_track`.
        """
        path = clip.labels if clip.labels.name.endswith(TRACK_SUFFIX) else self._fitted(clip)
        if path is None:
            return _kept(clip).params[list(frames)]
        try:
            with safe_open(path, framework="pt") as file:
                slices = {f.name: file.get_slice(f.name) for f in fields(FaceParams)}
                parts = {name: torch.cat([x[i : i + 1] for i in frames]) for name, x in slices.items()}
            return FaceParams(**parts)
        except (OSError, ValueError, SafetensorError, RuntimeError) as error:
            raise BadSample(clip.name, f"{path}: the clip's track is damaged ({error}); prepare it again") from error

    def _fitted(self, clip: Clip) -> Path | None:
        """The cached track of a clip with bare landmarks; None where the cache cannot be written."""
        if self.cache is None or not clip.labels.is_file():
            return None
        path = self.cache / f"{clip.name}-{mark(clip.labels)}{TRACK_SUFFIX}"
        if not path.is_file():
            try:
                save_track(path, load_clip_track(clip))
            except BadSample:
                raise
            except PortrayalError as error:
                _log.warning("%s Labels stay in memory.", error)
                self.cache = None
                return None
        return path


@lru_cache(maxsize=32)
def _kept(clip: Clip) -> Track:
    return load_clip_track(clip)


def _fit(clip: Clip) -> Track:
    landmarks, valid = load_clip_landmarks(clip.labels.parents[1], clip)
    if not valid.any():
        raise InputError(f"{clip.labels}: no frame has a face (valid); leave the clip out of clips.csv")
    info = probe(clip.video)
    seen = torch.from_numpy(landmarks[valid])
    params = fit_params(load_face_model(), seen, width=info.width, height=info.height)
    found = torch.from_numpy(valid.copy())
    params = params[nearest(found.nonzero()[:, 0], len(valid))]
    times = tuple(Fraction(i, _RATE) for i in range(len(valid)))
    return Track(params.replace(confidence=params.confidence * found), times, info.width, info.height, found)


def _check_length(clip: Clip, count: int) -> None:
    if count != clip.frames:
        sentence = f"{clip.labels}: labels of {count} frames, but clips.csv has frames = {clip.frames} for {clip.name}"
        raise BadSample(clip.name, f"{sentence}; prepare the clip again")
