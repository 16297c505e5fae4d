"""One portrait that is being changed: from edits to `FaceParams`, from these to a system's motion, to pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from portrayal.avatars import open_sitter
from portrayal.background import Background
from portrayal.capabilities import CanonicalFace, Directed, ExpressionSampler, IdentityMixer
from portrayal.driving import Performance, open_driving
from portrayal.encoding import encode_motion, encode_params, model_device
from portrayal.errors import InputError
from portrayal.face.tracker import Tracker
from portrayal.media.crop import Crop, params_to_crop
from portrayal.media.depth import UInt16
from portrayal.media.image import UInt8, is_picture, read_image, to_uint8
from portrayal.motion.attributes import between, in_pose, take_attributes
from portrayal.motion.edit import apply_edit
from portrayal.motion.options import RetargetOptions
from portrayal.options import AVATAR_SUFFIX, MAX_SIDE, EditOptions
from portrayal.rendering import Plan, Renderer, remarks_on
from portrayal.source import Sitter, SourceFace, portrait_of
from portrayal.tracking import Progress, silent
from portrayal.types import (
    Driving,
    Edit,
    FaceParams,
    System,
    join_drivings,
    move,
    own_fields,
)

Motions = list[Driving]
"""Of each face that changes, as many frames."""
RATE = 25
"""Frames per second of sweeps and interpolations."""


def edit_of(options: EditOptions) -> Edit:
    """The numbers in the units of `Edit`."""
    angles = {name: math.radians(options.number(name)) for name in ("yaw", "pitch", "roll")}
    gaze_x, gaze_y = math.radians(options.gaze_x), math.radians(options.gaze_y)
    return Edit(
        **angles,
        zoom=options.zoom,
        shift=options.shift,
        smile=options.smile,
        mouth_open=options.mouth_open,
        blink=options.blink,
        brow=options.brow,
        gaze_x=gaze_x,
        gaze_y=gaze_y,
    )


def region_of(edit: Edit) -> Literal["all", "pose"]:
    """pose where an edit leaves the expression alone."""
    return "all" if any((edit.smile, edit.mouth_open, edit.blink, edit.brow, edit.gaze_x, edit.gaze_y)) else "pose"


@dataclass(frozen=True)
class Other:
    """Another picture."""

    performance: Performance
    params: FaceParams
    """t = 1, as if its picture lay in the middle of the source picture, its shorter side as long as the source's."""
    picture: UInt8


def open_other(path: Path | str, tracker: Tracker, sitter: Sitter) -> Other:
    _check_picture(path)
    performance = open_driving(path, tracker=tracker)
    (w, h), (wide, high) = (performance.width, performance.height), sitter.size
    factor = min(wide, high) / min(w, h)
    matrix = np.array([[factor, 0, (wide - factor * w) / 2], [0, factor, (high - factor * h) / 2]])
    params = params_to_crop(performance.params, Crop(matrix, max(wide, high)))
    return Other(performance, params, read_image(path, max_side=MAX_SIDE))


def open_person(
    path: Path | str, system: System, model: nn.Module, *, tracker: Tracker, progress: Progress = silent
) -> Renderer:
    """Another person, whom the system encodes when `Renderer.source_of` first asks for it.

    Args:
        path: a picture, whose largest face it is, or an avatar file.

    Raises:
        InputError: it is neither, or shows no face.
    """
    if not str(path).endswith(AVATAR_SUFFIX):
        _check_picture(path)
    sitter = open_sitter(path, system, model, tracker=tracker, face="largest", size=None, crop=False)

    def watch(stage: str, done: int, total: int | None) -> None:
        progress(f"{stage} of {sitter.name}", done, total)

    return Renderer(system, model, sitter, None, watch)


def _check_picture(path: Path | str) -> None:
    if not Path(path).is_file() or not is_picture(path):
        state = "is no picture" if Path(path).exists() else "does not exist"
        raise InputError(
            f"{path} {state}; --from, --reference and --interpolate take a picture that shows a face, "
            "--take identity also an avatar."
        )


