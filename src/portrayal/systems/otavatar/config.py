"""Configuration of OTAvatar: the tri-plane generator of EG3D, the motion controller, and how both are trained.

Where the paper and the official code differ, both are choices; the preset `paper` takes the paper's, `official` the
code's, which its published checkpoints need.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Self

from portrayal.nn.rendering.volume import RayConfig
from portrayal.nn.triplane import PlaneAxes
from portrayal.systems.otavatar.training_config import (
    AutoencodingConfig,
    AvatarConfig,
    DecoupleConfig,
    Eg3dConfig,
    LossWeights,
)


@dataclass(frozen=True)
class GeneratorConfig:
    """EG3D: planes by StyleGAN2, volume rendering, super-resolution (EG3D, Sec. 4)."""

    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 2
    mapping_rate: float = 0.01
    """Multiplier of the mapping network's learning rate (StyleGAN, appendix C)."""
    plane_size: int = 256
    """Side of a plane in texels; 256 gives 14 latent vectors."""
    plane_channels: int = 32
    """Of a plane, and of the rendered feature picture."""
    channel_base: int = 32768
    """Channels x resolution of the planes' network."""
    channel_max: int = 512
    plane_axes: PlaneAxes = "orthogonal"
    """legacy: EG3D's published weights."""
    decoder_hidden: int = 64
    rays: RayConfig = field(default_factory=RayConfig)
    neural_size: int = 64
    """Side of the picture that is rendered."""
    super_input: int = 128
    """Side to which that picture is enlarged before the blocks of the super-resolution."""
    super_widths: tuple[int, ...] = (256, 128)
    """Channels of these blocks; each doubles the size."""
    super_clamp: float | None = 256.0
    """Limit of what a convolution of the super-resolution gives."""
    framing: float = 1.0
    """Side of the picture in sides of EG3D's square around the face, which cuts off the top of the hair; the camera
    stays where it is. Above about 1.25 the whole head is inside."""
    head_prior: bool = False
    """Begin with the density of an ellipsoid of a head's size (`nn.rendering.head`)."""
    background: int = 0
    """Channels of a network that draws what is behind the planes, always in the same place of the picture, from the
    last latent. 0: the planes draw it, as EG3D's do."""

    @property
    def size(self) -> int:
        """Side of the final picture in pixels."""
        return self.super_input << len(self.super_widths)


@dataclass(frozen=True)
class ControllerConfig:
    """The motion controller C (supplement, Sec. 1.4)."""

    rows: Literal[70, 73] = 73
    """Coefficients per frame. 73: expression 64, angles 3, translation 3, crop 3 (paper). 70: without crop (code)."""
    frames: int = 27
    """Length of the window; the frame that is meant is in its middle."""
    width: int = 256
    """Channels of the convolutions and of the MLP."""
    mlp: Literal["separate", "shared"] = "separate"
    """separate: five layers, each with weights of its own, the last one gives the scalars (paper). shared: one layer
    five times over, the convolutions' result added, and one more layer that gives the scalars (code)."""
    bases: int = 20
    """Vectors in the code book."""
    hidden_gain: float = 0.02
    """Of the initial weights of all layers but the last (code). So small, nothing comes through six layers until some
    thousand steps have made them larger; 1 lets the last one learn at once."""
    motion_space: Literal["w+", "w"] = "w+"
    """w: one motion code for all layers, the ablation "w_x in W"."""
    code_book: Literal["orthogonal", "linear"] = "orthogonal"
    """linear: free weights, the ablation "w/o code book"."""

    def __post_init__(self) -> None:
        if self.frames != 27:
            raise ValueError(f"frames must be 27, which the convolutions reduce to 3 (Sec. 1.4), got {self.frames}")


