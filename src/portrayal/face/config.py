"""Configuration of the face tracker: its two networks and how they are trained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms in `face.losses`."""

    landmarks: float = 1.0
    """Point error in inter-ocular distances."""
    gaps: float = 2.0
    """Error of the lid and lip openings, so that blinks and closed lips are not averaged away."""
    openness: float = 0.5
    confidence: float = 0.1
    heat: float = 1.0
    box: float = 0.5


@dataclass(frozen=True)
class Config:
    """The tracker: a detector that finds faces, and a landmark network that measures one face in a crop."""

    crop_size: int = 128
    """Side of the landmark network's input in pixels."""
    crop_margin: float = 1.4
    """Side of that input / side of the face box."""
    landmark_channels: tuple[int, int, int, int] = (48, 96, 144, 176)
    """Channels at 1/4, 1/8, 1/16 and 1/32 of the input."""
    landmark_blocks: tuple[int, int, int, int] = (2, 3, 3, 1)
    """Residual blocks at each of these scales."""
    detector_channels: tuple[int, int, int] = (16, 32, 56)
    """Channels at 1/2, 1/4 and 1/8 (and 1/16) of the input."""
    tile_size: int = 160
    """Side of the detector's training pictures in pixels."""
    face_sizes: tuple[float, float] = (13.0, 90.0)
    """Face boxes, in pixels of its input, that the detector reports; other sizes are found at other pyramid levels."""
    edits_per_photo: int = 0
    """Pictures with moved lids, gaze and mouth that each training photo also gives (`data.edited_faces`)."""
    batch: int = 32
    """Crops, and half as many detector tiles, a step."""
    steps: int = 9000
    """Optimizer steps; the learning rate falls to zero over them (cosine)."""
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    ema: float = 0.999
    """Decay of the averaged weights, which are the ones that ship."""
    loss: LossWeights = LossWeights()

    @classmethod
    def tiny(cls) -> Config:
        """For tests: seconds on a CPU."""
        return cls(
            crop_size=64,
            landmark_channels=(8, 16, 16, 16),
            landmark_blocks=(1, 1, 1, 1),
            detector_channels=(8, 8, 16),
            tile_size=96,
            edits_per_photo=1,
            batch=4,
            steps=20,
            ema=0.9,
        )

    @classmethod
    def compact(cls) -> Config:
        """The weights in the package."""
        return cls()

    @classmethod
    def refine(cls) -> Config:
        """A short run that goes on from trained weights (`--init`), with edited photos."""
        return cls(steps=1000, learning_rate=4e-4, edits_per_photo=8)
