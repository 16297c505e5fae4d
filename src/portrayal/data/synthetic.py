"""Heads with known ground truth: pictures and clips whose pose, expression, identity, gaze and light are exact.

    for picture in synthetic_pictures(8, seed=0, size=256):
        picture.image, picture.params, picture.geometry().depth

    for clip in synthetic_clips(4, seed=0, frames=50, size=256):
        clip.frames(), clip.params, clip.identity
        clip.driven_by(other).frames()   # this person with another clip's motion: what a perfect system would show

Everything follows from seeds: the same seed gives the same bits on the same machine. People are made by
`synthetic_person`, their heads by `synthetic_shape`, `synthetic_hair` and `synthetic_texture`, what they do by
`synthetic_motion`, where they are by `synthetic_scene`, and `synthetic_render` draws them. The heads are simple
computer graphics, not photographs: use them for what real pictures never tell, not as a measure of realism.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from portrayal.data.synthetic_motion import (
    ALL_PARTS,
    Motion,
    Part,
    build_params,
    carry,
    draw_motion,
    draw_state,
    with_motion,
)
from portrayal.data.synthetic_person import Person, generator
from portrayal.data.synthetic_render import Geometry, Renderer
from portrayal.data.synthetic_scene import Scene
from portrayal.errors import InputError
from portrayal.types import FaceParams, Track

Picture = NDArray[np.uint8]
SMALLEST, LARGEST = 16, 4096
"""Sides of a picture in pixels."""
PEOPLE_PER_SEED = 1_000_000


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """One picture of a synthetic head and all that is known about it."""

    image: Picture
    """(h, w, 3) uint8 RGB."""
    params: FaceParams
    """t = 1, exact: `params_to_landmarks(model, params)` are the landmarks of the picture."""
    person: Person
    scene: Scene

    @property
    def landmarks(self) -> NDArray[np.float32]:
        """(478, 3) pixels."""
        return self.params.landmarks[0].numpy()

    def geometry(self) -> Geometry:
        """Depth, normals and masks."""
        height, width = self.image.shape[:2]
        return _renderer(self.person, _detail(max(height, width))).geometry(
            self.params, self.scene, width=width, height=height
        )


@dataclass(frozen=True, eq=False)
class LabelledClip:
    """A synthetic person in motion."""

    name: str
    person: Person
    scene: Scene
    params: FaceParams
    """(t, ...) exact, in pixels of the frames."""
    times: tuple[Fraction, ...]
    size: int
    """Side of the square frames in pixels."""

    def __len__(self) -> int:
        return len(self.params)

    @property
    def identity(self) -> str:
        """Name of the person; equal in all clips of that person."""
        return self.person.name

    @property
    def track(self) -> Track:
        """The ground truth in the tracker's form."""
        found = torch.ones(len(self), dtype=torch.bool)
        return Track(params=self.params, times=self.times, width=self.size, height=self.size, found=found)

    def frame(self, index: int) -> Picture:
        """(size, size, 3) uint8 RGB."""
        return render(self.person, self.params[index], self.scene, width=self.size)

    def frames(self) -> Iterator[Picture]:
        """All frames in turn; nothing is kept."""
        for index in range(len(self)):
            yield self.frame(index)

    def geometry(self, index: int) -> Geometry:
        """Depth, normals and masks of a frame."""
        renderer = _renderer(self.person, _detail(self.size))
        return renderer.geometry(self.params[index], self.scene, width=self.size, height=self.size)

    def driven_by(
        self,
        other: LabelledClip,
        *,
        parts: Collection[Part] = ALL_PARTS,
        motion: Literal["absolute", "relative"] = "absolute",
    ) -> LabelledClip:
        """This person, in this light, doing what the other clip shows: the truth of reenactment.

        Args:
            parts: what is taken from the other clip; the rest stays as in this clip's first frame.
            motion: absolute takes the other's pose, expression and gaze as they are, relative their changes since the
                other's first frame (see `synthetic_motion.carry`).

        Raises:
            InputError: if the clips differ in size.
        """
        if other.size != self.size:
            raise InputError(f"{self.name} and {other.name} must have one size, got {self.size} and {other.size} px")
        side = {"width": self.size, "height": self.size}
        params = carry(self.params[0], other.params, parts=parts, motion=motion, **side)
        return replace(self, name=f"{self.name}--{other.name}", params=params, times=other.times)


