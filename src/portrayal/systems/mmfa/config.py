"""Configuration of MMFA. The paper's numbers carry their section; where it is silent, face-vid2vid's are taken.

Lengths without a unit are normalised picture coordinates ([-1, 1] over the crop).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from portrayal.data.pair_options import PairOptions
from portrayal.systems.mmfa.light_config import LightConfig, LightLosses, LightTraining
from portrayal.systems.mmfa.loss_config import LossConfig, VaeConfig


@dataclass(frozen=True)
class DetectorConfig:
    """Canonical keypoints: 2D encoder, 3D decoder (Sec. 3.2; the network of face-vid2vid)."""

    keypoints: int = 15
    """K (face-vid2vid: 15; the paper does not name another)."""
    input_factor: int = 4
    """The picture is reduced by this before the network."""
    first: int = 32
    """Channels at the resolution of the input; they double per level."""
    largest: int = 1024
    levels: int = 5
    depth: int = 16
    """Depth of the keypoint heatmaps."""
    temperature: float = 0.1
    """Of the softmax over the heatmap."""
    jacobians: bool = False
    """A second head with a 3 x 3 matrix per keypoint; only for checkpoints that have it."""


@dataclass(frozen=True)
class EncoderConfig:
    """A picture encoder of bottleneck blocks; every stage but the first halves the resolution."""

    stem: int = 64
    """Channels of the first convolution (7 x 7, stride 2), before the max-pooling."""
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    """Channels per stage."""
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    """Bottlenecks per stage."""

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.blocks):
            raise ValueError(f"widths {self.widths} and blocks {self.blocks} must have one number per stage")
        if any(w % 4 for w in self.widths):
            raise ValueError(f"widths must be multiples of 4, got {self.widths}")


@dataclass(frozen=True)
class ExpressionConfig:
    """E_e and D_e of equation 4 (supplement A.1). The paper leaves the inner widths open: they are our choice."""

    stem: int = 64
    widths: tuple[int, ...] = (128, 256, 512, 512)
    """Channels per stage; each of these stages halves the resolution, so that 256 pixels end at 4 x 4."""
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    map_channels: int = 16
    """Of the last map, 16 x 4 x 4 (A.1)."""
    feature: int = 256
    """Length of f_delta (A.1)."""
    decoder: tuple[int, ...] = (512, 512, 512)
    """Widths of the decoder's hidden layers."""

    def __post_init__(self) -> None:
        EncoderConfig(self.stem, self.widths, self.blocks)


@dataclass(frozen=True)
class AppearanceConfig:
    """The source's feature volume (A.1: 32 x 16 x 64 x 64 at 256)."""

    first: int = 64
    largest: int = 512
    down: int = 2
    """Halvings of the picture."""
    kernel: int = 7
    """Of the first convolution (face-vid2vid with the SPADE generator: 3)."""
    channels: int = 32
    depth: int = 16
    """Not below `motion.mask_kernel` where training is in bfloat16 on a CPU: of a 3D convolution whose
    kernel is longer than the volume torch 2.13 gives wrong gradients there, or crashes."""
    resblocks: int = 6
    """3D residual blocks."""


@dataclass(frozen=True)
class MotionConfig:
    """Dense motion (equations 1 and 2)."""

    first: int = 32
    largest: int = 1024
    levels: int = 5
    compress: int = 4
    """Channels to which the volume is reduced before it is moved by every keypoint."""
    variance: float = 0.01
    """Of the keypoints' heatmaps."""
    mask_kernel: int = 7
    """Of the last convolution, which gives M (face-vid2vid: 7)."""
    jacobian: Literal["affine", "identity"] = "affine"
    """J of equation 1. affine: what equation 5 gives, f_S R_S (f_D R_D)^-1; identity: face-vid2vid's released code."""


@dataclass(frozen=True)
class GeneratorConfig:
    """From the moved volume to the picture."""

    kind: Literal["multi-scale", "plain", "spade"] = "multi-scale"
    """multi-scale: A.1. plain and spade: the two of face-vid2vid's public implementation, for its checkpoints."""
    channels: tuple[int, ...] = (256, 128, 64)
    """At a quarter, half and the whole resolution (A.1: 256 first; the UpBlocks reduce them)."""
    resblocks: int = 1
    """Residual blocks per resolution (A.1: one); plain: at the lowest one only."""
    spade: tuple[int, int, int, int] = (256, 512, 256, 64)
    """spade: channels of the map, the middle, and after each doubling."""
    hidden: int = 128
    """spade: channels between the map and the scale and shift that it gives."""


@dataclass(frozen=True)
class Conventions:
    """What an imported checkpoint has learned to live with. The defaults are the project's own conventions."""

    corners: bool = False
    """-1 and 1 are the first and last pixel's centre where keypoints and grids are made, although reading takes them
    for the borders of the picture (face-vid2vid: yes). False: the borders in both."""
    half_turn: float = math.pi
    """180 degrees in radians (face-vid2vid: 3.14)."""


