"""Configuration of OTAvatar: the tri-plane generator of EG3D, the motion controller, and how both are trained.

Where the paper and the official code differ, both are choices; the preset `paper` takes the paper's, `official` the
code's, which its published checkpoints need.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Self

from portrayal.face.features import SIDE
from portrayal.nn.arcface import STAGES
from portrayal.nn.rendering.volume import RayConfig
from portrayal.nn.triplane import PlaneAxes

IdentityName = Literal["arcface", "mobilefacenet", "none"]


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
class Eg3dConfig:
    """The stage `eg3d` (EG3D, Sec. 4 and supplement)."""

    generator_rate: float = 0.0025
    discriminator_rate: float = 0.002
    momentum: float = 0.0
    """beta1 of the generator's Adam; where it mostly copies pictures, the usual 0.9 teaches it sooner."""
    discriminator_base: int = 32768
    """Channels x resolution of the discriminator."""
    discriminator_max: int = 512
    r1: float = 1.0
    """gamma."""
    r1_every_steps: int = 16
    density: float = 0.25
    """Weight of the density's variation."""
    density_every_steps: int = 4
    density_points: int = 1000
    swap: float = 0.5
    """Share of pictures whose mapping network is told the camera of another one, in the end."""
    swap_fade_images: int = 1_000_000
    """Pictures over which that share falls from 1."""
    augment_target: float = 0.6
    """Mean sign of the discriminator's logits that ADA aims at; 0 augments nothing."""
    augment_span_images: int = 500_000
    """Pictures in which the probability of a change can go from 0 to 1."""
    photo_share: float = 0.0
    """Of the pictures that are portraits of `photos.csv` instead of frames of clips."""
    mirror: bool = True
    """Mirror every second picture."""


@dataclass(frozen=True)
class AutoencodingConfig:
    """Training an encoder along with the generator in the stage `eg3d` (AE-StyleGAN, Han et al. 2021).

    EG3D learned from millions of pictures. Where there are a few ten thousand, true pictures to copy teach a generator
    sooner than a discriminator does. The encoder gives one w, which is what inversion looks for.
    """

    pixel: float = 0.0
    """Mean absolute difference, pictures in [-1, 1], of the rendering and of the picture; 0: EG3D alone."""
    parts: float = 4.0
    """How much more a pixel of eyes and mouth counts than others."""
    surroundings: float = 0.2
    """What a pixel beside the head counts, which is never shown."""
    other_share: float = 0.5
    """Of the copies that are seen from another place: as another frame of the clip shows the face, or as a mirror shows
    a photo."""
    other_weight: float = 0.5
    """Of their pixels. Below 1, so that a picture's own view decides where both disagree: the least absolute difference
    is the heavier one's."""
    perceptual: float = 1.0
    """Of the embedded tracker's maps of the face, in the picture's own view."""
    identity: float = 0.0
    """Of the distance between the embeddings of the faces in their own views, by `DecoupleConfig.identity_network`."""
    latent: float = 1.0
    """Of the distance between the distributions of the mapping network's w and the encoder's."""
    encoder_side: int = 256
    """Side to which the encoder's pictures are brought, a power of two."""
    channels: tuple[int, ...] = tuple(channels for channels, _ in STAGES)
    """Of the four stages of the encoder's trunk; multiples of 16."""
    units: tuple[int, ...] = tuple(units for _, units in STAGES)
    encoder_rate: float = 5e-4
    """Learning rate of the encoder, in `decouple` too if that teaches it."""
    mapping_factor: float = 5.0
    """How many times the generator's learning rate the mapping network has, to follow the encoder."""
    discriminator_from: int = 0
    """The step at which the discriminator begins."""

    @property
    def is_on(self) -> bool:
        return self.pixel > 0

    def __post_init__(self) -> None:
        if len(self.channels) != 4 or len(self.units) != 4:
            raise ValueError(
                f"autoencoding.channels {self.channels} and autoencoding.units {self.units} must have four numbers"
            )
        if not 0 <= self.other_share < 1:
            raise ValueError(f"autoencoding.other_share must be at least 0 and below 1, got {self.other_share}")


@dataclass(frozen=True)
class LossWeights:
    """Terms of L in Algorithm 1; the numbers are those of the official recipe."""

    perceptual: float = 1.0
    gram: float = 250.0
    """Within the perceptual term, of its first scale."""
    local: float = 10.0
    pixel: float = 1.0
    identity: float = 1.0
    openings: float = 0.0
    """Of how far apart the tracker sees lips and lids, in the final picture (`reading`). Not the paper's."""
    variation: float = 0.25
    """Of the density between neighbouring points."""
    monotonic: float = 1.0
    """Of density that falls behind the surface."""
    density_points: int = 2000


