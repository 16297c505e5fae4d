"""From a source and a motion to finished pictures: everything known is planned first, then rendered one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import cast

import cv2
import numpy as np
import torch
from torch import nn

from portrayal.background import Background
from portrayal.capabilities import DepthRenderer, LayerRenderer, Remarker
from portrayal.driving import Performance
from portrayal.encoding import encode_motion, encode_portrait, model_device
from portrayal.face.smooth import jitter_score, smooth_params
from portrayal.media.background import cover, without_heads
from portrayal.media.crop import apply_crop, scaling
from portrayal.media.depth import PlacedDepth, UInt16, depth_picture
from portrayal.media.image import UInt8, to_uint8
from portrayal.media.paste import Mask, Paster
from portrayal.motion.reference import reference_frame
from portrayal.motion.retarget import retarget
from portrayal.options import AnimateOptions
from portrayal.room import make_room
from portrayal.source import Sitter, SourceFace, cut_portrait
from portrayal.tracking import Progress, silent
from portrayal.types import Driving, Source, System, move

PANEL_HEIGHT = 720
"""Largest height of a side-by-side picture in pixels."""


@dataclass(frozen=True)
class Plan:
    """What is to be rendered."""

    sitter: Sitter
    """The source, with crops in which the motion has room (`portrayal.room`)."""
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

    @property
    def times(self) -> tuple[Fraction, ...]:
        """Presentation time of each rendered frame in seconds."""
        return self.drivings[0].times

    def pick(self, positions: Sequence[int]) -> Plan:
        """The plan of some of its frames, in this order."""
        at = list(positions)
        frames, source_frames = ([x[i] for i in at] for x in (self.frames, self.source_frames))
        drivings = tuple(d.pick(at) for d in self.drivings)
        return replace(self, frames=frames, source_frames=source_frames, drivings=drivings)

    def rest(self, start: int) -> Plan:
        """The plan without its first `start` frames."""
        drivings = tuple(d[start:] for d in self.drivings)
        return replace(self, frames=self.frames[start:], source_frames=self.source_frames[start:], drivings=drivings)


def plan_animation(
    system: System,
    model: nn.Module,
    sitter: Sitter,
    performance: Performance,
    options: AnimateOptions,
    *,
    progress: Progress = silent,
) -> Plan:
    """Smooth the whole motion, find its reference frame and move it onto every face.

    Raises:
        InputError: a reference that is no frame of the motion, frames without a face and `missing` is error, or a
            motion without the pictures that the system needs.
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
    options = replace(options, smooth=0.0, reference=reference)
    driving = encode_motion(system, model, performance, smoothed, progress=progress)
    source_frames = sitter.frames_at(times)
    if sitter.picture is None and times[-1] - times[0] > sitter.times[-1] - sitter.times[0] + Fraction(1, 10):
        notes += (f"{sitter.name} is shorter than the motion; its last frame stays.",)
    drivings = []
    for face in sitter.faces:
        own = face.params if sitter.picture is not None else face.params[source_frames]
        moved = system.retarget_codes(retarget(own, driving, options), options)
        notes += tuple(note for note in remarks_on(system, model, moved) if note not in notes)
        drivings.append(moved.pick(frames))
    roomy, placed = sitter, tuple(drivings)
    if grows(system, model) and not options.is_square:
        roomy, placed = make_room(sitter, placed)
    return Plan(roomy, frames, [source_frames[i] for i in frames], placed, reference, jitter, notes)


def grows(system: System, model: nn.Module) -> bool:
    """Whether crops may depend on the motion: not where codes of driving pictures have places in a crop in them."""
    return system.driving_pixels(model) is None


def remarks_on(system: System, model: nn.Module, driving: Driving) -> tuple[str, ...]:
    """What a system has to say of a motion that is on its source already."""
    if "remarks" not in system.CAPABILITIES:
        return ()
    return cast(Remarker, system).remarks(model, move(driving, model_device(model)))


@dataclass(frozen=True)
class Drawn:
    """One face as a system has drawn it."""

    picture: UInt8
    """(size, size, 3)."""
    opacity: Mask | None = None
    """(size, size) in [0, 1], what of it is head; None: all of it counts."""


