"""Configuration of the light renderer and of its training."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class LightConfig:
    """Sizes of the light renderer, for pictures of 256 x 256."""

    volume_channels: int = 16
    depth: int = 4
    near: float = -0.6
    far: float = 0.2
    """z of the first and the last depth slice."""
    motion_channels: int = 48
    channels: tuple[int, int, int] = (64, 48, 16)
    """Of the generator at a quarter, half and the whole resolution."""
    source_channels: tuple[int, int] = (24, 64)
    """Of the source's features at half and a quarter of the resolution."""
    blocks: int = 4
    """Residual blocks of the generator at a quarter of the resolution."""
    openings: bool = False
    """Lay the inside of the mouth, and of eyes that the portrait has shut, into what is drawn (`systems.openings`), at
    inference. Not the paper's."""


@dataclass(frozen=True)
class LightLosses:
    """Weights of the light renderer's terms."""

    pixels: float = 4.0
    features: float = 1.0
    moved: float = 1.0
    painted: float = 1.0
    landmarks: float = 0.0
    """Equation 9, on half of each batch."""
    adversarial: float = 0.0
    """Least squares (A.2); 0 leaves the discriminator out."""
    feature_matching: float = 0.0
    """Of the discriminator's features."""


@dataclass(frozen=True)
class LightTraining:
    """How the light renderer and its guided keypoints are trained."""

    losses: LightLosses = field(default_factory=LightLosses)
    weight_decay: float = 1e-4
    point_noise: float = 0.004
    """Standard deviation of the noise on the keypoints, head units."""
    guided: bool = True
    """The renderer learns with the guides' own landmarks; False: with the keypoints that the networks give."""
    photo_share: float = 0.35
    """Of the samples that are photos moved by meshwarp."""