@dataclass(frozen=True)
class DecoupleConfig:
    """The stage `decouple`, Algorithm 1, and inversion."""

    identity_steps: int = 90
    """N_id; 0: w_id is what the encoder says."""
    motion_steps: int = 10
    """N_mo; of an inversion super-resolution is run and judged in these last steps only. 0: the controller learns with
    the generator alone."""
    identity_rate: float = 0.01
    """Of Adam on w_id and of AdamW on the bias of the intrinsics."""
    bias_intrinsics: bool = True
    """Learn a bias of the source's intrinsics with w_id (code; the paper does not say)."""
    clamp: float | None = 5.0
    """Greatest distance of a latent's channels from the average one (code); None: no limit."""
    controller_start: Literal["averaged", "live"] = "averaged"
    """What the controller is before each batch: its average (Algorithm 1, line 4), or what it has become (code, where
    the copy has no effect)."""
    inverted_generator: Literal["live", "averaged"] = "live"
    """Whose weights w_id is found for: those being trained (Algorithm 1), or their average (code)."""
    finetune_controller: bool = False
    """Let the controller learn from the last two pictures, too (code); Algorithm 1 teaches the generator alone."""
    controller_rate: float = 1e-3
    controller_decay: float = 1.0
    """Of the weights of the controller in AdamW (code): a thousandth in each step, which leaves a third after 1,000."""
    generator_rate: float = 1e-4
    finetune_encoder: bool = False
    """Let the encoder, where there is one, learn from the last two pictures, as if w_id followed it; no paper's. With
    few inner steps it is what the encoder says that is shown."""
    decay_every_steps: int = 10_000
    """Both rates are multiplied by 0.2 after as many steps each time."""
    clip: float = 1.0
    """Greatest norm of a gradient."""
    perceptual_network: Literal["vgg19", "tracker", "none"] = "vgg19"
    """tracker: maps of the embedded tracker, where VGG-19 is not at hand."""
    tracker_side: int = SIDE
    """Side to which the pictures are brought for these maps."""
    identity_network: IdentityName = "arcface"
    losses: LossWeights = field(default_factory=LossWeights)
    photo_share: float = 0.0
    """Of the pairs that are a photo and its face moved by meshwarp instead of two frames of a clip. Not the paper's."""
    mirror: bool = False
    """Mirror every second pair. Not the paper's."""
    batch: int = 8
    """The paper's, after a remark in the code."""
    steps: int = 2000
    ema: float = 0.95
    """beta of line 17."""

    def __post_init__(self) -> None:
        if self.identity_steps < 0 or self.motion_steps < 0:
            raise ValueError(
                f"identity_steps and motion_steps must not be negative, got {self.identity_steps}, {self.motion_steps}"
            )
        if not self.motion_steps and not self.finetune_controller:
            raise ValueError("without motion_steps the controller learns nothing; set finetune_controller")
        if self.losses.perceptual and self.perceptual_network == "none":
            raise ValueError("losses.perceptual needs a perceptual_network; set it to 0 where there is none")
        if self.losses.identity and self.identity_network == "none":
            raise ValueError("losses.identity needs an identity_network; set it to 0 where there is none")


@dataclass(frozen=True)
class AvatarConfig:
    """The avatar of one photo: what inversion has beside `DecoupleConfig`, and a light tuning of the generator."""

    identity_steps: int | None = None
    """N_id for one photo; None: as in training."""
    identity_loss: bool = True
    """Whether the identity term of the training counts here, too; off, nobody needs its network to use the model."""
    patience: int = 20
    """Steps without progress after which either of both stops."""
    save_every_steps: int = 10
    """Steps after which an interrupted one can go on."""
    tuning_steps: int = 0
    """Of the generator, after w_id is found; the code has them as an option (50 at most), the paper does not."""
    tuning_rate: float = 3e-4
    """Of Adam (code)."""
    locality: float = 1.0
    """Weight of the mean squared difference that tuning makes to other faces (PTI, Roich et al. 2021)."""
    radius: float = 0.3125
    """How far from the face's latents those lie, root mean square per number: PTI's 30 over 18 x 512 of them."""


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
            avatar=AvatarConfig(save_every_steps=2, tuning_steps=4),
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
                discriminator_from=3_600,
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
                generator_rate=5e-4,
                photo_share=0.25,
                mirror=True,
                batch=4,
                steps=1_000,
            ),
            avatar=AvatarConfig(identity_steps=60, identity_loss=False, tuning_steps=80, tuning_rate=2e-3),
            batch=8,
            steps=4_100,
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
        losses = trained.losses if wanted.identity_loss else replace(trained.losses, identity=0)
        return replace(trained, identity_steps=wanted.identity_steps or trained.identity_steps, losses=losses)

    def decoupled(self) -> Self:
        """As the stage `decouple` trains it."""
        return replace(self, batch=self.decouple.batch, steps=self.decouple.steps, ema=self.decouple.ema)
