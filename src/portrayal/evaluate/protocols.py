"""What is rendered and what it is compared with: same-identity and cross-identity reenactment.

A case is one source picture with one driving clip. Same-identity (MMFA 4.1; Export3D 1.4): a frame of a clip is driven
by the frames of that clip, which are the truth. Cross-identity: the first frame of one person's clip is driven by
another person's, by a list of pairs that does not change; there is no truth.

In same-identity evaluation motion is relative to the source frame, which is the driving reference: added to itself it
gives the driving frame, and the landmarks that systems are asked to render lie 0.6 px (of 256) from the true ones on
the validation clips, against 1.1 px with absolute motion. In cross-identity evaluation it is absolute: pose and
expression of the driving frame are copied, because the papers' metrics compare with that. Nothing is smoothed.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from portrayal.driving import Performance, keep_track, open_driving
from portrayal.errors import InputError
from portrayal.evaluate.dataset import EvalClip
from portrayal.evaluate.options import EvaluateOptions
from portrayal.evaluate.pairs import pairs_for
from portrayal.face.pose import rotation_to_angles
from portrayal.face.tracker import Tracker
from portrayal.media.image import UInt8
from portrayal.media.video import read_frames
from portrayal.options import MAX_SIDE, AnimateOptions
from portrayal.source import Sitter, sitter_of
from portrayal.tracking import TRACK_SUFFIX

STRETCH = 3
"""Neighbouring frames that are measured together: as few as tell how calm a clip is."""
FRONTAL = 0.26
"""Radians that a frontal face is turned at most about each axis (15 degrees), where a clip has such a frame."""


@dataclass(frozen=True)
class Case:
    """One source picture with one driving clip."""

    protocol: Literal["same", "cross"]
    source: EvalClip
    driving: EvalClip

    @property
    def name(self) -> str:
        """Unique in its protocol; a folder's name."""
        return self.source.name if self.protocol == "same" else f"{self.source.name}--{self.driving.name}"


@dataclass(frozen=True)
class Prepared:
    """A case with everything that all systems need."""

    case: Case
    sitter: Sitter
    performance: Performance
    frames: list[int]
    """Numbers of the driving frames that are rendered and measured, rising."""
    driving: list[UInt8]
    """(h, w, 3), those frames."""
    animate: AnimateOptions

    @property
    def source(self) -> UInt8:
        """(h, w, 3), the source picture."""
        assert self.sitter.picture is not None
        return self.sitter.picture


def make_cases(
    protocol: Literal["same", "cross"], clips: Sequence[EvalClip], options: EvaluateOptions
) -> tuple[list[Case], str]:
    """The cases of a protocol in their order, and what they are, as a sentence for the report.

    Raises:
        InputError: cross-identity with clips of one person.
    """
    limit = options.clips or None
    if protocol == "same":
        which = "first" if options.source_frame == "first" else "a random frontal"
        said = f"Same-identity: {which} frame of each clip is driven by the clip."
        return [Case("same", clip, clip) for clip in clips][:limit], said
    pairs, origin = pairs_for(clips, seed=options.seed)
    by_name = {clip.name: clip for clip in clips}
    said = f"Cross-identity: first frame of a clip, driven by another person's clip; pairs from {origin}."
    return [Case("cross", by_name[p.source], by_name[p.driving]) for p in pairs][:limit], said


def prepare(case: Case, options: EvaluateOptions, *, tracker: Tracker, cache: Path) -> Prepared:
    """Track, choose the source frame and the measured frames, and read them.

    Args:
        cache: folder for track files, which are read again next time.

    Raises:
        InputError: a clip that cannot be read, shows no face, or has too few frames with one; it is named.
    """
    performance = follow(case.driving, tracker, cache)
    if case.protocol == "same":
        at = _source_frame(performance, options)
        sitter = sitter_of(f"{case.source.name}, frame {at}", _pictures(case.source.video, [at])[0], tracker=tracker)
        reference: int | None = at
    else:
        at, reference = -1, None
        sitter = first_picture(case.source, tracker=tracker, cache=cache)
    usable = [i for i in performance.found.nonzero()[:, 0].tolist() if i != at]
    frames = choose_frames(usable, options.frames)
    if not frames:
        raise InputError(f"{case.driving.name}: too few frames with a face; leave the clip out")
    return Prepared(
        case=case,
        sitter=sitter,
        performance=performance,
        frames=frames,
        driving=_pictures(case.driving.video, frames),
        animate=AnimateOptions(
            motion=motion_of(case.protocol, options), smooth=0.0, reference=reference, device=options.device
        ),
    )


