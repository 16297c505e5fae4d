"""Configuration of the directions system. The paper's numbers carry their section; where it is silent, those of the
method it takes over are used: StyleGAN2-ADA's for the generator."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Self

from portrayal.nn.arcface import STAGES
from portrayal.systems.directions.pose import RANGE

IdentityName = Literal["arcface", "mobilefacenet"]
PerceptualName = Literal["lpips", "vgg19", "tracker"]
"""tracker: the maps of the embedded landmark network, which need no download."""
StageName = Literal["stylegan", "encoder", "synthetic", "mixed", "paired"]


@dataclass(frozen=True)
class GeneratorConfig:
    """StyleGAN2's generator, and the discriminator of the same widths."""

    w_dim: int = 512
    """Of z and w (Sec. 3.1)."""
    mapping_layers: int = 8
    channel_base: int = 16384
    """Channels x resolution: that of the public 256 x 256 models."""
    channel_max: int = 512
    channel_min: int = 0
    mapping_rate: float = 0.01
    """Multiplier of the mapping network's learning rate (StyleGAN, appendix C)."""


@dataclass(frozen=True)
class EncoderConfig:
    """e4e's encoder: the four stages of its trunk, IR-SE50's."""

    side: int | None = None
    """Of the pictures that it reads, to which larger ones are averaged down; None: that of the generator's."""
    channels: tuple[int, ...] = tuple(channels for channels, _ in STAGES)
    """Multiples of 16; the last is also the width of the pyramid and the style heads."""
    units: tuple[int, ...] = tuple(units for _, units in STAGES)

    def __post_init__(self) -> None:
        if len(self.channels) != 4 or len(self.units) != 4:
            raise ValueError(f"encoder.channels {self.channels} and encoder.units {self.units} must have four numbers")


@dataclass(frozen=True)
class DirectionsConfig:
    """The matrix A (Sec. 3.1, "Implementation details")."""

    layers: int = 8
    """L: how many layers of w+ it shifts, from the first."""
    expressions: int = 12
    """m_e: expression coefficients, the first ones of the face model."""
    scale: float = RANGE
    """a: every element of p is rescaled to [-a, a]."""
    deviation: float = 0.03
    """Of A's initial weights, as in the released code; the paper does not say."""
    convention: Literal["paper", "released"] = "paper"
    """released: A with a bias that reads DECA's coefficients, as in the authors' checkpoints."""
    corrected: bool = False
    """Move an inverted code along A until its picture has the portrait's pose (`animate.corrected`)."""
    detail: bool = False
    """Add the portrait's detail to what is drawn (`systems.portrait_detail`)."""
    truncation: float = 1.0
    """psi, after the shift; the released code truncates inverted codes too."""

    def __post_init__(self) -> None:
        if self.detail and self.convention == "released":
            raise ValueError("directions.detail needs convention paper: where a face is that DECA moves is not known")

    @property
    def attributes(self) -> int:
        """k = 3 + m_e."""
        return 3 + self.expressions


