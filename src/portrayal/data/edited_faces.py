"""Photographs whose eyes, gaze and mouth are moved by meshwarp: expressions that photo collections hardly hold.

People in photographs look open-eyed into the camera. A tracker that has seen shut eyes in a few videos only takes a
photo's shut eyes for open ones; these pictures, with the landmarks that the edit made, teach it to look at the lids.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from portrayal.face.measure import eye_openness
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.media.crop import apply_crop, crop_around, params_to_crop
from portrayal.media.image import to_tensor, to_uint8
from portrayal.motion.edit import apply_edit
from portrayal.types import Driving, Edit, FaceParams, Portrait

SIDE = 256
"""Side of the edited pictures in pixels."""


def edited_faces(
    picture: NDArray[np.uint8], landmarks: NDArray[np.float32], rng: Generator, *, count: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """One face with `count` random edits.

    Args:
        picture: (h, w, 3) uint8 RGB.
        landmarks: (478, 3) pixels of the picture.

    Yields:
        (256, 256, 3) uint8 around the face and its landmarks (478, 3) in pixels of that.
    """
    own, shown = photo_face(picture, landmarks, size=SIDE, scale=1.9)
    moved = FaceParams.cat([apply_edit(own, draw_edit(rng)) for _ in range(count)])
    yield from zip(render_face(own, shown, moved), moved.landmarks.numpy(), strict=True)


def photo_face(
    picture: NDArray[np.uint8], landmarks: NDArray[np.float32], *, size: int, scale: float
) -> tuple[FaceParams, NDArray[np.uint8]]:
    """The face of a photo in a square around it.

    Args:
        picture: (h, w, 3) uint8 RGB. landmarks: (478, 3) pixels of it.
        size: side of the crop in pixels. scale: side of the crop in sides of the face's box.

    Returns:
        The face (t = 1) in pixels of the crop, and the crop (size, size, 3) uint8.
    """
    points = torch.from_numpy(landmarks)[None]
    params = fit_params(
        load_face_model(),
        points,
        width=picture.shape[1],
        height=picture.shape[0],
        confidence=torch.ones(1),
        eye_openness=eye_openness(points),
    )
    crop = crop_around(params.landmarks, size=size, scale=scale)
    return params_to_crop(params, crop), apply_crop(picture, crop)


def render_face(own: FaceParams, shown: NDArray[np.uint8], moved: FaceParams) -> NDArray[np.uint8]:
    """A face as meshwarp shows it in other poses.

    Args:
        own: t = 1, the face in `shown` (h, w, 3). moved: t faces in pixels of the same picture.

    Returns:
        (t, h, w, 3) uint8.
    """
    from portrayal.systems import meshwarp  # the systems that are trained import this package

    model = meshwarp.build(meshwarp.Config.compact())
    source = meshwarp.encode_source(model, Portrait(to_tensor(shown), own))
    driving = Driving(moved, tuple(Fraction(t, 25) for t in range(len(moved))))
    return np.concatenate([to_uint8(batch) for batch in meshwarp.render(model, source, driving)])


def draw_edit(rng: Generator, *, turn: float = 1.0) -> Edit:
    """Mostly lids and gaze, sometimes the mouth, brows and a slight turn with them, `turn` times as far."""
    lids = rng.random()
    return Edit(
        blink=1.0 if lids < 0.35 else rng.uniform(0, 1) if lids < 0.7 else 0.0,
        gaze_x=rng.uniform(-0.45, 0.45),
        gaze_y=rng.uniform(-0.25, 0.25),
        mouth_open=max(rng.uniform(-0.6, 0.7), 0.0),
        smile=rng.uniform(-0.3, 0.6) if rng.random() < 0.5 else 0.0,
        brow=rng.uniform(-0.5, 0.7) if rng.random() < 0.5 else 0.0,
        yaw=turn * rng.normal(0, 0.12),
        pitch=turn * rng.normal(0, 0.08),
    )
