"""What will limit an animation, in plain words, before it is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

from portrayal.face.measure import mouth_openness
from portrayal.face.pose import rotation_to_angles
from portrayal.face.smooth import jitter_score
from portrayal.motion.openings import CLOSED_EYE
from portrayal.motion.reference import Reference, choose_reference
from portrayal.types import FaceParams

Severity = Literal["good", "note", "warning", "problem"]
"""good: as it should be. note: worth knowing. warning: will be visible. problem: will look wrong."""

LARGEST_TURN_DEG = 25.0
"""Yaw up to which one picture of a face says enough about its hidden side."""
LARGEST_NOD_DEG = 20.0
SMALL_FACE_PX = 130
TINY_FACE_PX = 60
"""Width of the face."""
SHAKY = 1.0
"""`jitter_score` in percent; well tracked talking people have 0.5."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    severity: Severity
    about: Literal["source", "driving"]
    text: str
    """One or two sentences: what, and what to do."""

    def __str__(self) -> str:
        return f"{self.severity:8}{self.about}: {self.text}"


def preflight(
    source: FaceParams,
    driving: FaceParams,
    *,
    source_size: tuple[int, int],
    faces_in_source: int = 1,
    driving_size: tuple[int, int] | None = None,
    driving_times: Sequence[Fraction] | None = None,
    faces_in_driving: int = 1,
) -> list[Finding]:
    """Look at both faces and say what to expect.

    Args:
        source: t = 1 (or a source video's frames), in pixels of the whole picture.
        driving: t frames, in pixels of the whole picture; confidence 0 where no face was found.
        source_size, driving_size: (width, height) of those pictures in pixels; None skips what needs it.
        faces_in_source, faces_in_driving: how many faces were found.
        driving_times: of the driving frames, to name the reference frame by its time.

    Returns:
        Problems first, then warnings, notes and what is good.
    """
    found = [
        *_size(source, source_size, faces_in_source),
        *_visibility(source, source_size),
        *_rest(source),
        *_driving_frames(driving, faces_in_driving),
    ]
    if bool((driving.confidence > 0).any()):
        if driving_size is not None:
            found += _driving_place(driving, driving_size)
        chosen = choose_reference(driving, source[0])
        found += [_turns(source, driving, chosen.index), *_steadiness(driving, driving_times)]
        found += [_reference(chosen, len(driving), driving_times)]
    order = ("problem", "warning", "note", "good")
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _size(source: FaceParams, size: tuple[int, int], faces: int) -> Iterator[Finding]:
    width = float(_extent(source.landmarks[:1])[0, 0])
    if width < TINY_FACE_PX:
        text = f"the face is only {width:.0f} pixels wide and will be a blur; use a picture where it is {SMALL_FACE_PX}"
        yield Finding("problem", "source", text + " or more.")
    elif width < SMALL_FACE_PX:
        text = (
            f"the face is {width:.0f} pixels wide; teeth and eyes will be soft, from {SMALL_FACE_PX} on they are sharp."
        )
        yield Finding("warning", "source", text)
    else:
        yield Finding("good", "source", f"the face is {width:.0f} pixels wide in a picture of {size[0]} x {size[1]}.")
    if faces > 1:
        text = f"{faces} faces were found; the largest moves. --face N chooses another, --face all moves all."
        yield Finding("note", "source", text)


def _visibility(source: FaceParams, size: tuple[int, int]) -> Iterator[Finding]:
    points = source.landmarks[0, :, :2]
    cut = [name for name, share in _outside(points, size).items() if share > 0.01]
    room = torch.cat([points.amin(0), torch.tensor(size) - points.amax(0)]).min() / _extent(source.landmarks[:1])[0, 0]
    if cut:
        text = f"the face is cut off at the {' and '.join(cut)} of the picture; what is missing will be smeared."
        yield Finding("warning", "source", text)
    elif float(room) < 0.12:
        text = "the face almost touches the border of the picture; a head that moves far will be cut off."
        yield Finding("note", "source", text)
    sure = f"(confidence {float(source.confidence[0]):.0%})"
    if source.confidence[0] < 0.5:
        text = f"the face is hard to make out {sure}: covered, or no face. Use a clear, uncovered one."
        yield Finding("problem", "source", text)
    elif source.confidence[0] < 0.8:
        text = f"hair, a hand, glasses or a mask may cover the face {sure}; what covers it will bend with it."
        yield Finding("warning", "source", text)


