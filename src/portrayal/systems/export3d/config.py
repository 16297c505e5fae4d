"""Configuration of Export3D. The paper's numbers carry their section (S: supplement); the others are our choice.

What the text leaves open (the numbers of Fig. S2 are in the picture only): widths of the expression encoder's hidden
layer, of the convolutions and of the MLPs, how many ViT blocks there are, the width of the Gaussian filter, samples per
ray, betas of Adam, the decay of the weights' average.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Self

from portrayal.train.schedule import Schedule

Objective = Literal["paper", "info-nce"]
Encoding = Literal["pretrained", "end-to-end", "direct"]
PerceptualName = Literal["lpips-vgg", "tracker", "none"]
GROUPS = 8
"""Of the group norms: unlike batch norms they do not depend on what else is in the batch."""


@dataclass(frozen=True)
class ClebsConfig:
    """The expression encoder f_e, the image encoder f_I, and how they are trained (Sec. 3.1)."""

    encoding: Encoding = "pretrained"
    """The rows of Table 3. pretrained: CLeBS; end-to-end: f_e learns with the generator, without contrast (LeBS);
    direct: the generator reads the coefficients of the face model as they are."""
    gaze: bool = False
    """Gaze angles beside the 64 expression coefficients. Beyond the paper, which cannot move the eyes (S 1.7)."""
    hidden: int = 256
    """Neurons between the two fully connected layers."""
    coefficients: int = 10
    """n, basis vectors (4.2)."""
    dimension: int = 256
    """d (4.2)."""
    gain: float = 1.0
    """Factor on beta'. The contrastive loss leaves its length open, and what is trained on data of one kind comes out
    short (0.7 over 256 numbers); the first layer that reads it then learns slowly. Not the paper's."""
    image_size: int = 256
    """Side of the pictures that f_I sees."""
    close: bool = False
    """f_I sees the face alone, cut out by the camera, a little varied, instead of the whole frame. Not the paper's."""
    stem: int = 64
    """Channels of the first convolution (7 x 7, stride 2), before the max-pooling."""
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Channels per stage; every stage but the first halves the resolution. With `blocks`: ResNetSE18 (S 1.2)."""
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks per stage."""
    reduction: int = 16
    """Channels per neuron of the squeeze-and-excitation."""
    negatives: int = 32
    """For each positive, all of the same clip (4.2)."""
    temperature: float = 0.07
    """tau of equation 1 (4.2)."""
    objective: Objective = "paper"
    """paper: the sum of equation 1 leaves the positive out; info-nce: the usual form, which has it."""
    learning_rate: float = 1e-4
    """4.2."""
    batch: int = 8
    """Clips."""
    steps: int = 60_000
    """S 1.4."""

    def __post_init__(self) -> None:
        if self.coefficients > self.dimension:
            raise ValueError(
                f"clebs.coefficients {self.coefficients} orthonormal vectors do not fit into "
                f"clebs.dimension {self.dimension}"
            )
        if len(self.widths) != len(self.blocks):
            raise ValueError(f"clebs.widths {self.widths} and clebs.blocks {self.blocks} must be equally many")
        if self.negatives < 1 or self.temperature <= 0:
            raise ValueError(
                f"clebs.negatives must be at least 1 and clebs.temperature above 0, "
                f"got {self.negatives} and {self.temperature}"
            )