def render(person: Person, params: FaceParams, scene: Scene, *, width: int = 256, height: int | None = None) -> Picture:
    """A picture of a person with given parameters.

    Args:
        person: who; a clip's or `Person.draw(seed)`.
        params: t = 1, in pixels of the picture. The face follows `landmarks`, the eyes `gaze`.
        width, height: of the picture in pixels; height None is square.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        InputError: for a side outside 16 to 4096 pixels, or several frames.
    """
    height = width if height is None else height
    for side in (width, height):
        if not SMALLEST <= side <= LARGEST:
            raise InputError(f"a synthetic picture has sides of {SMALLEST} to {LARGEST} pixels, not {side}")
    return _renderer(person, _detail(max(width, height))).render(params, scene, width=width, height=height)


def synthetic_pictures(count: int, *, seed: int, size: int = 256, views: int = 1) -> Iterator[LabelledPicture]:
    """Pictures of different people, each with another expression, pose, gaze, light and background.

    Args:
        views: pictures of each person before the next one comes.
        size: side in pixels.
    """
    for index in range(count):
        person = nth_person(seed, index // views)
        scene = Scene.draw(_number(seed, index))
        motion: Motion = draw_state(generator(_number(seed, index), "motion"))
        params = build_params(person.identity, motion, width=size, height=size)
        yield LabelledPicture(render(person, params, scene, width=size), params, person, scene)


def synthetic_clips(
    count: int,
    *,
    seed: int,
    frames: int = 50,
    size: int = 256,
    clips_per_person: int = 2,
    fps: Fraction | int = 25,
) -> Iterator[LabelledClip]:
    """Clips of different people; nothing is drawn until their frames are asked for.

    Args:
        frames: of each clip.
        clips_per_person: clips with one identity in a row, in different light, doing different things.
    """
    for index in range(count):
        yield draw_clip(
            nth_person(seed, index // clips_per_person), _number(seed, index), frames=frames, size=size, fps=fps
        )


def draw_clip(
    person: Person, seed: int, *, frames: int = 50, size: int = 256, fps: Fraction | int = 25
) -> LabelledClip:
    """The clip of a person with this number."""
    if not SMALLEST <= size <= LARGEST:
        raise InputError(f"a synthetic clip has a side of {SMALLEST} to {LARGEST} pixels, not {size}")
    motion = draw_motion(generator(seed, "motion"), frames, float(fps))
    params = build_params(person.identity, motion, width=size, height=size)
    times = tuple(Fraction(i) / Fraction(fps) for i in range(frames))
    return LabelledClip(f"{person.name}_{seed:06d}", person, Scene.draw(seed), params, times, size)


def nth_person(seed: int, index: int) -> Person:
    """Person `index` of the people of a seed; the same object while it is in use, so that work on it is kept."""
    return _person(_number(seed, index))


@lru_cache(maxsize=32)
def _person(seed: int) -> Person:
    return Person.draw(seed)


def _number(seed: int, index: int) -> int:
    return seed * PEOPLE_PER_SEED + index


def _detail(side: int) -> int:
    """Sides that share one painted texture."""
    return 160 if side <= 160 else 400 if side <= 400 else 1024


@lru_cache(maxsize=8)
def _renderer(person: Person, size: int) -> Renderer:
    return Renderer(person, size)


__all__ = [
    "Geometry",
    "LabelledClip",
    "LabelledPicture",
    "Person",
    "Scene",
    "draw_clip",
    "nth_person",
    "render",
    "synthetic_clips",
    "synthetic_pictures",
    "with_motion",
]
