"""What is to be animated: a picture or a video, and those of its faces that shall move."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from portrayal.errors import InputError
from portrayal.face.smooth import smooth_params
from portrayal.face.tracker import Tracker
from portrayal.media.beyond import close_head
from portrayal.media.crop import (
    Crop,
    apply_crop,
    crop_around,
    params_to_crop,
    params_to_picture,
    points_to_picture,
    scaling,
)
from portrayal.media.image import UInt8, is_picture, read_image, to_tensor, to_uint8
from portrayal.media.paste import feathered_mask, soft_sides
from portrayal.media.video import probe, read_frames
from portrayal.options import AVATAR_SUFFIX, MAX_SIDE
from portrayal.tracking import Progress, join_tracks, silent, track_video
from portrayal.types import FaceParams, Portrait, Source, move

T = TypeVar("T")
BUILT_IN = "astronaut"
"""The portrait that is animated when none is given: Eileen Collins, NASA, public domain; scikit-image ships it."""
MIN_FACE = 24
"""Side of the smallest face in pixels that can be animated."""
CROP_SIDES = (128, 1024)
"""Smallest and largest side of a crop in pixels; in between a crop has the resolution of its picture."""


@dataclass(frozen=True)
class SourceFace:
    """One face that shall move."""

    crop: Crop
    """The square around it, fixed over a source video."""
    params: FaceParams
    """In pixels of the crop; t = 1 for a picture, one per frame for a video."""
    mask: NDArray[np.float32]
    """(size, size) share of the rendered crop in the result; 0 at borders beyond which the picture goes on."""
    encoded: Source | None = None
    """What a system has made of it already; of a face in an avatar file."""
    tight: SourceFace | None = None
    """The same in the crop that it has for every motion, where this one has grown for a motion (`portrayal.room`)."""


@dataclass(frozen=True)
class Sitter:
    """The source: pictures and the faces in them that shall move."""

    name: str
    path: Path | None
    """None for the built-in portrait."""
    size: tuple[int, int]
    """(width, height) in pixels."""
    picture: UInt8 | None
    """(h, w, 3); None for a video, whose frames are read as they are needed."""
    max_side: int
    """What a video's frames are reduced to when they are read."""
    times: tuple[Fraction, ...]
    """Of a video's frames; of a picture (0,)."""
    faces: tuple[SourceFace, ...]
    faces_found: int
    """How many faces it shows, moving or not."""
    notes: tuple[str, ...]
    """What the user should know, each one sentence."""

    def frames_at(self, times: Sequence[Fraction]) -> list[int]:
        """Number of the source frame that is shown at each time after the start; the last one stays."""
        own = [float(t - self.times[0]) for t in self.times]
        wanted = [float(t - times[0]) + 1e-6 for t in times]
        return (np.searchsorted(own, wanted, side="right") - 1).clip(0, len(own) - 1).tolist()

    def pictures(self, frames: Sequence[int]) -> Iterator[UInt8]:
        """The source pictures with these numbers, which must not fall; one picture is in memory at a time."""
        if self.picture is not None:
            for _ in frames:
                yield self.picture
            return
        assert self.path is not None
        if not frames:
            return
        reader = read_frames(self.path, start=frames[0], max_side=self.max_side)
        at, image = frames[0], next(reader).image
        for wanted in frames:
            while at < wanted:
                at, image = at + 1, next(reader).image
            yield image


def open_source(
    source: Path | str | None, *, tracker: Tracker, face: str, size: int | None, crop: bool, progress: Progress = silent
) -> Sitter:
    """Read the source and find the faces that shall move.

    Args:
        source: picture or video; None is the built-in portrait.
        face, size, crop: as in `AnimateOptions`.

    Raises:
        InputError: where it cannot be read, shows no face, not the one asked for, or only too small ones.
    """
    limit = MAX_SIDE if size is None or crop else size
    if source is None:
        from skimage.data import astronaut

        return _from_picture(BUILT_IN, None, astronaut(), None if crop else size, tracker, face, ())
    path = Path(source)
    if path.name.endswith(AVATAR_SUFFIX):
        raise InputError(f"{path} is an avatar, which animate, edit and mesh take; give its photo here.")
    if not is_picture(path):
        return _from_video(path, limit, tracker, face, progress)
    with Image.open(path) as header:
        full = max(header.size)
    picture = read_image(path, max_side=max(limit, MAX_SIDE))
    reduced = f"{path.name} was reduced from {full} to {limit} pixels on its long side; --size chooses another."
    notes = (reduced,) if full > limit and size is None else ()
    return _from_picture(path.stem, path, picture, None if crop else size, tracker, face, notes)


