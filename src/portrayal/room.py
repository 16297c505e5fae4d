"""Crops that grow where a motion takes a face far from its place, so that the head is not cut off at their border."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from portrayal.media.crop import Crop, params_to_crop
from portrayal.source import CROP_SIDES, Sitter, SourceFace, masks_of
from portrayal.types import Driving

FREE = 0.08
"""Of a crop's side: so far a face can leave its place before the crop grows."""
GROWTH = 1.4
"""Of a crop's side at most: in a larger one the face is smaller than any that was trained."""


def make_room(sitter: Sitter, drivings: Sequence[Driving]) -> tuple[Sitter, tuple[Driving, ...]]:
    """A source whose crops have as much around the moved faces as around the unmoved ones, and the motions in them.

    Args:
        drivings: for each face the motion on it, in pixels of its crop.

    Returns:
        Both as they are, if nothing moves that far. Faces that a system has encoded already keep their crops.
    """
    changes = [
        None if face.encoded is not None else _change(face.crop.size, face.params.landmarks, driving.params.landmarks)
        for face, driving in zip(sitter.faces, drivings, strict=True)
    ]
    if not any(changes):
        return sitter, tuple(drivings)
    faces, moved = [], []
    for face, driving, change in zip(sitter.faces, drivings, changes, strict=True):
        faces.append(face if change is None else _changed(face, change))
        params = driving.params if change is None else params_to_crop(driving.params, change)
        moved.append(replace(driving, params=params))
    masks = masks_of([(face.crop, face.params) for face in faces], sitter.size)
    faces = [replace(face, mask=mask) for face, mask in zip(faces, masks, strict=True)]
    return replace(sitter, faces=tuple(faces)), tuple(moved)


def _change(size: int, own: Tensor, moved: Tensor) -> Crop | None:
    """From a crop of `size` to one with room for landmarks `moved` (t, n, 3), those of the source being `own`."""
    low, high = (np.asarray(x[..., :2].amin((0, 1)).cpu(), float) for x in (own, -own))
    far_low, far_high = (np.asarray(x[..., :2].amin((0, 1)).cpu(), float) for x in (moved, -moved))
    before, after = ((x - y - FREE * size).clip(0) for x, y in ((low, far_low), (high, far_high)))  # left, up
    need = float((before + after).max())
    if need <= 0:
        return None
    side = min(size + need, GROWTH * size)
    middle = size / 2 + (after - before) / 2
    pixels = min(round(side), CROP_SIDES[1]) // 2 * 2
    scale = pixels / side
    shift = pixels / 2 - scale * middle
    return Crop(np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), pixels)


def _changed(face: SourceFace, change: Crop) -> SourceFace:
    """The face in a crop of which `change` gives the pixels from those of its own."""
    linear, shift = change.matrix[:, :2], change.matrix[:, 2:]
    matrix = np.concatenate([linear @ face.crop.matrix[:, :2], linear @ face.crop.matrix[:, 2:] + shift], 1)
    return replace(face, crop=Crop(matrix, change.size), params=params_to_crop(face.params, change), tight=face)