def _rest(source: FaceParams) -> Iterator[Finding]:
    yaw, pitch, _ = _degrees(source)[0].tolist()
    if abs(yaw) > LARGEST_TURN_DEG:
        text = f"the head is turned {abs(yaw):.0f} degrees aside; its hidden side is a guess. Frontal works best."
        yield Finding("warning", "source", text)
    if abs(pitch) > LARGEST_NOD_DEG:
        way = "down" if pitch > 0 else "up"
        yield Finding("warning", "source", f"the head looks {abs(pitch):.0f} degrees {way}; a level head works best.")
    mouth = float(mouth_openness(source.landmarks[:1])[0])
    if mouth > 0.05:
        text = "the mouth is open, and relative motion adds to that; a closed mouth works best, or --motion absolute."
        yield Finding("warning" if mouth > 0.12 else "note", "source", text)
    shut = source.eye_openness[0] < 1.5 * CLOSED_EYE
    if bool(shut.any()):
        which = "both eyes are" if bool(shut.all()) else f"the {'right' if shut[0] else 'left'} eye is"
        text = f"{which} shut or nearly shut; an eye that the picture does not show cannot be opened."
        yield Finding("warning", "source", text)


def _driving_frames(driving: FaceParams, faces: int) -> Iterator[Finding]:
    missing, count = int((driving.confidence <= 0).sum()), len(driving)
    if missing == count:
        yield Finding("problem", "driving", "no face was found in any frame.")
        return
    if missing:
        severity: Severity = "problem" if missing > 0.3 * count else "warning"
        text = (
            f"no face was found in {missing} of {count} frames; the motion is held there (or left out: --missing skip)."
        )
        yield Finding(severity, "driving", text)
    unsure = float((driving.confidence[driving.confidence > 0] < 0.6).float().mean())
    if unsure > 0.1:
        text = (
            f"the face is covered, blurred or turned away in {unsure:.0%} of the frames; the motion there is a guess."
        )
        yield Finding("warning", "driving", text)
    if faces > 1:
        yield Finding("note", "driving", f"{faces} faces were found; the most prominent one drives.")


def _driving_place(driving: FaceParams, size: tuple[int, int]) -> Iterator[Finding]:
    landmarks = driving.landmarks[driving.confidence > 0]
    width = float(_extent(landmarks)[:, 0].median())
    if width < TINY_FACE_PX:
        text = f"the face is only {width:.0f} pixels wide; fine motion of lips and eyes is lost."
        yield Finding("warning", "driving", text)
    outside = torch.tensor([sum(_outside(points[:, :2], size).values()) > 0.02 for points in landmarks])
    share = float(outside.float().mean())
    if share > 0.05:
        text = f"the face leaves the picture in {share:.0%} of the frames; the motion there is a guess."
        yield Finding("warning", "driving", text)


def _turns(source: FaceParams, driving: FaceParams, reference: int) -> Finding:
    """How far the result will turn: the source's own angles plus the driving change since the reference frame."""
    change = _degrees(driving)[driving.confidence > 0] - _degrees(driving)[reference]
    yaw, pitch, _ = (change + _degrees(source)[:1]).abs().unbind(1)
    far = float(((yaw > LARGEST_TURN_DEG) | (pitch > LARGEST_NOD_DEG)).float().mean())
    text = f"the result will turn up to {float(yaw.max()):.0f} degrees aside and {float(pitch.max()):.0f} up or down"
    if far == 0:
        return Finding("good", "driving", f"{text}, which works.")
    severity: Severity = "problem" if far > 0.3 else "warning" if far > 0.03 else "note"
    limit = f"{LARGEST_TURN_DEG:.0f} and {LARGEST_NOD_DEG:.0f}"
    advice = "calmer motion, --strength 0.7 or a more frontal picture helps"
    return Finding(
        severity, "driving", f"{text}, in {far:.0%} of the frames beyond what works well ({limit}); {advice}."
    )


def _steadiness(driving: FaceParams, times: Sequence[Fraction] | None) -> Iterator[Finding]:
    shake = jitter_score(driving.landmarks, times or range(len(driving)))
    if shake > SHAKY:
        text = f"the landmarks tremble by {shake:.1f} % of the distance of the eyes; more --smooth helps."
        yield Finding("warning", "driving", text)


def _reference(chosen: Reference, count: int, times: Sequence[Fraction] | None) -> Finding:
    at = f" at {float(times[chosen.index]):.2f} s" if times is not None else ""
    text = f"frame {chosen.index}{at} of {count} is the reference for relative motion: {chosen.reason()}."
    return Finding("note" if chosen.objections() else "good", "driving", text)


def _degrees(params: FaceParams) -> Tensor:
    """(t, 3) yaw, pitch, roll in degrees."""
    return torch.rad2deg(rotation_to_angles(params.rotation))


def _extent(landmarks: Tensor) -> Tensor:
    """(t, 478, 3) to (t, 2): width and height in pixels."""
    return landmarks[..., :2].amax(1) - landmarks[..., :2].amin(1)


def _outside(points: Tensor, size: tuple[int, int]) -> dict[str, float]:
    """Share of the points (n, 2) beyond each border."""
    x, y = points.unbind(1)
    beyond = {"left": x < 0, "right": x > size[0], "top": y < 0, "bottom": y > size[1]}
    return {name: float(mask.float().mean()) for name, mask in beyond.items()}