def first_picture(clip: EvalClip, *, tracker: Tracker, cache: Path) -> Sitter:
    """The first frame of a clip in which the tracker sees a face, as a source.

    Raises:
        InputError: a clip that cannot be read or shows no face.
    """
    at = int(follow(clip, tracker, cache).found.nonzero()[0, 0])
    return sitter_of(f"{clip.name}, frame {at}", _pictures(clip.video, [at])[0], tracker=tracker)


def motion_of(protocol: str, options: EvaluateOptions) -> Literal["absolute", "relative"]:
    """What `auto` stands for."""
    if options.motion != "auto":
        return options.motion
    return "relative" if protocol == "same" else "absolute"


def choose_frames(usable: Sequence[int], count: int) -> list[int]:
    """About `count` of the usable frames: stretches of `STRETCH` neighbours, spread evenly; 0 is all of them."""
    if count == 0 or len(usable) <= count:
        return list(usable)
    starts = np.linspace(0, len(usable) - STRETCH, max(1, count // STRETCH)).round().astype(int)
    return sorted({usable[s + i] for s in starts.tolist() for i in range(STRETCH)})


def stretches(frames: Sequence[int]) -> list[list[int]]:
    """Positions in `frames` of runs of neighbouring frame numbers."""
    runs: list[list[int]] = []
    for position, number in enumerate(frames):
        if runs and number == frames[position - 1] + 1:
            runs[-1].append(position)
        else:
            runs.append([position])
    return runs


def fingerprint(*parts: object) -> str:
    """A short hash of anything JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def file_mark(path: Path) -> list[object]:
    """Tells whether a file was changed: its name, size and date."""
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); copy the data again") from error
    return [path.name, status.st_size, status.st_mtime_ns]


def follow(clip: EvalClip, tracker: Tracker, cache: Path) -> Performance:
    """The clip's motion; raises InputError naming it where it shows no face."""
    mark = fingerprint(*file_mark(clip.video), type(tracker).__name__)
    kept = cache / f"{clip.name}-{mark}{TRACK_SUFFIX}"
    performance = open_driving(clip.video, tracker=tracker, cache=kept)
    keep_track(performance, kept)
    return performance


def _source_frame(performance: Performance, options: EvaluateOptions) -> int:
    """The first frame with a face, or a frontal one drawn by the seed and the clip's name."""
    seen = performance.found.nonzero()[:, 0]
    if options.source_frame == "first":
        return int(seen[0])
    turn = rotation_to_angles(performance.params.rotation[seen])[:, :2].abs().amax(1)
    frontal = seen[turn <= max(FRONTAL, float(turn.min()))].tolist()
    return int(random.Random(f"{options.seed} {performance.name}").choice(frontal))


def _pictures(video: Path, frames: Sequence[int]) -> list[UInt8]:
    """The frames of a video with these rising numbers."""
    wanted, found = set(frames), []
    for number, frame in enumerate(read_frames(video, start=frames[0], max_side=MAX_SIDE), frames[0]):
        if number in wanted:
            found.append(frame.image)
        if number >= frames[-1]:
            break
    return found


def times_of(prepared: Prepared) -> tuple[float, ...]:
    """Seconds of each measured frame."""
    return tuple(float(prepared.performance.times[i]) for i in prepared.frames)


def generator_for(seed: int, *names: str) -> torch.Generator:
    """Random numbers that depend on the seed and on what they are for."""
    return torch.Generator().manual_seed(int(fingerprint(seed, *names), 16) % 2**63)
