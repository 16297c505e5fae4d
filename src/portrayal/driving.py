"""Where motion comes from: a video, a picture, a motion template or a built-in motion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from portrayal.errors import InputError
from portrayal.face.tracker import Tracker
from portrayal.media.image import UInt8, is_picture, read_image
from portrayal.media.video import read_frames
from portrayal.motion.builtin import builtin_motion
from portrayal.motion.template import is_template, load_template
from portrayal.options import MAX_SIDE
from portrayal.tracking import Progress, draw_landmarks, join_tracks, load_track, save_track, silent, track_video
from portrayal.types import Driving, FaceParams, Track

DEFAULT = "builtin:talk"
"""The motion that is used when none is given."""
PREFIX = "builtin:"


@dataclass(frozen=True)
class Performance:
    """A motion before it is moved onto somebody: one face over time."""

    name: str
    params: FaceParams
    """(t, ...) in pixels of the driving picture; of a template or built-in motion in pixels of its own."""
    times: tuple[Fraction, ...]
    found: Tensor
    """(t,) bool: the face was seen; elsewhere `params` holds the nearest seen frame."""
    width: int
    height: int
    """Of the pictures that `pictures` gives."""
    faces_found: int = 1
    """How many faces the driving picture or video shows."""
    path: Path | None = None
    """The video, for its sound and for showing it; None where there are no pictures."""
    template: Path | None = None
    """The motion template that it was read from."""
    picture: Callable[[int], UInt8] | None = None
    """Gives the (h, w, 3) picture of a frame where there is no file of them."""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.params)

    @property
    def sound(self) -> Path | None:
        """The video whose sound goes with the motion."""
        return None if self.path is None or is_picture(self.path) else self.path

    def select(self, missing: Literal["hold", "skip", "error"]) -> list[int]:
        """The frames to render, by what shall happen to those without a face.

        Raises:
            InputError: for error, where a frame has no face.
        """
        if missing == "hold" or bool(self.found.all()):
            return list(range(len(self)))
        if missing == "error":
            first = int((~self.found).nonzero()[0, 0])
            count = int((~self.found).sum())
            at = float(self.times[first] - self.times[0])
            text = f"{self.name}: {count} of {len(self)} frames show no face, the first is frame {first} at {at:.2f} s"
            raise InputError(f"{text}; --missing hold keeps the motion there, --missing skip leaves them out.")
        return self.found.nonzero()[:, 0].tolist()

    def all_pictures(self) -> Iterator[UInt8] | None:
        """The driving picture of every frame; None where the motion comes without."""
        if self.picture is not None:
            return map(self.picture, range(len(self)))
        return None if self.path is None else self.pictures(list(range(len(self))))

    def pictures(self, frames: list[int]) -> Iterator[UInt8]:
        """The driving pictures with these rising numbers; where there are none, its landmarks on grey."""
        if self.path is None:
            middle = torch.tensor([self.width / 2, self.height / 2])
            shift = torch.cat([middle - _extent(self.params)[0], torch.zeros(1)])
            for index in frames:
                blank = np.full((self.height, self.width, 3), 40, np.uint8)
                face = self.params[index]
                yield draw_landmarks(blank, [face.replace(landmarks=face.landmarks + shift)])
        elif is_picture(self.path):
            yield from [read_image(self.path, max_side=MAX_SIDE)] * len(frames)
        elif frames:
            wanted = set(frames)
            for index, frame in enumerate(read_frames(self.path, start=frames[0], max_side=MAX_SIDE), frames[0]):
                if index in wanted:
                    yield frame.image


def open_driving(
    driving: Path | str | None, *, tracker: Tracker, cache: Path | None = None, progress: Progress = silent
) -> Performance:
    """Read a motion; of a video's faces the most prominent one drives.

    Args:
        driving: path of a video, picture or motion template, "builtin:NAME", or None for `DEFAULT`.
        cache: a track file that `keep_track` wrote for this video; where it exists, tracking is left out.

    Raises:
        InputError: where it cannot be read or no frame shows a face.
    """
    name = motion_name(driving)
    if driving is None or is_builtin(driving):
        return _from_motion(name, builtin_motion(name))
    path = Path(driving)
    if is_template(path):
        return replace(_from_motion(name, load_template(path)), template=path)
    if is_picture(path):
        return _from_picture(path, tracker)
    return _from_video(path, tracker, cache, progress)


def keep_track(performance: Performance, path: Path) -> None:
    """Write what tracking a driving video found, to be read by `open_driving`; nothing for other motions."""
    if performance.sound is not None and not path.exists():
        p = performance
        save_track(path, Track(p.params, p.times, p.width, p.height, p.found), note=str(p.faces_found))


def is_builtin(driving: Path | str | None) -> bool:
    """Whether a built-in motion is meant, not a file."""
    return driving is None or str(driving).startswith(PREFIX)


def motion_name(driving: Path | str | None) -> str:
    """The motion's part of a result's name."""
    text = str(DEFAULT if driving is None else driving)
    if text == "0":
        raise InputError("a camera cannot drive yet; record a video with it and give that file with -d.")
    return text.removeprefix(PREFIX) if is_builtin(driving) else Path(text).name.split(".")[0]


def _from_motion(name: str, motion: Driving) -> Performance:
    side = round(1.4 * float(_extent(motion.params)[1].max()))
    return Performance(name, motion.params, motion.times, motion.params.confidence > 0, side, side)


def _extent(params: FaceParams) -> tuple[Tensor, Tensor]:
    """(2,) middle and (2,) size in pixels of the box around all landmarks of all frames."""
    low, high = params.landmarks[..., :2].amin((0, 1)), params.landmarks[..., :2].amax((0, 1))
    return (low + high) / 2, high - low


def _from_picture(path: Path, tracker: Tracker) -> Performance:
    picture = read_image(path, max_side=MAX_SIDE)
    faces = tracker.track_picture(picture)
    if not faces:
        raise InputError(f"{path}: no face was found in it; give a driving picture or video that shows a face.")
    height, width = picture.shape[:2]
    found = torch.ones(1, dtype=torch.bool)
    notes = _say_several(path, len(faces))
    return Performance(path.stem, faces[0], (Fraction(0),), found, width, height, len(faces), path, notes=notes)


def _from_video(path: Path, tracker: Tracker, cache: Path | None, progress: Progress) -> Performance:
    if cache is not None and cache.is_file():
        track, note = load_track(cache)
        faces = int(note)
    else:
        tracks = track_video(path, tracker=tracker, max_side=MAX_SIDE, progress=progress)
        if not tracks:
            raise InputError(f"{path}: no face was found in this video; give a driving video that shows a face.")
        track = join_tracks(tracks)
        faces = 1 + sum(bool((t.found & tracks[0].found).any()) for t in tracks[1:])
    return Performance(
        path.stem,
        track.params,
        track.times,
        track.found,
        track.width,
        track.height,
        faces,
        path,
        notes=_say_several(path, faces),
    )


def _say_several(path: Path, faces: int) -> tuple[str, ...]:
    return (f"{path.name} shows {faces} faces; the most prominent one drives.",) if faces > 1 else ()
