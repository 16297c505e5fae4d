"""Photos as pairs: a photo and meshwarp's picture of the same face in another pose, so that a person without any video
teaches too.

The photo is what the system must produce (driving and truth), the warped picture is its source: what meshwarp gets
wrong, it gets wrong on the input only and never becomes the truth. `PairOptions.photo_is_source` turns that round.
"""

from __future__ import annotations

import logging
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from portrayal.data.bad import BadSample
from portrayal.data.clip_labels import mark
from portrayal.data.clips import Photo, load_photo_landmarks
from portrayal.data.edited_faces import photo_face, render_face
from portrayal.data.shot import Shot
from portrayal.errors import InputError, PortrayalError
from portrayal.face.pose import rotation_to_angles
from portrayal.media.atomic import make_parent, writing_error
from portrayal.media.image import read_image
from portrayal.motion.edit import apply_edit
from portrayal.tracking import one_torch_thread
from portrayal.types import Edit, FaceParams
from portrayal.weights.registry import save_tensors

_log = logging.getLogger(__name__)
SCALES = (1.55, 1.95)
"""Sides of a photo's crop in sides of the face box: what clips show, and not more than the photos hold."""

FARTHEST = 0.6
"""Radians of yaw at which a head is not turned any more."""


class PhotoPairs:
    """Pairs out of single photos. Each photo's warped pictures are made once and kept in the cache folder.

    Args:
        root: folder of `photos.npz`. size: side of the pictures in pixels.
        variants: warped pictures per photo.
        cache: folder; None keeps the last few photos in memory.
    """

    def __init__(self, root: Path, *, size: int, variants: int, cache: Path | None) -> None:
        self.root, self.size, self.variants, self.cache = root, size, variants, cache
        self._make = lru_cache(maxsize=32)(self._warp)

    def draw(self, photo: Photo, rng: Generator) -> tuple[Shot, Shot]:
        """(the photo's face, the same face moved). Raises as `read`."""
        pictures, params = self.read(photo, rng)
        still, moved = (Shot.of(pictures[i], params, i, side=self.size) for i in range(2))
        return still, moved

    def read(self, photo: Photo, rng: Generator) -> tuple[NDArray[np.uint8], FaceParams]:
        """The photo's face and the same face moved: (2, s, s, 3) uint8, and the faces in pixels of that.

        Raises:
            BadSample: a photo that cannot be read or labels that do not fit it.
        """
        variant = 1 + int(rng.integers(self.variants))
        path = self._file(photo)
        if path is None:
            stored = {k: x[[0, variant]] for k, x in self._make(photo).items()}
        else:
            try:
                with safe_open(path, framework="pt") as file:
                    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, it is not a dict
                    stored = {k: torch.cat([x[0:1], x[variant : variant + 1]]) for k, x in slices.items()}
            except (OSError, SafetensorError) as error:
                path.unlink(missing_ok=True)
                raise BadSample(photo.name, f"{path}: damaged ({error}); it was removed and is made again") from error
        params = FaceParams(**{f.name: stored[f.name] for f in fields(FaceParams)})
        return stored["pictures"].numpy(), params

    def _file(self, photo: Photo) -> Path | None:
        if self.cache is None or not photo.picture.is_file():
            return None
        path = self.cache / f"{photo.name}-{mark(photo.picture, self.size, self.variants)}.safetensors"
        if not path.is_file():
            stored = self._warp(photo)
            try:
                make_parent(path)
                save_tensors(path, stored, {})
            except (OSError, PortrayalError) as error:
                told = writing_error(error, path) if not isinstance(error, PortrayalError) else error
                _log.warning("%s Photos are warped again each time, which is slow.", told)
                self.cache = None
                return None
        return path

    def _warp(self, photo: Photo) -> dict[str, Tensor]:
        """Picture and parameters of the face as it is (0) and in its variants (1...); the same on every call."""
        rng = np.random.Generator(np.random.PCG64([photo.row, self.size, self.variants]))
        try:
            landmarks, picture = load_landmarks(self.root), read_image(photo.picture)
            if photo.row >= len(landmarks):
                sentence = f"{self.root / 'photos.npz'}: landmarks has {len(landmarks)} rows, photos.csv more lines"
                raise InputError(f"{sentence}; copy both again")
            with one_torch_thread():
                own, shown = photo_face(picture, landmarks[photo.row], size=self.size, scale=rng.uniform(*SCALES))
                yaw = float(rotation_to_angles(own.rotation)[0, 0])
                moved = FaceParams.cat([apply_edit(own, draw_pose(rng, yaw)) for _ in range(self.variants)])
                pictures = np.concatenate([shown[None], render_face(own, shown, moved)])
        except InputError as error:
            raise BadSample(photo.name, str(error)) from error
        params = FaceParams.cat([own, moved])
        tensors = {f.name: getattr(params, f.name).contiguous() for f in fields(FaceParams)}
        return tensors | {"pictures": torch.from_numpy(pictures)}


@lru_cache(maxsize=4)
def load_landmarks(root: Path) -> np.ndarray:
    """`load_photo_landmarks`, once per process."""
    return load_photo_landmarks(root)


def draw_pose(rng: Generator, yaw: float = 0.0) -> Edit:
    """A random head turn, place and expression: what lies between two frames of a talking person.

    Turns stay within what meshwarp shows without smearing the far cheek (about 25 degrees). A head that is turned
    already, by `yaw` radians, is turned less: on either side lies what the photo does not show.
    """
    return Edit(
        yaw=float(np.clip(rng.normal(0, 0.2), -0.45, 0.45)) * max(0.0, 1 - abs(yaw) / FARTHEST),
        pitch=float(np.clip(rng.normal(0, 0.12), -0.3, 0.3)),
        roll=float(np.clip(rng.normal(0, 0.12), -0.35, 0.35)),
        zoom=float(np.exp(rng.normal(0, 0.06))),
        shift=(rng.normal(0, 0.1), rng.normal(0, 0.07)),
        blink=1.0 if rng.random() < 0.15 else max(rng.uniform(-0.8, 0.8), 0.0),
        gaze_x=rng.uniform(-0.35, 0.35),
        gaze_y=rng.uniform(-0.2, 0.2),
        mouth_open=max(rng.uniform(-0.6, 0.8), 0.0),
        smile=rng.uniform(-0.3, 0.7) if rng.random() < 0.5 else 0.0,
        brow=rng.uniform(-0.5, 0.7) if rng.random() < 0.5 else 0.0,
    )
