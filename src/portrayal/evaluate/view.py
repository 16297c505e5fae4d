"""What a metric sees: some frames of one clip with what was measured on them, and what is wrong with them in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from portrayal.errors import InputError
from portrayal.face.topology import POINTS_68
from portrayal.types import FaceParams


@dataclass(frozen=True)
class View:
    """Consecutive frames of one clip. Fields that no metric of a run needs stay None."""

    images: Tensor
    """(t, 3, h, w) RGB in [0, 1]."""
    clip: str = "the clip"
    """Names it in error messages, and tells temporal metrics where a new clip begins."""
    params: FaceParams | None = None
    """t frames, in pixels of `images`; confidence 0 where a frame has no face."""
    times: tuple[Fraction | float, ...] | None = None
    """t presentation times in seconds."""
    points68: Tensor | None = None
    """(t, 68, 2) pixels, by a landmark network of its own; None reads them off `params`."""
    embedding: Tensor | None = None
    """(t, c) identity features; None lets a metric compute them."""
    mask: Tensor | None = None
    """(t, 1, h, w) in [0, 1], 1 where the person is; only `foreground` reads it."""

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[1] != 3:
            raise InputError(f"{self.clip}: pictures must be (t, 3, h, w), got {tuple(self.images.shape)}")
        lengths = {"params": self.params, "times": self.times, "points68": self.points68, "embedding": self.embedding}
        for name, value in lengths.items():
            if value is not None and len(value) != len(self.images):
                raise InputError(f"{self.clip}: {len(self.images)} pictures, but {len(value)} {name}")

    def __len__(self) -> int:
        return len(self.images)

    def replace(self, **changes: object) -> View:
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return self.images.shape[2], self.images.shape[3]


def foreground(view: View, *, background: float = 1.0) -> View:
    """The view with everything but the person painted in one grey; for tables of methods without a background.

    Raises:
        InputError: the view has no mask.
    """
    if view.mask is None:
        raise InputError(f"{view.clip}: no mask of the person; leave out the foreground-only option")
    return view.replace(images=view.images * view.mask + background * (1 - view.mask))


def require_alike(generated: View, reference: View) -> None:
    """
    Raises:
        InputError: the lengths or sizes differ, or a picture holds numbers that are not finite.
    """
    require_lengths(generated, reference)
    if generated.size != reference.size:
        (h, w), (h_ref, w_ref) = generated.size, reference.size
        raise InputError(
            f"{generated.clip}: its frames are {w}x{h} and those of {reference.clip} {w_ref}x{h_ref}; "
            "resize one of them"
        )
    require_finite(generated)
    require_finite(reference)


def require_lengths(generated: View, reference: View) -> None:
    """
    Raises:
        InputError: the reference has neither as many frames as the generated clip nor a single one.
    """
    if len(reference) not in (1, len(generated)):
        raise InputError(
            f"{generated.clip}: {len(generated)} frames, but {reference.clip} has {len(reference)}; "
            "cut them to the same length"
        )


def require_finite(view: View) -> None:
    """
    Raises:
        InputError: a picture holds numbers that are not finite; the first such frame is named.
    """
    bad = ~view.images.isfinite().flatten(1).all(1)
    if bad.any():
        raise InputError(f"{view.clip}: frame {_first(bad)} holds numbers that are not finite; render it again")


def require_faces(view: View) -> FaceParams:
    """The view's parameters.

    Raises:
        InputError: there are none, a frame has no face, or a landmark is not finite; the first such frame is named.
    """
    if view.params is None:
        raise InputError(f"{view.clip}: its faces were not tracked; track it first")
    missing = view.params.confidence <= 0
    if missing.any():
        found = f"{int(missing.sum())} of {len(view)} frames have no face, the first is frame {_first(missing)}"
        raise InputError(f"{view.clip}: {found}; leave the clip out, or cut these frames")
    bad = ~view.params.landmarks.isfinite().flatten(1).all(1)
    if bad.any():
        raise InputError(f"{view.clip}: the landmarks of frame {_first(bad)} are not finite; track it again")
    return view.params


def require_times(view: View) -> Sequence[Fraction | float]:
    """
    Raises:
        InputError: the view has no frame times.
    """
    if view.times is None:
        raise InputError(f"{view.clip}: its frame times are unknown; give the video instead of single pictures")
    return view.times


def points68(view: View) -> Tensor:
    """(t, 68, 2) pixels: the view's own 68 points, or the nearest points of the tracked mesh.

    Raises:
        InputError: as `require_faces`.
    """
    if view.points68 is not None:
        bad = ~view.points68.isfinite().flatten(1).all(1)
        if bad.any():
            raise InputError(f"{view.clip}: the 68 points of frame {_first(bad)} are not finite; detect them again")
        return view.points68
    return require_faces(view).landmarks[:, list(POINTS_68), :2]


def _first(bad: Tensor) -> int:
    return int(torch.nonzero(bad)[0])