@dataclass(frozen=True)
class GeneratorConfig:
    """G: from the source and beta' to the tri-plane (Sec. 3.2, Fig. 3)."""

    hidden: int = 1024
    """h, channels of a token (S 1.2). The picture's feature before them has h / 4 (Sec. 3.2)."""
    heads: int = 4
    """Of the self-attention (S 1.2)."""
    expansion: int = 4
    """Neurons of the Mix-FFN per channel (as in SegFormer's larger models)."""
    stem: int = 64
    """Channels of the encoder at the picture's own resolution; they double with each halving, up to h / 4."""
    conditional_blocks: int = 5
    """EAdaLN-ViT blocks."""
    blocks: int = 1
    """ViT blocks after the first pixel shuffle."""
    filter_sigma: float = 1.0
    """Of the Gaussian low-pass filter after a pixel shuffle, in pixels."""
    last: int = 128
    """Channels before the tri-plane."""
    plane_channels: int = 32
    """Of each plane (equation 4)."""
    plane_decay: float = 0.998
    """delta of the tri-plane's moving average (S 1.2, equation 2)."""
    lift: bool = False
    """Put the source's pixels onto the xy plane, beside the tokens. Not the paper's."""
    basis: int = 0
    """Planes that are added in proportion to so many linear functions of beta'. Not the paper's."""

    def __post_init__(self) -> None:
        if self.hidden % (4 * self.heads):
            raise ValueError(
                f"generator.hidden {self.hidden} must be a multiple of 4 generator.heads = {4 * self.heads}"
            )
        if self.hidden % (4 * GROUPS) or self.stem % GROUPS or self.last % GROUPS:
            raise ValueError(
                f"a quarter of generator.hidden {self.hidden}, generator.stem {self.stem} and "
                f"generator.last {self.last} must be multiples of {GROUPS}, the groups of the norms"
            )


@dataclass(frozen=True)
class RendererConfig:
    """From the tri-plane to the picture (Sec. 3.3)."""

    neurons: int = 64
    """Of the hidden layer of each MLP."""
    colours: int = 32
    """Channels of the rendered feature; the first three are the raw picture (as in EG3D)."""
    samples: tuple[int, int] = (48, 48)
    """Per ray, in the first and the second pass (EG3D's)."""
    box_size: float = 1.2
    """Side of the tri-plane's cube in world units; at the head a portrait shows about 0.8 to 1.1 of them."""
    upsampling: tuple[int, int] = (128, 64)
    """Channels of the super-resolution at H/2 and H."""
    head_prior: bool = False
    """Begin with a head's rough shape instead of fog. Not the paper's, as the following."""
    split: bool = False
    """A background of its own, made from the source, which does not turn with the head (the paper's limit, S 1.7)."""
    detail: bool = False
    """The super-resolution also reads the source's pixels, fetched along the rendered surface."""
    flow: bool = False
    """The surface is first given the source's expression by the face model (`flow`); needs `detail`."""
    body: bool = False
    """Neck and shoulders, which belong to the background, go where the neck goes; needs `split` and `detail`."""
    corrected: bool = False
    """Views are corrected by how the portrait's own one comes out (`own`), at inference; needs `detail`."""
    openings: bool = False
    """Lay the inside of the mouth, and of eyes that the portrait has shut, into what is drawn (`systems.openings`), at
    inference."""
    background: int = 16
    """Channels of the background's network at its finest."""

    def __post_init__(self) -> None:
        if self.background % GROUPS:
            raise ValueError(f"renderer.background {self.background} must be a multiple of {GROUPS}")
        if (self.flow or self.body or self.corrected) and not self.detail:
            raise ValueError(
                "renderer.flow and renderer.body move, and renderer.corrected corrects, what renderer.detail fetches; "
                "set it, too"
            )
        if self.body and not self.split:
            raise ValueError("renderer.body moves a part of the background; set renderer.split, too")


@dataclass(frozen=True)
class LossConfig:
    """Weights of equations 11 and 12; the paper gives the four terms of equation 11 the same one."""

    raw_pixel: float = 1.0
    pixel: float = 1.0
    features: float = 0.0
    """Of a further term: L_2 of both pictures around eyes and mouth. Not the paper's."""
    made: float = 0.0
    """Of a further term, with `RendererConfig.detail`: L_2 of the picture before pixels are fetched, as a whole and
    around eyes and mouth. Not the paper's."""
    landmarks: float = 0.0
    """Of a further term, with `RendererConfig.detail`: where a view fetches the source's landmarks. Not the paper's."""
    raw_perceptual: float = 1.0
    perceptual: float = 1.0
    perceptual_network: PerceptualName = "lpips-vgg"
    """lpips-vgg: the paper's; tracker: maps of the embedded tracker, which need no download; none: no such terms."""
    reconstruction: float = 1.0
    """lambda_rec (4.2)."""
    adversarial: float = 0.01
    """lambda_adv (4.2)."""


