"""How OTAvatar is trained, and how a photo is inverted: configuration of the stages `eg3d` and `decouple`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from portrayal.face.features import SIDE
from portrayal.nn.arcface import STAGES

IdentityName = Literal["arcface", "mobilefacenet", "none"]


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
    steady: int = 0
    """How many of the last latents keep the photo's own motion code in every frame. They hold colours and the
    background, which a small training lets an expression change."""
    detail: bool = False
    """Add the photo's detail to what is drawn (`systems.portrait_detail`)."""
    locality: float = 1.0
    """Weight of the mean squared difference that tuning makes to other faces (PTI, Roich et al. 2021)."""
    radius: float = 0.3125
    """How far from the face's latents those lie, root mean square per number: PTI's 30 over 18 x 512 of them."""