@dataclass(frozen=True)
class Renderer:
    """Renders planned frames of one source, one picture at a time."""

    system: System
    model: nn.Module
    sitter: Sitter
    side: int | None
    """Side in pixels of the square around the face, for that alone; None for the whole picture."""
    progress: Progress = silent
    """Of the optimisation for the source, where the system needs one."""
    background: Background | None = None
    """What heads are put onto, by a system with layers; None: what the system draws stays as it is."""
    notes: list[str] = field(default_factory=list)
    """What was to be said about the sources, as far as they were rendered."""
    encoded: dict[int, Source] = field(default_factory=dict)
    """Of a source picture, by number of the face: what `source_of` gave."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the pictures."""
        return self.sitter.size if self.side is None else (self.side, self.side)

    @property
    def has_weights(self) -> bool:
        """Whether rendering runs a network."""
        return next(self.model.parameters(), None) is not None

    def pictures(self, plan: Plan) -> Iterator[UInt8]:
        """(h, w, 3) for each planned frame: every face rendered and pasted into the source, or the one square."""
        pasters: list[Paster] = []
        for behind, drawn in self._render(plan):
            if self.side is not None:
                yield self._square(behind, drawn[0])
                continue
            pasters = pasters or [Paster(behind, face.crop, face.mask) for face in self.sitter.faces]
            picture = behind
            for paster, one in zip(pasters, drawn, strict=True):
                picture = paster.paste(one.picture, onto=picture, opacity=one.opacity)
            yield picture

    def source_of(self, index: int) -> Source:
        """One face of a source picture, encoded once."""
        assert self.sitter.picture is not None
        if index not in self.encoded:
            self.encoded[index] = self._source(self.sitter.picture, self.sitter.faces[index], 0)
        return self.encoded[index]

    @torch.no_grad()
    def depths(self, plan: Plan) -> Iterator[UInt16]:
        """(h, w) of `depth_picture` for what `pictures` shows; of a source picture, by a system with depth."""
        system, device = cast(DepthRenderer, self.system), model_device(self.model)
        crops, masks = [face.crop for face in self.sitter.faces], [face.mask for face in self.sitter.faces]
        if self.side is not None:
            crops, masks = [scaling(self.side, crops[0].size)], [np.ones_like(masks[0])]
        streams = [
            system.render_depth(self.model, self.source_of(i), move(driving, device))
            for i, driving in enumerate(plan.drivings)
        ]
        for seen in zip(*streams, strict=True):
            yield depth_picture([PlacedDepth(*face) for face in zip(seen, crops, masks, strict=True)], self.size)

    def _square(self, behind: UInt8, drawn: Drawn) -> UInt8:
        """(side, side, 3) one face alone; `behind` as of `_behind`."""
        size = self.size
        picture = _resized(drawn.picture, size)
        if drawn.opacity is None:
            return picture
        opacity = np.asarray(cv2.resize(drawn.opacity, size, interpolation=cv2.INTER_LINEAR), np.float32)
        return np.asarray(cv2.blendLinear(picture, behind, opacity, 1 - opacity), np.uint8)

    def _behind(self, picture: UInt8, frame: int) -> UInt8:
        """What is behind the heads of a source picture, which is frame `frame`, in the size of the result.

        Where there is no background of its own: the source picture.
        """
        if self.background is None:
            return picture
        if self.background.picture is not None:
            return cover(self.background.picture, self.size)
        faces = [(face.params[frame], face.crop) for face in self.sitter.faces]
        bare = without_heads(picture, faces, moving=self.sitter.picture is None)
        return bare if self.side is None else _resized(apply_crop(bare, self.sitter.faces[0].crop), self.size)

    def _render(self, plan: Plan) -> Iterator[tuple[UInt8, list[Drawn]]]:
        """(`_behind`, rendering of each face) per frame."""
        faces = self.sitter.faces
        if self.sitter.picture is not None:
            behind = self._behind(self.sitter.picture, 0)
            sources = [self.source_of(i) for i in range(len(faces))]
            streams = [self._crops(source, d) for source, d in zip(sources, plan.drivings, strict=True)]
            for drawn in zip(*streams, strict=True):
                yield behind, list(drawn)
            return
        # Every frame of a source video is a portrait of its own.
        before: list[Source | None] = [None] * len(faces)
        for i, (frame, picture) in enumerate(
            zip(plan.source_frames, self.sitter.pictures(plan.source_frames), strict=True)
        ):
            now = [self._source(picture, face, frame, last) for face, last in zip(faces, before, strict=True)]
            motions = [driving[i : i + 1] for driving in plan.drivings]
            drawn_now = [next(self._crops(source, d)) for source, d in zip(now, motions, strict=True)]
            yield self._behind(picture, frame), drawn_now
            before = [*now]

    def _source(self, picture: UInt8, face: SourceFace, frame: int, previous: Source | None = None) -> Source:
        """One face of source frame `frame`, encoded."""
        source = face.encoded
        if source is None:
            # What takes long is kept on the disk and must be the same for all motions.
            given = face.tight if face.tight and "tuning" in self.system.CAPABILITIES else face
            moving = self.sitter.picture is None
            portrait = cut_portrait(picture, given, frame, moving=moving)
            source = encode_portrait(self.system, self.model, portrait, previous=previous, progress=self.progress)
            if given is not face:
                roomy = cut_portrait(picture, face, frame, moving=moving)
                source = replace(source, portrait=move(roomy, model_device(self.model)))
        self.notes.extend(note for note in source.notes() if note not in self.notes)
        return source

    @torch.no_grad()
    def _crops(self, source: Source, driving: Driving) -> Iterator[Drawn]:
        """Renderings of one face; with their opacity where they are put onto a background of its own."""
        driving = move(driving, model_device(self.model))
        if self.background is None:
            for batch in self.system.render(self.model, source, driving):
                yield from map(Drawn, to_uint8(batch))
            return
        for layers in cast(LayerRenderer, self.system).render_layers(self.model, source, driving):
            # The photo has its own shoulders.
            with_body = None if self.background.picture is None else layers.person
            opacity = layers.opacity if with_body is None else with_body
            yield from map(Drawn, to_uint8(layers.picture), opacity[:, 0].float().cpu().numpy())


def row_size(sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(width, height) of pictures in a row that all get the height of the last one, at most `PANEL_HEIGHT`."""
    height = min(sizes[-1][1], PANEL_HEIGHT)
    return [(max(2, round(w * height / h)), height) for w, h in sizes]


def side_by_side(pictures: Sequence[UInt8]) -> UInt8:
    """Pictures in a row, sizes as of `row_size`."""
    sizes = row_size([(p.shape[1], p.shape[0]) for p in pictures])
    return np.concatenate([_resized(p, s) for p, s in zip(pictures, sizes, strict=True)], 1)


def _resized(picture: UInt8, size: tuple[int, int]) -> UInt8:
    if picture.shape[1::-1] == size:
        return picture
    smaller = size[1] < picture.shape[0]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8)