@dataclass
class Editor:
    """One portrait that is being changed."""

    system: System
    model: nn.Module
    sitter: Sitter
    options: EditOptions
    others: list[Other]
    """(picture), (reference, picture) or none."""
    progress: Progress = silent
    person: Renderer | None = None
    """The person towards whom the portrait goes with --take identity."""
    background: Background | None = None
    """What the head is put onto; None: the system's picture stays as it is."""
    renderer: Renderer = field(init=False)

    def __post_init__(self) -> None:
        side = (self.options.size or self.sitter.faces[0].crop.size) if self.options.is_square else None
        self.renderer = Renderer(self.system, self.model, self.sitter, side, self.progress, self.background)

    def still(self) -> Motions:
        """The portrait after the edit, one frame."""
        return [self._edited(i) for i in range(len(self.sitter.faces))]

    def sweep(self, values: Sequence[float]) -> Motions:
        """The portrait with each value of `options.sweep`."""
        name = self.options.sweep
        assert name is not None
        steps = [self.options.with_number(name, value) for value in values]
        edits = [edit_of(step) for step in steps]
        motions = []
        for i in range(len(self.sitter.faces)):
            start = self._taken(i)
            params = FaceParams.cat([apply_edit(start, change) for change in edits])
            motions.append(self._encoded(i, params, edits))
        return motions

    def along(self, amounts: Sequence[float]) -> Motions:
        """The portrait moved along the learned direction `options.along`.

        Raises:
            InputError: the system has no such direction.
        """
        system, name = cast(Directed, self.system), self.options.along
        names = system.direction_names(self.model)
        if name not in names:
            raise InputError(f"there is no direction {name!r}; choose one of: {', '.join(names)}.")
        count, motions = torch.tensor(list(amounts), dtype=torch.float32), []
        for i in range(len(self.sitter.faces)):
            driving = system.move_along(self.model, self.renderer.source_of(i), name, count)
            params = apply_edit(self._taken(i), edit_of(self.options))[[0] * len(count)]
            motions.append(_with_params(driving, params))
        return motions

    def interpolation(self, shares: Tensor) -> Motions:
        """The portrait on the way to the other picture's pose and expression."""
        take, change = self.options.take, edit_of(self.options)
        assert take != "identity", "that is `toward_person`"
        motions = []
        for i, face in enumerate(self.sitter.faces):
            end = apply_edit(take_attributes(face.params, self._placed(face)[-1], take="all"), change)
            start = apply_edit(face.params, change)
            if take == "expression":  # Fig. 8: the other's pose from the beginning
                start = in_pose(start, end)
            elif take != "all":
                end = apply_edit(take_attributes(face.params, self._placed(face)[-1], take=take), change)
            params = between(start, end, shares)
            motions.append(self._interpolated(i, params, end, shares))
        return motions

    def toward_person(self, share: float) -> Editor:
        """The portrait as somebody on the way to the other person: 0 is its own, 1 the other (OTAvatar, S 1.2)."""
        assert self.person is not None
        system, other = cast(IdentityMixer, self.system), self.person.source_of(0)
        mixed = [
            system.interpolate_identity(self.model, self.renderer.source_of(i), other, share)
            for i in range(len(self.sitter.faces))
        ]
        faces = tuple(replace(face, encoded=one) for face, one in zip(self.sitter.faces, mixed, strict=True))
        return replace(self, sitter=replace(self.sitter, faces=faces))

    def samples(self) -> Motions:
        """Random expressions in the edited pose."""
        system, count = cast(ExpressionSampler, self.system), self.options.sample_expression
        generator = torch.Generator().manual_seed(self.options.seed)
        motions = []
        for i in range(len(self.sitter.faces)):
            drawn = system.sample_expressions(self.model, self.renderer.source_of(i), count, generator)
            params = apply_edit(self._taken(i), edit_of(self.options))[[0] * count]
            motions.append(_with_params(drawn, params))
        return motions

    def canonical(self) -> UInt8:
        """The canonical face of the first face, a square."""
        picture = cast(CanonicalFace, self.system).render_canonical(self.model, self.renderer.source_of(0))
        return to_uint8(picture)[0]

    def pictures(self, motions: Motions) -> Iterator[UInt8]:
        """The whole picture, or the square, for each frame of the faces' motions."""
        for motion in motions:
            self.renderer.notes.extend(remarks_on(self.system, self.model, motion))
        return self.renderer.pictures(_plan(self.renderer.sitter, motions))

    def depths(self, motions: Motions) -> Iterator[UInt16]:
        """The depth of each of `pictures`, where the system has the capability."""
        return self.renderer.depths(_plan(self.renderer.sitter, motions))

    def _placed(self, face: SourceFace) -> list[FaceParams]:
        """The other pictures' faces in pixels of a face's crop."""
        return [params_to_crop(other.params, face.crop) for other in self.others]

    def _taken(self, index: int) -> FaceParams:
        """A face with what it takes from another picture."""
        face = self.sitter.faces[index]
        if not self.others:
            return face.params
        *reference, other = self._placed(face)
        take = self.options.take
        assert take != "identity", "the other person is no motion"
        return take_attributes(face.params, other, take=take, reference=reference[0] if reference else None)

    def _edited(self, index: int) -> Driving:
        """The motion of one frame that is the edit."""
        change = edit_of(self.options)
        params = apply_edit(self._taken(index), change)
        takes_expression = bool(self.others) and self.options.take in ("all", "expression")
        if not takes_expression or region_of(change) == "all" or self.system.driving_pixels(self.model) is None:
            return self._encoded(index, params, [change])
        raw = [self._codes(other) for other in self.others]
        moved = self.system.retarget_codes(join_drivings(raw), self._retargeting())
        return _with_params(moved[len(raw) - 1 :], params)

    def _retargeting(self) -> RetargetOptions:
        region: Literal["all", "expression"] = "all" if self.options.take == "all" else "expression"
        return RetargetOptions(motion=self.options.motion, region=region, reference=0, smooth=0.0)

    def _codes(self, other: Other) -> Driving:
        return encode_motion(self.system, self.model, other.performance, other.performance.params)

    def _encoded(self, index: int, params: FaceParams, edits: Sequence[Edit]) -> Driving:
        expression = any(region_of(change) == "all" for change in edits)
        expression |= bool(self.others) and self.options.take in ("all", "expression")
        return encode_params(
            self.system,
            self.model,
            portrait_of(self.sitter, index),
            params,
            _times(len(params)),
            region="all" if expression else "pose",
        )

    def _interpolated(self, index: int, params: FaceParams, end: FaceParams, shares: Tensor) -> Driving:
        """Codes of a path: in the system's own space of expressions, in proportion, or from the parameters."""
        pixels = self.system.driving_pixels(self.model) is not None
        if self.options.take not in ("all", "expression"):
            return self._encoded(index, params, [edit_of(self.options)])
        if "expression_sampling" in self.system.CAPABILITIES:
            portrait = portrait_of(self.sitter, index)
            last = (
                self._codes(self.others[-1])
                if pixels
                else encode_params(self.system, self.model, portrait, end, _times(1))
            )
            device = model_device(self.model)
            moved = cast(ExpressionSampler, self.system).interpolate_expressions(
                self.model, self.renderer.source_of(index), move(last, device), shares.to(device)
            )
            return _with_params(move(moved, "cpu"), params)
        if not pixels:
            return self._encoded(index, params, [edit_of(self.options)])
        last, options = self._codes(self.others[-1]), self._retargeting()
        parts = [self.system.retarget_codes(last, replace(options, strength=share)) for share in shares.tolist()]
        return _with_params(join_drivings(parts), params)


def _plan(sitter: Sitter, motions: Motions) -> Plan:
    count = len(motions[0])
    return Plan(sitter, list(range(count)), [0] * count, tuple(motions), 0, (0.0, 0.0), ())


def _with_params(driving: Driving, params: FaceParams) -> Driving:
    """The same tensors of the system's own with another pose."""
    own = {name: move(getattr(driving, name), "cpu") for name in own_fields(type(driving))}
    return type(driving)(params=params, times=_times(len(params)), **own)


def _times(count: int) -> tuple[Fraction, ...]:
    return tuple(Fraction(i, RATE) for i in range(count))