@dataclass(frozen=True)
class Config:
    """The whole system. `decomposition`, `affine`, `expression_input` and `renderer` say which networks there are."""

    image_size: int = 256
    """Side of the pictures that the networks see; portraits of other sizes are scaled."""
    decomposition: Literal["mmfa", "face-vid2vid"] = "mmfa"
    """Equation 5, or equation 3 (face-vid2vid: R, t and delta of one network)."""
    expression_input: Literal["image", "landmarks"] = "image"
    """What the expression encoder reads: the driving picture (the paper), or the tracker's landmarks in the head frame
    (goes with the light renderer, whose keypoints are guided by landmarks)."""
    affine: Literal["network", "tracker"] = "network"
    """Where f and t come from; with equation 5, R is always the tracker's."""
    renderer: Literal["volume", "light"] = "volume"
    """volume: 3D features, dense motion by a 3D network (the paper's); light: see `light`, for a CPU in real time."""
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    affine_encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Of the affine estimator; with equation 3 of the network for R, t and delta."""
    expression: ExpressionConfig = field(default_factory=ExpressionConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: tuple[int, ...] = (64, 128, 256, 512)
    """Channels of the discriminator's blocks."""
    loss: LossConfig = field(default_factory=LossConfig)
    vae: VaeConfig = field(default_factory=VaeConfig)
    """With equation 5."""
    pairs: PairOptions = field(default_factory=PairOptions)
    """How training pairs are drawn."""
    light: LightConfig = field(default_factory=LightConfig)
    light_training: LightTraining = field(default_factory=LightTraining)
    conventions: Conventions = field(default_factory=Conventions)
    frames_per_batch: int = 4
    """Frames that `render` gives at a time."""
    learning_rate: float = 5e-5
    """B.2."""
    betas: tuple[float, float] = (0.5, 0.9)
    """Of Adam (B.2)."""
    batch: int = 16
    steps: int = 300_000
    """The paper names neither batch nor length; face-vid2vid's public training sees about as many batches."""
    ema: float = 0.999
    schedule: Literal["constant", "cosine"] = "constant"
    """Of the learning rate in the stages main and vae (B.2 names one number)."""
    warmup_steps: int = 0
    """Of the same stages: steps over which the learning rate rises."""

    def __post_init__(self) -> None:
        if (self.renderer == "light") != (self.expression_input == "landmarks"):
            raise ValueError("renderer light and expression_input landmarks go together")
        if self.renderer == "light":
            return
        a, g = self.appearance, self.generator
        low, smallest = self.image_size // 2**a.down, 2**self.motion.levels
        if low % smallest:
            raise ValueError(
                f"image_size {self.image_size} with appearance.down {a.down} gives a volume of {low} x {low}, "
                f"which motion.levels {self.motion.levels} cannot halve evenly"
            )
        if self.image_size // self.detector.input_factor % 2**self.detector.levels:
            raise ValueError(
                f"image_size {self.image_size} / detector.input_factor {self.detector.input_factor} "
                f"cannot be halved detector.levels {self.detector.levels} times"
            )
        side = self.image_size // 4 // 2 ** len(self.expression.widths)
        if self.decomposition == "mmfa" and side != 4:
            raise ValueError(
                f"expression.widths {self.expression.widths} must halve a quarter of image_size {self.image_size} "
                f"to 4, not to {side}"
            )
        if g.kind == "multi-scale" and len(g.channels) != a.down + 1:
            raise ValueError(f"generator.channels {g.channels} must have appearance.down + 1 = {a.down + 1} numbers")
        if self.decomposition == "face-vid2vid" and self.affine == "tracker":
            raise ValueError("decomposition face-vid2vid takes its pose from its own network: affine must be network")

    @classmethod
    def tiny(cls) -> Self:
        """The same classes, for tests on a CPU; learns one clip by heart in minutes (`benchmarks/mmfa_overfit.py`).

        Nothing but the pixels teaches the picture here, so they outweigh the rest: with the weights of `paper` the
        gradient of equation 9 through a blurred face drowns theirs.
        """
        return cls(
            image_size=64,
            affine="tracker",
            detector=DetectorConfig(keypoints=6, first=16, largest=64, levels=3, depth=4),
            affine_encoder=EncoderConfig(stem=16, widths=(32, 64), blocks=(1, 1)),
            expression=ExpressionConfig(stem=16, widths=(32, 64), blocks=(1, 1), decoder=(64, 64)),
            appearance=AppearanceConfig(first=16, largest=64, kernel=3, channels=8, depth=4, resblocks=1),
            motion=MotionConfig(first=8, largest=32, levels=3, compress=1, mask_kernel=3),
            generator=GeneratorConfig(channels=(64, 32, 16)),
            discriminator=(16, 32, 64),
            loss=replace(cls._gentle_losses(), perceptual_networks=(), perceptual=0, pixel=100),
            vae=VaeConfig(latent=8, hidden=32, learning_rate=1e-3),
            pairs=PairOptions(mirror=False, colour=0),
            learning_rate=3e-3,
            batch=4,
            steps=200,
            ema=0.99,
            schedule="cosine",
            warmup_steps=20,
        )

    @staticmethod
    def _gentle_losses() -> LossConfig:
        """For small networks and short runs: the pixels outweigh the rest."""
        return LossConfig(
            adversarial=0.1,
            feature_matching=1,
            equivariance=5,
            keypoint=1,
            deformation=1,
            landmarks_face=2,
            landmarks_mouth=4,
            landmarks_pupil=4,
        )

    @classmethod
    def compact(cls) -> Self:
        """What the package ships: the light renderer at 256 x 256, guided keypoints, pose and landmarks tracked."""
        return cls(
            affine="tracker",
            expression_input="landmarks",
            renderer="light",
            detector=DetectorConfig(keypoints=47, input_factor=8, first=16, largest=128, levels=4, depth=8),
            discriminator=(32, 64, 128, 256),
            vae=VaeConfig(kl=0.1),
            learning_rate=1e-3,
            betas=(0.9, 0.99),
            batch=8,
            steps=4600,
            ema=0.998,
            schedule="cosine",
            warmup_steps=100,
            light=LightConfig(openings=True),
            frames_per_batch=1,  # as fast as more on a CPU, and a frame does not depend on its neighbours' number
        )

    @classmethod
    def refine(cls) -> Self:
        """`compact`, going on from its weights (--init): the renderer with the keypoints that the networks give, with
        equation 9 and the terms of a discriminator."""
        weights = LightLosses(landmarks=4.0, adversarial=0.2, feature_matching=1.0)
        training = LightTraining(losses=weights, guided=False)
        return replace(cls.compact(), light_training=training, learning_rate=3e-4, steps=3600, ema=0.99)

    def lightened(self) -> Self:
        """The configuration with the light renderer: itself, or at its size with small networks."""
        if self.renderer == "light":
            return self
        return replace(
            self,
            renderer="light",
            expression_input="landmarks",
            affine="tracker",
            detector=replace(self.detector, keypoints=47),
            light=LightConfig(
                volume_channels=4, depth=2, motion_channels=8, channels=(16, 8, 8), source_channels=(8, 16), blocks=1
            ),
            light_training=replace(self.light_training, losses=LightLosses(features=0)),
        )

    def unguided(self) -> Self:
        """The paper's networks and losses, unsupervised: itself, or what `compact` has instead of the light renderer.

        128 x 128 and narrow enough for two CPU cores; features of the embedded tracker in equation 6.
        """
        if self.renderer == "volume":
            return self
        return replace(
            type(self)(),
            image_size=128,
            affine="tracker",
            detector=DetectorConfig(first=16, largest=128, levels=4, depth=8, input_factor=2),
            expression=ExpressionConfig(stem=32, widths=(64, 128, 128), blocks=(1, 1, 1), decoder=(256, 256)),
            appearance=AppearanceConfig(first=32, largest=128, channels=8, depth=8, resblocks=1),
            motion=MotionConfig(first=16, largest=64, levels=4, compress=2, mask_kernel=3),
            generator=GeneratorConfig(channels=(128, 64, 32)),
            discriminator=self.discriminator,
            loss=replace(self._gentle_losses(), perceptual_networks=("tracker",), perceptual=1, pixel=50),
            learning_rate=1e-3,
            batch=4,
            steps=300,
            ema=0.99,
            schedule="cosine",
            warmup_steps=20,
        )

    @classmethod
    def paper(cls) -> Self:
        """Sec. 3.2, A.1, B.2; 256 x 256, K = 15."""
        return cls()

    @classmethod
    def face_vid2vid(cls) -> Self:
        """Equation 3 with the networks and conventions of face-vid2vid's public implementation, vox-256."""
        return replace(
            cls(),
            decomposition="face-vid2vid",
            motion=MotionConfig(jacobian="identity"),
            generator=GeneratorConfig(kind="plain", resblocks=6),
            loss=LossConfig(
                perceptual_networks=("vgg19",),
                expression=0,
                identity=0,
                landmarks_face=0,
                landmarks_mouth=0,
                landmarks_pupil=0,
                head_pose=20,
                keypoint_depth=0.33,
            ),
            conventions=Conventions(corners=True, half_turn=3.14),
            learning_rate=2e-4,
            betas=(0.5, 0.999),
        )
