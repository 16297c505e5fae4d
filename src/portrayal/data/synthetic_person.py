"""Who a synthetic head is: everything about a person that neither motion nor light nor camera changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portrayal.data.synthetic_hair import STYLES, Style
from portrayal.types import IDENTITY_SIZE

Colour = tuple[float, float, float]
"""sRGB in [0, 1]."""

SKIN_TONES: tuple[Colour, ...] = (
    (0.96, 0.85, 0.78), (0.92, 0.76, 0.66), (0.86, 0.67, 0.54), (0.77, 0.57, 0.43), (0.62, 0.43, 0.31),
    (0.46, 0.31, 0.23), (0.34, 0.23, 0.18),
)  # fmt: skip
"""From light to dark; people lie between neighbours."""
HAIR_COLOURS: dict[str, Colour] = {
    "black": (0.09, 0.08, 0.08), "dark brown": (0.20, 0.14, 0.11), "brown": (0.34, 0.24, 0.17),
    "auburn": (0.43, 0.22, 0.13), "dark blond": (0.55, 0.43, 0.29), "blond": (0.78, 0.66, 0.45),
    "grey": (0.58, 0.57, 0.56), "white": (0.85, 0.84, 0.82),
}  # fmt: skip
IRIS_COLOURS: dict[str, Colour] = {
    "dark brown": (0.22, 0.13, 0.08), "brown": (0.38, 0.23, 0.12), "hazel": (0.47, 0.38, 0.18),
    "green": (0.36, 0.46, 0.28), "blue": (0.32, 0.47, 0.62), "grey": (0.46, 0.52, 0.56),
}  # fmt: skip
MENS_STYLES = frozenset({"bald", "receding", "buzz"})
WOMENS_STYLES = frozenset({"bob", "bob-fringe", "long", "bun"})
LARGEST_COEFFICIENT = 2.3
"""Identity coefficients are drawn from the unit Gaussian of the training faces, cut off here."""


@dataclass(frozen=True, eq=False)
class Person:
    """One synthetic person; `draw` makes everyone there is. Colours are sRGB in [0, 1]."""

    seed: int
    identity: Tensor
    """(80,) coefficients a of the linear face model."""
    skin: Colour
    blush: float
    """Redness of cheeks, nose and ears."""
    freckles: int
    lips: Colour
    hair: Colour
    style: Style
    brows: Colour
    brow_thickness: float
    brow_strength: float
    """Coverage of the skin by the brows, 0 to 1."""
    lashes: float
    """Strength of the lash line, 0 to 1."""
    beard: float
    """Coverage of the skin by beard, 0 for none."""
    moustache: float
    iris: Colour
    iris_rings: float
    """Contrast of the iris's outer ring."""
    sclera: Colour
    teeth: Colour
    shine: float
    """Strength of highlights on the skin."""
    skull: tuple[float, float, float]
    """Factors of the skull's width, height and length."""
    neck: float
    """Factor of the neck's width."""
    clothes: Colour
    stripes: Colour
    neckline: float
    """How deep the clothes are cut in front, head units."""

    @property
    def name(self) -> str:
        return f"synthetic{self.seed:06d}"

    @classmethod
    def draw(cls, seed: int) -> Person:
        """The person with this number: the same on every call."""
        random = generator(seed, "person")
        man = random.random() < 0.5
        tone = random.uniform(0, len(SKIN_TONES) - 1)
        skin = _jitter(_between(SKIN_TONES, tone), 0.02, random)
        hair = HAIR_COLOURS[str(random.choice(list(HAIR_COLOURS), p=_hair_odds(tone)))]
        hair = _jitter(hair, 0.03, random)
        styles = [s for s in STYLES if s not in (WOMENS_STYLES if man else MENS_STYLES)]
        bearded = man and random.random() < 0.4
        lipstick = 0.0 if man else random.choice([0.0, 0.25, 0.7])
        bare = _mix(skin, (0.62, 0.27, 0.27), 0.42)
        iris = IRIS_COLOURS[str(random.choice(list(IRIS_COLOURS), p=_iris_odds(tone)))]
        return cls(
            seed=seed,
            identity=draw_coefficients(random, IDENTITY_SIZE, LARGEST_COEFFICIENT),
            skin=skin,
            blush=float(random.uniform(0.02, 0.14)),
            freckles=int(random.choice([0, 0, 0, 3, 8, 60])) if tone < 3 else int(random.choice([0, 0, 3])),
            lips=_jitter(_mix(bare, (0.70, 0.10, 0.20), lipstick), 0.02, random),
            hair=hair,
            style=STYLES[str(random.choice(styles))],
            brows=_mix(hair, (0.12, 0.09, 0.08), 0.45),
            brow_thickness=float(random.uniform(0.8, 1.35) if man else random.uniform(0.55, 1.0)),
            brow_strength=float(random.uniform(0.7, 1.0)),
            lashes=float(random.uniform(0.35, 0.6) if man else random.uniform(0.55, 1.0)),
            beard=float(random.choice([0.2, 0.35, 0.75, 0.9])) if bearded else 0.0,
            moustache=float(random.choice([0.0, 0.3, 0.85])) if bearded else 0.0,
            iris=_jitter(iris, 0.03, random),
            iris_rings=float(random.uniform(0.2, 0.6)),
            sclera=_jitter((0.90, 0.88, 0.86), 0.02, random),
            teeth=_jitter((0.93, 0.90, 0.83), 0.025, random),
            shine=float(random.uniform(0.04, 0.22)),
            skull=(
                float(random.normal(1, 0.025)),
                float(random.normal(1, 0.03)),
                float(random.normal(1, 0.03)),
            ),
            neck=float(random.normal(1.06 if man else 0.94, 0.04)),
            clothes=_any_colour(random),
            stripes=_any_colour(random),
            neckline=float(random.uniform(0.0, 0.45)),
        )