@dataclass(frozen=True)
class Config:
    """The whole system."""

    image_size: int = 256
    """H = W (4.1)."""
    clebs: ClebsConfig = field(default_factory=ClebsConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    renderer: RendererConfig = field(default_factory=RendererConfig)
    discriminator: tuple[int, int] = (16384, 512)
    """Channels times resolution, and the most channels, of StyleGAN2-ADA's discriminator (its setting for 256)."""
    loss: LossConfig = field(default_factory=LossConfig)
    mirror: bool = False
    """Mirror every second sample; the paper speaks of none."""
    colour: float = 0.0
    """Largest change of colours, alike in source and driving frame (`data.PairOptions.colour`)."""
    photo_share: float = 0.0
    """Share of the pairs that are a photo and its face in another pose, by meshwarp (`data.pseudo_pairs`)."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of Adam."""
    learning_rate: float = 1e-4
    """Of generator and renderer (4.2)."""
    discriminator_learning_rate: float = 1e-5
    """4.2."""
    schedule: Schedule = field(default_factory=lambda: Schedule(kind="constant", warmup_steps=0))
    """Of all learning rates; the paper names one number for each and no change of it."""
    batch: int = 8
    """Pairs (4.2)."""
    steps: int = 300_000
    """Of the stage reconstruction (4.2)."""
    adversarial_steps: int = 10_000
    """Of the stage adversarial (4.2)."""
    ema: float = 0.999
    """Decay of the weights' average, which ships."""

    def __post_init__(self) -> None:
        if self.image_size < 32 or self.image_size & (self.image_size - 1):
            raise ValueError(f"image_size must be a power of two of at least 32, got {self.image_size}")

    @classmethod
    def tiny(cls) -> Self:
        """The same classes, for tests on a CPU."""
        return cls(
            image_size=64,
            clebs=ClebsConfig(
                hidden=32,
                dimension=64,
                image_size=64,
                stem=8,
                widths=(8, 16),
                blocks=(1, 1),
                reduction=4,
                negatives=5,
                learning_rate=2e-3,
                batch=2,
                steps=20,
            ),
            generator=GeneratorConfig(
                hidden=64,
                expansion=2,
                stem=8,
                conditional_blocks=2,
                last=16,
                plane_channels=8,
                plane_decay=0.9,
                lift=True,
                basis=2,
            ),
            renderer=RendererConfig(
                neurons=16,
                colours=8,
                samples=(8, 8),
                upsampling=(16, 8),
                head_prior=True,
                split=True,
                detail=True,
                flow=True,
                body=True,
                corrected=True,
                openings=True,
                background=8,
            ),
            discriminator=(512, 32),
            loss=LossConfig(features=1.0, made=1.0, landmarks=1.0, perceptual_network="none"),
            learning_rate=2e-3,
            discriminator_learning_rate=1e-3,
            batch=2,
            steps=20,
            adversarial_steps=20,
            ema=0.9,
        )

    @classmethod
    def compact(cls) -> Self:
        """128 x 128 for two CPU cores, 13.4 MB in fp16; f_I, which does not ship, is half as wide."""
        return cls(
            image_size=128,
            clebs=ClebsConfig(
                gain=16.0,
                image_size=64,
                close=True,
                stem=32,
                widths=(32, 64, 128, 256),
                learning_rate=3e-4,
                batch=4,
                steps=1500,
            ),
            generator=GeneratorConfig(
                hidden=256, stem=16, conditional_blocks=4, last=48, plane_channels=16, lift=True, basis=16
            ),
            renderer=RendererConfig(
                neurons=32,
                colours=16,
                samples=(16, 16),
                upsampling=(32, 16),
                head_prior=True,
                split=True,
                detail=True,
                flow=True,
                body=True,
                corrected=True,
                openings=True,
            ),
            discriminator=(4096, 128),
            loss=LossConfig(
                raw_pixel=5.0, pixel=5.0, features=10.0, made=5.0, landmarks=10.0, perceptual_network="tracker"
            ),
            mirror=True,
            colour=0.1,
            photo_share=0.4,
            learning_rate=5e-4,
            discriminator_learning_rate=3e-5,
            schedule=Schedule(),
            steps=3000,
            adversarial_steps=1000,
            ema=0.995,
        )

    @classmethod
    def paper(cls) -> Self:
        """Sec. 3 and 4.2, S 1.2 and 1.4; 256 x 256."""
        return cls()