def sitter_of(name: str, picture: UInt8, *, tracker: Tracker) -> Sitter:
    """The largest face of a picture that is in memory, as it is.

    Args:
        name: shown in messages.
        picture: (h, w, 3).

    Raises:
        InputError: it shows no face, or only a too small one.
    """
    return _from_picture(name, None, picture, None, tracker, "largest", ())


def sitter_of_avatar(path: Path, encoded: Source, *, face: str, size: int | None, crop: bool) -> Sitter:
    """The portrait in an avatar file as a source picture: the square around the face.

    Args:
        encoded: what the file holds. face, size, crop: as in `AnimateOptions`.

    Raises:
        InputError: it does not have the face asked for.
    """
    portrait = move(encoded.portrait, "cpu")
    (square,) = to_uint8(portrait.image)
    (params,), _ = _choose([portrait.params], face, str(path), lambda one: one)
    side = len(square) if size is None or crop else size
    picture = apply_crop(square, scaling(len(square), side))
    chosen = SourceFace(scaling(side, len(square)), params, feathered_mask(len(square)), encoded)
    name = path.name.removesuffix(AVATAR_SUFFIX)
    return Sitter(name, path, (side, side), picture, side, (Fraction(0),), (chosen,), 1, ())


def portrait_of(sitter: Sitter, face: int = 0) -> Portrait:
    """The crop of one face of a source picture, for a system."""
    assert sitter.picture is not None
    return cut_portrait(sitter.picture, sitter.faces[face], 0)


def cut_portrait(picture: UInt8, face: SourceFace, frame: int, *, moving: bool = False) -> Portrait:
    """One face of source frame `frame`, a `picture` (h, w, 3), in its crop.

    Args:
        moving: as in `Portrait`; what a video's border cuts is repeated, since a head that is completed would flicker.
    """
    portrait = Portrait(to_tensor(apply_crop(picture, face.crop)), face.params[frame], moving)
    return portrait if moving else close_head(portrait, face.crop, (picture.shape[1], picture.shape[0]))


def _fit(picture: UInt8, size: int | None) -> UInt8:
    """The picture with the longer side that was asked for."""
    long_side = max(picture.shape[:2])
    if size is None or long_side == size:
        return picture
    height, width = (max(1, round(side * size / long_side)) for side in picture.shape[:2])
    how = cv2.INTER_CUBIC if long_side < size else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)


def _from_picture(
    name: str,
    path: Path | None,
    picture: UInt8,
    size: int | None,
    tracker: Tracker,
    face: str,
    notes: tuple[str, ...],
) -> Sitter:
    """`size`: of the longer side; faces are looked for before, since small ones are not found in a reduced picture."""
    shown = str(path or name)
    found = tracker.track_picture(picture)
    if not found:
        raise InputError(f"{shown}: no face was found in it; give a picture that shows a face, best from the front.")
    width = picture.shape[1]
    picture = _fit(picture, size)
    fitted = picture.shape[1::-1]
    if fitted[0] != width:
        to_fitted = scaling(fitted[0], width)
        found = [params_to_picture(p, to_fitted, width=fitted[0], height=fitted[1]) for p in found]
    chosen, said = _choose(found, face, shown, lambda params: params)
    faces, limit = _source_faces(chosen, fitted), max(picture.shape[:2])
    return Sitter(name, path, fitted, picture, limit, (Fraction(0),), faces, len(found), notes + said)


def _from_video(path: Path, limit: int, tracker: Tracker, face: str, progress: Progress) -> Sitter:
    def watch(stage: str, done: int, total: int | None) -> None:
        progress(f"{stage} source", done, total)

    tracks = track_video(path, tracker=tracker, max_side=limit, progress=watch)
    if not tracks:
        raise InputError(f"{path}: no face was found in this video; give one that shows a face.")
    whole = [join_tracks(tracks)] if face == "largest" else [t for t in tracks if bool(t.found.float().mean() > 0.5)]
    chosen, notes = _choose(whole or [join_tracks(tracks)], face, str(path), lambda t: t.params)
    info, size = probe(path), (chosen[0].width, chosen[0].height)
    long_side = max(info.width, info.height)
    if long_side > limit:
        notes = (f"{path.name} was reduced from {long_side} to {limit} pixels on its long side.", *notes)
    if face == "largest" and len(tracks) > 1:
        notes = (*notes, f"{path.name} shows several faces; the most prominent one is used, --face all moves all.")
    return Sitter(
        path.stem,
        path,
        size,
        None,
        limit,
        chosen[0].times,
        _source_faces([smooth_params(t.params, t.times) for t in chosen], size),
        len(tracks),
        notes,
    )