STREAMS = ("person", "texture", "scene", "background", "motion", "hair")
"""What random numbers are drawn for."""


def generator(seed: int, stream: str) -> np.random.Generator:
    """A source of random numbers of its own for each seed and purpose."""
    return np.random.default_rng([STREAMS.index(stream), seed])


def draw_coefficients(random: np.random.Generator, count: int, largest: float, scale: float = 1.0) -> Tensor:
    """(count,) of a Gaussian with this deviation, none beyond `largest` deviations."""
    drawn = random.standard_normal(count).clip(-largest, largest) * scale
    return torch.from_numpy(drawn.astype(np.float32))


def _between(table: tuple[Colour, ...], place: float) -> Colour:
    low = min(int(place), len(table) - 2)
    return _mix(table[low], table[low + 1], place - low)


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    return _colour(np.array(a) * (1 - share) + np.array(b) * share)


def _jitter(colour: Colour, deviation: float, random: np.random.Generator) -> Colour:
    brightness = random.normal(0, deviation)
    tint = random.normal(0, deviation / 2, 3) * (0.1 + np.mean(colour))  # dark colours stay neutral
    return _colour(np.array(colour) * (1 + brightness) + tint)


def _any_colour(random: np.random.Generator) -> Colour:
    grey = random.uniform(0.06, 0.85)
    return _colour(grey + random.uniform(-0.25, 0.25, 3) * random.random())


def _colour(values: NDArray[np.float64]) -> Colour:
    r, g, b = (float(x) for x in np.clip(values, 0.03, 0.98))
    return r, g, b


def _hair_odds(tone: float) -> NDArray[np.float64]:
    light = np.array([0.10, 0.18, 0.18, 0.10, 0.14, 0.14, 0.10, 0.06])
    dark = np.array([0.62, 0.16, 0.05, 0.02, 0.01, 0.01, 0.10, 0.03])
    share = np.clip((tone - 1.5) / 2.5, 0, 1)
    return np.asarray(light * (1 - share) + dark * share)


def _iris_odds(tone: float) -> NDArray[np.float64]:
    light = np.array([0.10, 0.20, 0.15, 0.15, 0.28, 0.12])
    dark = np.array([0.60, 0.32, 0.05, 0.01, 0.01, 0.01])
    share = np.clip((tone - 1.5) / 2.5, 0, 1)
    return np.asarray(light * (1 - share) + dark * share)
