"""What `portrayal data prepare` and `portrayal data shards` let a user choose; imports nothing heavy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ClipRules:
    """What becomes a clip, and which clips are good enough. The first six are FOMM's rules for VoxCeleb."""

    enlarge: float = 0.1
    """Margin on each side of the box around all faces of a clip, in its longer side."""
    keep_overlap: float = 0.25
    """A clip ends where the face's box overlaps its first one less (intersection over union)."""
    min_frames: int = 64
    """Shorter clips are dropped."""
    max_frames: int = 1024
    """Longer clips are cut."""
    min_side: int = 256
    """Clips whose box around all faces has a longer side below this many pixels of the video are dropped."""
    max_outside: float = 0.0
    """Share of the crop's side by which it may leave the picture (its border is repeated there)."""
    shift_up: float = 0.0
    """Move the crop up by this share of its side, to show more hair and less neck."""
    min_sharpness: float = 15.0
    """Least median sharpness of the face (`prepare_quality.sharpness`); 0 keeps blurred clips."""
    min_confidence: float = 0.8
    """Least confidence of the tracker in nine of ten frames."""
    several_faces: bool = False
    """Keep clips whose crop shows part of a second face."""
    max_yaw: float | None = None
    """Drop clips with a head turned further, degrees (None: any turn)."""

    def __post_init__(self) -> None:
        if self.min_frames < 2 or self.max_frames < self.min_frames:
            raise ValueError("min_frames must be at least 2 and max_frames at least min_frames")
        if not 0 <= self.keep_overlap < 1:
            raise ValueError("keep_overlap must be in [0, 1)")


@dataclass(frozen=True)
class PrepareOptions:
    """Raw videos to a clip folder."""

    size: int = 256
    """Side of the clips in pixels."""
    fps: int = 25
    """Frames per second of the clips; frames are left out or repeated."""
    rules: ClipRules = ClipRules()
    quality: int = 15
    """Constant quality of H.264; smaller is better and larger, 18 shows no difference."""
    identities: Path | None = None
    """Table with the columns video (path below the folder) and identity; without it the first folder below the root
    is the person, or the file where there is none."""
    validation_share: float = 0.1
    """Share of the people that is for validation; a person's half follows from the label alone."""
    workers: int = 1
    """Processes, each with one video at a time."""
    device: str = "auto"
    """Where faces are tracked: cpu, cuda, mps or auto."""

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 2:
            raise ValueError("size must be even and at least 32")
        if self.fps < 1 or self.workers < 1:
            raise ValueError("fps and workers must be at least 1")
        if not 0 <= self.validation_share < 1:
            raise ValueError("validation_share must be in [0, 1)")

    def what_matters(self) -> dict[str, Any]:
        """The options that a clip depends on."""
        fields = asdict(self)
        return {name: fields[name] for name in ("size", "fps", "rules", "quality")}


@dataclass(frozen=True)
class ShardOptions:
    """A clip folder to WebDataset shards."""

    shard_mb: int = 256
    """A shard is closed when it has grown to this many megabytes."""
