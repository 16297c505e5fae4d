"""From a source and a motion to finished pictures: everything known is planned first, then rendered one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from portrayal.driving import Performance
from portrayal.face.smooth import jitter_score, smooth_params
from portrayal.media.crop import apply_crop
from portrayal.media.image import UInt8, to_tensor, to_uint8
from portrayal.media.paste import Paster
from portrayal.motion.reference import reference_frame
from portrayal.motion.retarget import retarget
from portrayal.options import AnimateOptions
from portrayal.source import Sitter, SourceFace
from portrayal.types import Driving, FaceClip, Portrait, Source, System

PANEL_HEIGHT = 720
"""Largest height of a side-by-side picture in pixels."""


@dataclass(frozen=True)
class Plan:
    """What is to be rendered."""

    frames: list[int]
    """Driving frames, rising."""
    source_frames: list[int]
    """The source frame that goes with each; all 0 for a picture."""
    drivings: tuple[Driving, ...]
    """For each face that moves, the motion on it in pixels of its crop; one entry per rendered frame."""
    reference: int
    """Driving frame that stands for the source's own pose and expression."""
    jitter: tuple[float, float]
    """Of the driving landmarks before and after smoothing."""
    notes: tuple[str, ...]

    def rest(self, start: int) -> Plan:
        """The plan without its first `start` frames."""
        drivings = tuple(d[start:] for d in self.drivings)
        return replace(self, frames=self.frames[start:], source_frames=self.source_frames[start:], drivings=drivings)


def plan_animation(
    system: System, model: nn.Module, sitter: Sitter, performance: Performance, options: AnimateOptions
) -> Plan:
    """Smooth the whole motion, find its reference frame and move it onto every face.

    Raises:
        InputError: a reference that is no frame of the motion, or frames without a face and `missing` is error.
    """
    frames = performance.select(options.missing)
    raw, times = performance.params, performance.times
    smoothed = smooth_params(raw, times, options.smooth) if options.smooth and len(raw) > 2 else raw
    jitter = (jitter_score(raw.landmarks, times), jitter_score(smoothed.landmarks, times))
    notes: tuple[str, ...] = ()
    if len(performance) == 1 and options.motion == "relative":
        options = replace(options, motion="absolute")
        notes = (f"{performance.name} has one frame and so no motion; its pose and expression are taken as they are.",)
    reference = options.reference
    if reference is None:
        reference = reference_frame(smoothed, sitter.faces[0].params[0])
    driving = system.encode_driving(model, FaceClip(torch.empty(len(raw), 3, 0, 0), smoothed, times))
    options = replace(options, smooth=0.0, reference=reference)
    source_frames = sitter.frames_at(times)
    drivings = []
    for face in sitter.faces:
        own = face.params if sitter.picture is not None else face.params[source_frames]
        drivings.append(_select(retarget(own, driving, options), frames))
    return Plan(frames, [source_frames[i] for i in frames], tuple(drivings), reference, jitter, notes)


def _select(driving: Driving, frames: list[int]) -> Driving:
    """Some frames of a motion."""
    if len(frames) == len(driving):
        return driving
    return replace(driving, params=driving.params[frames], times=tuple(driving.times[i] for i in frames))


def render_pictures(system: System, model: nn.Module, sitter: Sitter, plan: Plan) -> Iterator[UInt8]:
    """Source pictures with every face rendered and pasted in, (h, w, 3), one per planned frame."""
    pasters: list[Paster] = []
    for picture, crops in _render(system, model, sitter, plan):
        if not pasters:
            pasters = [Paster(picture, face.crop, face.mask) for face in sitter.faces]
        for paster, crop in zip(pasters, crops, strict=True):
            picture = paster.paste(crop, onto=picture)
        yield picture


def render_crops(
    system: System, model: nn.Module, sitter: Sitter, plan: Plan, *, size: int | None = None
) -> Iterator[UInt8]:
    """The rendered square around the only face that moves, one per planned frame; `size` is its side in pixels."""
    for _, (crop,) in _render(system, model, sitter, plan):
        yield crop if size is None else cv2.resize(crop, (size, size), interpolation=_interpolation(size, len(crop)))


def _interpolation(size: int, old: int) -> int:
    return cv2.INTER_AREA if size < old else cv2.INTER_CUBIC


def _render(system: System, model: nn.Module, sitter: Sitter, plan: Plan) -> Iterator[tuple[UInt8, list[UInt8]]]:
    """(source picture, rendered crop of each face) per frame."""
    if sitter.picture is not None:
        sources = [_encode(system, model, sitter.picture, face, 0) for face in sitter.faces]
        streams = [_render_singles(system, model, s, d) for s, d in zip(sources, plan.drivings, strict=True)]
        for crops in zip(*streams, strict=True):
            yield sitter.picture, list(crops)
        return
    # Every frame of a source video is a portrait of its own.
    for i, picture in enumerate(sitter.pictures(plan.source_frames)):
        sources = [_encode(system, model, picture, face, plan.source_frames[i]) for face in sitter.faces]
        motions = [driving[i : i + 1] for driving in plan.drivings]
        streams = [_render_singles(system, model, s, d) for s, d in zip(sources, motions, strict=True)]
        yield picture, [next(stream) for stream in streams]


def _encode(system: System, model: nn.Module, picture: UInt8, face: SourceFace, frame: int) -> Source:
    portrait = Portrait(to_tensor(apply_crop(picture, face.crop)), face.params[frame])
    return system.encode_source(model, portrait)


def _render_singles(system: System, model: nn.Module, source: Source, driving: Driving) -> Iterator[UInt8]:
    """(size, size, 3) uint8 pictures, one by one."""
    batches: Iterator[Tensor] = system.render(model, source, driving)
    for batch in batches:
        yield from to_uint8(batch)


def panels(sitter: Sitter, performance: Performance, plan: Plan) -> Iterator[tuple[UInt8, UInt8]]:
    """(source picture, driving picture) of each planned frame."""
    return zip(sitter.pictures(plan.source_frames), performance.pictures(plan.frames), strict=True)


def side_by_side(pictures: Sequence[UInt8]) -> UInt8:
    """Pictures in a row, all with the height of the last one, at most `PANEL_HEIGHT`."""
    height = min(pictures[-1].shape[0], PANEL_HEIGHT)
    sizes = [(max(2, round(p.shape[1] * height / p.shape[0])), height) for p in pictures]
    return np.concatenate(
        [cv2.resize(p, s, interpolation=cv2.INTER_AREA) for p, s in zip(pictures, sizes, strict=True)], 1
    )