@dataclass(frozen=True)
class Config:
    """The whole system."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    eg3d: Eg3dConfig = field(default_factory=Eg3dConfig)
    autoencoding: AutoencodingConfig = field(default_factory=AutoencodingConfig)
    decouple: DecoupleConfig = field(default_factory=DecoupleConfig)
    avatar: AvatarConfig = field(default_factory=AvatarConfig)
    batch: int = 32
    steps: int = 781_250
    """25 million pictures, EG3D's; OTAvatar starts from its published weights."""
    ema: float = 0.9978
    """Half-life of 10,000 pictures at this batch."""

    def __post_init__(self) -> None:
        g = self.generator
        if not self.inversion.identity_steps or not (self.decouple.identity_steps or self.autoencoding.is_on):
            raise ValueError("identity_steps may be 0 in training with an encoder only (autoencoding.pixel)")
        if self.autoencoding.is_on and g.z_dim != g.w_dim:
            raise ValueError(f"autoencoding needs generator.z_dim and w_dim to be alike, got {g.z_dim} and {g.w_dim}")
        if self.autoencoding.identity and self.decouple.identity_network == "none":
            raise ValueError("autoencoding.identity needs a decouple.identity_network; set it to 0 where there is none")

    @classmethod
    def tiny(cls) -> Self:
        """The same classes, for tests on a CPU."""
        return cls(
            generator=GeneratorConfig(
                z_dim=16,
                w_dim=16,
                plane_size=16,
                plane_channels=8,
                channel_base=256,
                channel_max=16,
                decoder_hidden=16,
                rays=RayConfig(coarse_samples=6, fine_samples=0),
                neural_size=16,
                super_input=16,
                super_widths=(8,),
            ),
            controller=ControllerConfig(width=16, bases=4),
            eg3d=Eg3dConfig(
                discriminator_base=512,
                discriminator_max=16,
                r1_every_steps=2,
                density_every_steps=2,
                density_points=50,
                swap_fade_images=100,
                augment_span_images=200,
            ),
            decouple=DecoupleConfig(
                identity_steps=3,
                motion_steps=2,
                perceptual_network="none",
                identity_network="none",
                losses=LossWeights(perceptual=0, identity=0, density_points=50),
                batch=2,
                steps=50,
                ema=0.9,
            ),
            avatar=AvatarConfig(save_every_steps=2, tuning_steps=4, detail=True),
            batch=4,
            steps=50,
            ema=0.9,
        )

    @classmethod
    def compact(cls) -> Self:
        """128 x 128, for two CPU cores; at most 14 MB in half precision."""
        return cls(
            generator=GeneratorConfig(
                z_dim=256,
                w_dim=256,
                mapping_rate=0.3,
                plane_size=64,
                plane_channels=16,
                channel_base=8192,
                channel_max=128,
                decoder_hidden=32,
                rays=RayConfig(coarse_samples=16, fine_samples=16, limits=None),
                neural_size=32,
                super_input=32,
                super_widths=(64, 32),
                framing=1.3,
                head_prior=True,
                background=16,
                super_clamp=None,  # bfloat16 reaches as far as float32
            ),
            controller=ControllerConfig(width=128, hidden_gain=1.0),
            eg3d=Eg3dConfig(
                discriminator_base=4096,
                discriminator_max=128,
                momentum=0.9,
                photo_share=0.3,
                swap_fade_images=20_000,
                augment_span_images=50_000,
            ),
            autoencoding=AutoencodingConfig(
                pixel=10.0,
                perceptual=2.0,
                parts=6.0,
                identity=1.0,
                encoder_side=64,
                channels=(32, 64, 96, 80),
                units=(2, 2, 4, 2),
                discriminator_from=4_500,  # a longer training has one
            ),
            decouple=DecoupleConfig(
                identity_steps=0,  # the encoder learns to find it
                motion_steps=0,
                finetune_encoder=True,
                controller_start="live",  # from the average, a twentieth of what is learned would remain
                finetune_controller=True,
                perceptual_network="tracker",
                tracker_side=128,
                identity_network="mobilefacenet",
                losses=LossWeights(
                    gram=0,
                    openings=150.0,
                    monotonic=0,  # a head ends behind, the background is no part of it
                ),
                controller_decay=0.01,
                generator_rate=3e-4,
                decay_every_steps=800,
                photo_share=0.25,
                mirror=True,
                batch=4,
                steps=1_200,
                ema=0.99,
            ),
            avatar=AvatarConfig(
                identity_steps=60, identity_loss=False, tuning_steps=80, tuning_rate=2e-3, steady=2, detail=True
            ),
            batch=8,
            steps=4_500,
            ema=0.995,
        )

    @classmethod
    def paper(cls) -> Self:
        """512 x 512, 64 rendered, 48 + 48 samples; the paper's choices."""
        return cls()

    @classmethod
    def official(cls) -> Self:
        """`paper` with the choices of the official code: for its checkpoints."""
        return replace(
            cls(),
            generator=GeneratorConfig(plane_axes="legacy"),
            controller=ControllerConfig(rows=70, mlp="shared"),
            decouple=DecoupleConfig(
                controller_start="live", inverted_generator="averaged", finetune_controller=True, batch=4
            ),
        )

    @property
    def inversion(self) -> DecoupleConfig:
        """How a photo is inverted and the generator tuned to it."""
        wanted, trained = self.avatar, self.decouple
        losses = replace(trained.losses, openings=0)  # the pixels of one photo say it better
        if not wanted.identity_loss:
            losses = replace(losses, identity=0)
        return replace(trained, identity_steps=wanted.identity_steps or trained.identity_steps, losses=losses)

    def decoupled(self) -> Self:
        """As the stage `decouple` trains it."""
        return replace(self, batch=self.decouple.batch, steps=self.decouple.steps, ema=self.decouple.ema)
