"""One raw video to clips: find the stretches, then cut them out.

The video is decoded twice: first every frame is tracked and the stretches are decided on (what is kept in memory is the
faces of at most `max_frames` frames), then the crops of the good ones are written. Nothing grows with its length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from portrayal.data.cuts import CutFinder
from portrayal.data.prepare_options import PrepareOptions
from portrayal.data.prepare_quality import Moment, corners_of, crop_of, fault, overlap, sharpness, union
from portrayal.face.pose import rotation_to_angles
from portrayal.face.tracker import FaceReading, Sighting, Stream, Tracker
from portrayal.media.crop import Crop, apply_crop, params_to_crop
from portrayal.media.video import VideoWriter, read_frames
from portrayal.tracking import TRACK_SUFFIX, one_torch_thread, save_track
from portrayal.types import Frame, Track

SHARPNESS_EVERY = 5
"""Frames between two measurements of sharpness."""
NO_FACE = "no face"

Count = Callable[[int], None]
"""Called with the number of frames that were read since the last call."""


@dataclass(frozen=True)
class Stretch:
    """Consecutive frames of one face that become a clip."""

    start: int
    """Its first frame, counted at the clips' frame rate."""
    crop: Crop
    track: Track
    """In pixels of the crop."""


@dataclass
class Outcome:
    """What became of the frames of one video."""

    frames: int = 0
    """At the clips' frame rate."""
    clips: list[tuple[str, int]] = field(default_factory=list)
    """Name and number of frames of each."""
    dropped: dict[str, list[int]] = field(default_factory=dict)
    """Why -> frames of each stretch that was dropped for it."""
    error: str | None = None
    """Why the video cannot be read."""

    def drop(self, reason: str, frames: int) -> None:
        if frames:
            self.dropped.setdefault(reason, []).append(frames)


def prepare_video(
    video: Path, name: str, folder: Path, tracker: Tracker, options: PrepareOptions, count: Count = lambda frames: None
) -> Outcome:
    """Write the clips of one video as `<folder>/<name>_NNN.mp4` and `.track.safetensors`.

    Raises:
        InputError: a video that cannot be read; clips that were written before its damaged place are overwritten next
            time. PortrayalError: the disk is full.
    """
    outcome = Outcome()
    with one_torch_thread():
        stretches = list(find_stretches(video, tracker, options, outcome, count))
    rest = iter(stretches)
    stretch = next(rest, None)
    frames = enumerate(at_rate(read_frames(video), options.fps))
    while stretch is not None:
        path = folder / f"{name}_{len(outcome.clips):03d}.mp4"
        _write(path, stretch, frames, options, count)
        note = f"{video.name}, from {float(Fraction(stretch.start, options.fps)):.2f} s"
        save_track(path.with_suffix(TRACK_SUFFIX), stretch.track, note=note)
        outcome.clips.append((path.stem, len(stretch.track)))
        stretch = next(rest, None)
    return outcome


def at_rate(frames: Iterator[Frame], fps: int) -> Iterator[Frame]:
    """Frames at times k / fps: of the given ones always the one on show, so some are left out or come again."""
    last: Frame | None = None
    begin, k = Fraction(0), 0
    for frame in frames:
        if last is None:
            begin = frame.time
        while last is not None and begin + Fraction(k, fps) < frame.time:
            yield Frame(last.image, Fraction(k, fps))
            k += 1
        last = frame
    if last is not None:
        end = last.time + (last.duration or Fraction(1, fps))
        while begin + Fraction(k, fps) < end:
            yield Frame(last.image, Fraction(k, fps))
            k += 1


def find_stretches(
    video: Path, tracker: Tracker, options: PrepareOptions, outcome: Outcome, count: Count = lambda frames: None
) -> Iterator[Stretch]:
    """The good stretches of a video in order; the other frames go to `outcome.dropped` with the reason."""
    rules = options.rules
    moments: list[Moment] = []
    cuts, stream, number, faceless = CutFinder(), tracker.stream(), -1, 0
    height = width = 0
    for index, frame in enumerate(at_rate(read_frames(video), options.fps)):
        height, width = frame.image.shape[:2]
        if cuts.step(frame.image):
            yield from _close(moments, index, tracker, options, outcome, width, height)
            moments, stream = [], tracker.stream()
        seen = _sightings(stream, frame)
        mine = next((face for face in seen if moments and face.number == number), None)
        if mine is not None and overlap(corners_of(moments[0].reading), corners_of(mine.reading)) < rules.keep_overlap:
            mine = None
        if moments and (mine is None or len(moments) == rules.max_frames):
            yield from _close(moments, index, tracker, options, outcome, width, height)
            moments = []
        mine = mine or (seen[0] if seen else None)
        if mine is None:
            faceless += 1
        else:
            number = mine.number
            moments.append(_moment(frame, mine, seen, measure=len(moments) % SHARPNESS_EVERY == 0))
        outcome.frames = index + 1
        count(1)
    yield from _close(moments, outcome.frames, tracker, options, outcome, width, height)
    outcome.drop(NO_FACE, faceless)


def _sightings(stream: Stream, frame: Frame) -> list[Sighting]:
    """The faces of the next frame, the largest first."""
    return stream.read_batch([frame.image])[0]


def _moment(frame: Frame, mine: Sighting, seen: list[Sighting], *, measure: bool) -> Moment:
    others = [corners_of(face.reading) for face in seen if face is not mine]
    sharp = sharpness(frame.image, corners_of(mine.reading)) if measure else None
    return Moment(mine.reading, np.array(others).reshape(-1, 4), sharp)


def _close(
    moments: list[Moment],
    end: int,
    tracker: Tracker,
    options: PrepareOptions,
    outcome: Outcome,
    width: int,
    height: int,
) -> Iterator[Stretch]:
    """Decide on the frames before `end` that show one face."""
    if not moments:
        return
    crop = crop_of(union([corners_of(m.reading) for m in moments]), options.size, options.rules)
    params = tracker.fit(FaceReading.cat([m.reading for m in moments]), width, height)
    yaw = rotation_to_angles(params.rotation)[:, 0].numpy()
    reason = fault(moments, crop, options.rules, width=width, height=height, yaw=yaw)
    if reason is not None:
        outcome.drop(reason, len(moments))
        return
    times = tuple(Fraction(i, options.fps) for i in range(len(moments)))
    found = params.confidence > 0
    track = Track(params_to_crop(params, crop), times, options.size, options.size, found)
    yield Stretch(end - len(moments), crop, track)


def _write(
    path: Path, stretch: Stretch, frames: Iterator[tuple[int, Frame]], options: PrepareOptions, count: Count
) -> None:
    """Cut a stretch out of the frames of its video, which go on after the stretch before."""
    last = stretch.start + len(stretch.track) - 1
    step = Fraction(1, options.fps)
    with VideoWriter(path, width=options.size, height=options.size, quality=options.quality) as writer:
        for index, frame in frames:
            if index >= stretch.start:
                writer.write(apply_crop(frame.image, stretch.crop), (index - stretch.start) * step, step)
            count(1)
            if index == last:
                return
