"""Configuration of the mesh warp. It has no paper: `compact` and `paper` are the same, `tiny` is coarser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Config:
    """Numbers of the mesh and of its drawing. Lengths "in head units" are multiples of the eyes' outer distance."""

    rings: int = 11
    """Rings of vertices from the outline of the face to the border of the picture; the last two are that border."""
    map_step: int = 2
    """Pixels per cell of the map that says where to read in the source; it is interpolated in between."""
    frames_per_batch: int = 4
    """Frames that `render` gives at a time."""
    skull_depth: float = 0.71
    """Depth of the head's silhouette behind the outer corners of the eyes, head units."""
    still_border: float = 0.3
    """Width of the border of the picture over which all motion fades to none, head units."""
    jaw_reach: float = 1.1
    """How far the skin and clothes below the face follow the expression, head units (half a face is about 1)."""

    def __post_init__(self) -> None:
        if self.rings < 3:
            raise ValueError(f"rings must be at least 3, got {self.rings}")
        if self.map_step < 1 or self.frames_per_batch < 1:
            raise ValueError(
                f"map_step and frames_per_batch must be positive, got {self.map_step}, {self.frames_per_batch}"
            )

    @classmethod
    def tiny(cls) -> Self:
        return cls(rings=6, map_step=4, frames_per_batch=2)

    @classmethod
    def compact(cls) -> Self:
        return cls()

    @classmethod
    def paper(cls) -> Self:
        return cls()