@dataclass(frozen=True)
class GanConfig:
    """Training of the generator (Sec. 3.1 with StyleGAN2 and StyleGAN2-ADA)."""

    beta1: float = 0.0
    """Of Adam (StyleGAN2, appendix B)."""
    r1: float = 1.0
    """gamma of R1; StyleGAN2-ADA at 256 x 256."""
    r1_interval: int = 16
    """Steps from one R1 to the next (StyleGAN2, appendix B, lazy regularisation)."""
    path_length: float = 2.0
    """Weight of the path-length regularisation."""
    path_interval: int = 4
    path_shrink: int = 2
    """The path length is measured on this part of a batch."""
    style_mixing: float = 0.9
    """Share of the pictures that read two w."""
    target: float = 0.6
    """r_t of ADA (Karras et al. 2020 b, section 3)."""
    adjust_interval: int = 4
    """Steps from one change of p to the next."""
    span: int = 500_000
    """Pictures in which p can go from 0 to 1."""
    measured_pictures: int = 2048
    """Pictures of each side in FID and KID during training."""

    def __post_init__(self) -> None:
        for name in ("r1_interval", "path_interval", "path_shrink", "adjust_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"gan.{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class AutoencodingConfig:
    """Training the encoder along with the generator in the stage `stylegan` (AE-StyleGAN, Han et al. 2021).

    The paper has generators that learned from millions of pictures. Where there are a few ten thousand, true pictures
    to copy teach a generator sooner than a discriminator does.
    """

    pixel: float = 0.0
    """Mean absolute difference, pictures in [-1, 1]; 0: StyleGAN2 alone."""
    parts: float = 4.0
    """How much more a pixel of eyes and mouth counts than others."""
    perceptual: float = 1.0
    identity: float = 0.0
    """Of the distance between the embeddings of the copies and of what they copy."""
    delta: float = 0.01
    """Of the norms of the offsets from w."""
    latent: float = 1.0
    """Of the distance between the distributions of the mapping network's w and the encoder's."""
    perceptual_network: PerceptualName = "tracker"
    identity_network: IdentityName = "mobilefacenet"
    encoder_rate: float = 5e-4
    """Learning rate of the encoder."""
    mapping_factor: float = 5.0
    """How many times its usual learning rate the mapping network has, to follow the encoder."""
    alone_steps: int = 0
    """Steps before the discriminator begins."""


@dataclass(frozen=True)
class InversionConfig:
    """Training of the encoder (Sec. 3.2, "Real image inversion"): the weights and the schedule of e4e for faces."""

    pixel: float = 1.0
    """Mean squared difference, pictures in [-1, 1]."""
    perceptual: float = 0.8
    identity: float = 0.5
    delta: float = 2e-4
    """Of the norms of the offsets."""
    adversarial: float = 0.1
    """Of the latent discriminator's verdict."""
    identity_network: IdentityName = "arcface"
    perceptual_network: PerceptualName = "lpips"
    progressive_start: int = 20_000
    """Steps with one w for all layers, and"""
    progressive_every: int = 2_000
    """steps from the opening of one layer's offset to the next; 0: all at once."""
    discriminator_rate: float = 2e-5
    """Learning rate of the latent discriminator."""
    r1: float = 10.0
    """gamma of its R1."""
    r1_interval: int = 16


@dataclass(frozen=True)
class TuningConfig:
    """The optimisation of the generator for one picture at inference (Sec. 3.2; PTI, Roich et al. 2021)."""

    steps: int = 350
    learning_rate: float = 3e-4
    pixel: float = 1.0
    """Mean squared difference, pictures in [-1, 1]."""
    perceptual: float = 1.0
    perceptual_network: PerceptualName = "lpips"
    locality: float = 0.1
    """Of the regularisation that keeps other codes' pictures as they were."""
    radius: float = 0.3125
    """How far from the pivot it looks, root mean square per number: PTI's 30 over 18 x 512 of them."""
    enough: float = 0.06
    """Perceptual distance at which it stops early."""
    save_every_steps: int = 50
    """Steps after which an interrupted tuning can go on."""


@dataclass(frozen=True)
class ReenactmentConfig:
    """Training of A: equations 3, 4 and 7. The paper names no weights; these are ours."""

    reenactment: float = 10.0
    """lambda_r, with the three parts of equation 4:"""
    shape: float = 1.0
    eye: float = 1.0
    mouth: float = 1.0
    identity: float = 1.0
    """lambda_id."""
    perceptual: float = 1.0
    """lambda_per."""
    pixel: float = 1.0
    """lambda_pix, where there is a true picture."""
    identity_network: IdentityName = "arcface"
    perceptual_network: PerceptualName = "vgg19"
    measured_pictures: int = 10_000
    """On which the range of p is measured ("Training details")."""


@dataclass(frozen=True)
class Length:
    """How one stage is trained."""

    batch: int
    steps: int
    learning_rate: float
    ema: float
    """Decay per step of the averaged weights."""


@dataclass(frozen=True)
class Lengths:
    """Of every stage. Only 12, 20,000, 150,000 and 0.0001 are the paper's ("Implementation details")."""

    stylegan: Length = Length(batch=64, steps=25_000, learning_rate=2.5e-3, ema=0.998)
    encoder: Length = Length(batch=8, steps=200_000, learning_rate=1e-4, ema=0.999)
    synthetic: Length = Length(batch=12, steps=20_000, learning_rate=1e-4, ema=0.999)
    mixed: Length = Length(batch=12, steps=20_000, learning_rate=1e-4, ema=0.999)
    paired: Length = Length(batch=12, steps=150_000, learning_rate=1e-4, ema=0.999)


@dataclass(frozen=True)
class Config:
    """The whole system. `batch`, `steps`, `learning_rate` and `ema` are those of the stage that `of_stage` chose."""

    image_size: int = 256
    """Side of the generator's pictures (Sec. 3.1)."""
    alignment: Literal["upright", "ffhq"] = "upright"
    """How faces are framed. ffhq also turns the eyes level, and a generator that has seen only level eyes cannot roll
    the head (Sec. 3.1)."""
    photo_share: float = 0.5
    """Of the training pictures; the others are frames of clips."""
    mirror: bool = True
    """Mirror every second training picture."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    directions: DirectionsConfig = field(default_factory=DirectionsConfig)
    gan: GanConfig = field(default_factory=GanConfig)
    autoencoding: AutoencodingConfig = field(default_factory=AutoencodingConfig)
    inversion: InversionConfig = field(default_factory=InversionConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    reenactment: ReenactmentConfig = field(default_factory=ReenactmentConfig)
    lengths: Lengths = field(default_factory=Lengths)
    batch: int = 12
    steps: int = 20_000
    learning_rate: float = 1e-4
    ema: float = 0.999

    def __post_init__(self) -> None:
        if self.image_size < 32 or self.image_size & (self.image_size - 1):
            raise ValueError(f"image_size must be a power of two of at least 32, got {self.image_size}")
        if self.directions.layers > self.layers:
            raise ValueError(
                f"directions.layers {self.directions.layers} is more than the {self.layers} of a generator of "
                f"image_size {self.image_size}"
            )
        if self.encoder.side is not None and self.image_size % self.encoder.side:
            raise ValueError(f"image_size {self.image_size} is no multiple of encoder.side {self.encoder.side}")
        if not 0 <= self.photo_share <= 1:
            raise ValueError(f"photo_share must be in [0, 1], got {self.photo_share}")

    @property
    def layers(self) -> int:
        """How many w the generator reads."""
        return 2 * (self.image_size.bit_length() - 2)

    @classmethod
    def tiny(cls) -> Self:
        """The same classes, for tests on a CPU in seconds."""
        lengths = {
            name: Length(batch=4, steps=8, learning_rate=2e-3, ema=0.9)
            for name in ("stylegan", "encoder", "synthetic", "mixed", "paired")
        }
        return cls(
            image_size=32,
            generator=GeneratorConfig(w_dim=32, mapping_layers=2, channel_base=512, channel_max=32, mapping_rate=0.1),
            encoder=EncoderConfig(channels=(16, 16, 32, 32), units=(1, 1, 1, 1)),
            gan=GanConfig(r1=0.1, r1_interval=2, path_interval=2, adjust_interval=2, span=100, measured_pictures=8),
            inversion=InversionConfig(
                identity=0,
                perceptual=0,
                progressive_start=0,
                progressive_every=0,
                discriminator_rate=2e-3,
                r1_interval=2,
            ),
            directions=DirectionsConfig(detail=True),
            tuning=TuningConfig(
                steps=12, learning_rate=5e-3, perceptual_network="tracker", enough=0, save_every_steps=4
            ),
            reenactment=ReenactmentConfig(identity=0, perceptual=0, measured_pictures=8),
            lengths=Lengths(**lengths),
        )

    @classmethod
    def compact(cls) -> Self:
        """What the package ships: 128 x 128, grown from 64 x 64 (`growing`), for two processor cores."""
        return cls(
            image_size=128,
            photo_share=0.4,
            generator=GeneratorConfig(
                w_dim=256, mapping_layers=4, channel_base=2048, channel_max=192, channel_min=32, mapping_rate=0.3
            ),
            encoder=EncoderConfig(side=64, channels=(32, 64, 96, 80), units=(2, 2, 4, 2)),
            gan=GanConfig(r1=0.2, path_interval=8, span=200_000, measured_pictures=512),
            autoencoding=AutoencodingConfig(pixel=10.0, perceptual=2.0, identity=1.0, delta=0.02, alone_steps=4_800),
            inversion=InversionConfig(
                identity_network="mobilefacenet",
                perceptual_network="tracker",
                progressive_start=0,  # the encoder has learned along with the generator
                progressive_every=0,
            ),
            directions=DirectionsConfig(deviation=0.003, corrected=True, detail=True),
            tuning=TuningConfig(
                steps=80, learning_rate=3e-3, pixel=10.0, perceptual=0.5, perceptual_network="tracker", enough=0.2
            ),
            reenactment=ReenactmentConfig(
                identity=0.5,
                perceptual=0.3,
                pixel=2.0,
                identity_network="mobilefacenet",
                perceptual_network="tracker",
                measured_pictures=2_000,
            ),
            lengths=Lengths(
                stylegan=Length(batch=16, steps=5_800, learning_rate=2e-3, ema=0.998),
                encoder=Length(batch=8, steps=20_000, learning_rate=3e-4, ema=0.999),
                synthetic=Length(batch=12, steps=400, learning_rate=2e-4, ema=0.998),
                mixed=Length(batch=12, steps=400, learning_rate=2e-4, ema=0.998),
                paired=Length(batch=12, steps=1100, learning_rate=1e-4, ema=0.998),
            ),
        )

    @classmethod
    def paper(cls) -> Self:
        """Sec. 3 and 4: 256 x 256, L = 8, m_e = 12, batch 12, 20,000 and 150,000 steps."""
        return cls()

    @classmethod
    def released(cls) -> Self:
        """The authors' code, where it differs from the paper; for their checkpoints, not for `train`."""
        return cls(alignment="ffhq", directions=DirectionsConfig(convention="released", truncation=0.7))

    def of_stage(self, name: StageName) -> Self:
        """The configuration with batch, steps, learning rate and averaging of a stage."""
        length: Length = getattr(self.lengths, name)
        return replace(self, batch=length.batch, steps=length.steps, learning_rate=length.learning_rate, ema=length.ema)