def _choose(found: list[T], face: str, name: str, params: Callable[[T], FaceParams]) -> tuple[list[T], tuple[str, ...]]:
    """The faces asked for and what to say; `found` is ordered with the largest first."""
    from_left = sorted(found, key=lambda item: float(params(item).translation[:, 0].median()))
    if face == "all":
        large = [item for item in from_left if _side(params(item)) >= MIN_FACE]
        if not large:
            raise _too_small(name, _side(params(found[0])))
        left_out = len(found) - len(large)
        said = f"{name}: {left_out} faces smaller than {MIN_FACE} pixels stay still." if left_out else ""
        return large, (said,) if said else ()
    if face == "largest":
        chosen = found[0]
    elif int(face) <= len(from_left):
        chosen = from_left[int(face) - 1]
    else:
        raise InputError(
            f"{name}: there is no face number {face}, it shows {len(from_left)}; they count from the left."
        )
    if _side(params(chosen)) < MIN_FACE:
        raise _too_small(name, _side(params(chosen)))
    if face != "largest" or len(found) == 1:
        return [chosen], ()
    number = next(i for i, item in enumerate(from_left, 1) if item is chosen)
    others = f"--face all moves all, --face 1 to {len(found)} chooses"
    return [chosen], (
        f"{name} shows {len(found)} faces; the largest is used, number {number} from the left ({others}).",
    )


def _side(params: FaceParams) -> float:
    """Longer side of the box around a face in pixels; the median over time."""
    points = params.landmarks[..., :2]
    return float((points.amax(1) - points.amin(1)).amax(-1).median())


def _too_small(name: str, side: float) -> InputError:
    return InputError(f"{name}: its face is {side:.0f} pixels wide, too small; at least {MIN_FACE} are needed.")


def _source_faces(chosen: Sequence[FaceParams], size: tuple[int, int]) -> tuple[SourceFace, ...]:
    """Crops with the resolution of the picture of (width, height) `size`, and masks that share what several cover."""
    crops = []
    for params in chosen:
        draft = crop_around(params.landmarks, size=CROP_SIDES[1])
        side = min(max(round(draft.size / draft.scale), CROP_SIDES[0]), CROP_SIDES[1])
        crops.append(crop_around(params.landmarks, size=side // 2 * 2))
    placed = [(crop, params_to_crop(params, crop)) for params, crop in zip(chosen, crops, strict=True)]
    return tuple(SourceFace(*one, mask) for one, mask in zip(placed, masks_of(placed, size), strict=True))


def masks_of(faces: Sequence[tuple[Crop, FaceParams]], size: tuple[int, int]) -> list[NDArray[np.float32]]:
    """(size, size) for each face, given in pixels of its crop, for a picture of (width, height) `size`: 0 at the crop's
    border where the picture goes on there, and crops share what several cover."""
    centres = [points_to_picture(_centre(params), crop) for crop, params in faces]
    sides = [_side(params) / crop.scale for crop, params in faces]
    masks = []
    for index, (crop, _) in enumerate(faces):
        mask = feathered_mask(crop.size, soft=soft_sides(crop, *size))
        masks.append(mask * _own_share(index, crop, centres, sides))
    return masks


def _own_share(index: int, crop: Crop, centres: list[torch.Tensor], sides: list[float]) -> NDArray[np.float32]:
    """(size, size) in [0, 1]: 0 where another of the faces is nearer, in units of the faces' sizes."""
    share = np.ones((crop.size, crop.size), np.float32)
    if len(centres) == 1:
        return share
    grid = torch.arange(crop.size, dtype=torch.float32) + 0.5
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    pixels = points_to_picture(torch.stack([x, y], -1), crop)
    distance = torch.stack([(pixels - c).norm(dim=-1) / s for c, s in zip(centres, sides, strict=True)])
    own, others = distance[index], distance[[i for i in range(len(centres)) if i != index]].amin(0)
    return ((others - own) / 0.2 + 0.5).clamp(0, 1).numpy().astype(np.float32)


def _centre(params: FaceParams) -> torch.Tensor:
    """(2,) middle of a face in pixels; the median over time."""
    return params.landmarks[..., :2].mean(1).median(0).values
