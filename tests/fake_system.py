"""A system that looks at the driving pictures: the mean colour of each tints the portrait. For tests of the seams."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import torch
from torch import Tensor, nn

from portrayal.motion.options import RetargetOptions
from portrayal.types import Driving, FaceClip, Layers, Portrait, Source
from portrayal.weights.registry import save_tensors

NAME = "tint"


@dataclass(frozen=True)
class Config:
    side: int | None = 32
    channels: int = 3

    @classmethod
    def tiny(cls) -> Self:
        return cls()

    compact = paper = tiny


@dataclass(frozen=True)
class Tint(Driving):
    colour: Tensor
    """(t, 3)"""

    def with_colour(self, colour: Tensor) -> Tint:
        return dataclasses.replace(self, colour=colour)


class Model(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.gain = nn.Parameter(torch.ones(config.channels))
        self.seen: list[tuple[int, ...]] = []


def build(config: Config) -> Model:
    return Model(config)


def encode_source(model: Model, portrait: Portrait) -> Source:
    return Source(portrait)


def driving_pixels(model: Model) -> int | None:
    return model.config.side


def encode_driving(model: Model, clip: FaceClip) -> Tint:
    model.seen.append(tuple(clip.images.shape))
    return Tint(clip.params, clip.times, clip.images.mean((2, 3)) * model.gain)


def retarget_codes(driving: Tint, options: RetargetOptions) -> Tint:
    reference = options.reference or 0
    if options.motion == "absolute":
        return driving
    return dataclasses.replace(driving, colour=options.strength * (driving.colour - driving.colour[[reference]]))


def render(model: Model, source: Source, driving: Tint) -> Iterator[Tensor]:
    for colour in driving.colour:
        yield (source.portrait.image + colour[None, :, None, None]).clamp(0, 1)


def render_layers(model: Model, source: Source, driving: Tint) -> Iterator[Layers]:
    """The head begins in the middle; to the right it gets denser."""
    for picture in render(model, source, driving):
        side = picture.shape[-1]
        yield Layers(picture, torch.linspace(-1, 1, side).clamp_min(0).expand(1, 1, side, side))


def sample_expressions(model: Model, source: Source, count: int, generator: torch.Generator) -> Tint:
    params = source.portrait.params[[0] * count]
    times = tuple(Fraction(i) for i in range(count))
    return Tint(params, times, torch.randn(count, 3, generator=generator) / 5)


def interpolate_expressions(model: Model, source: Source, driving: Tint, shares: Tensor) -> Tint:
    return driving.pick([0] * len(shares)).with_colour(shares[:, None] * (driving.colour - 0.5))


def render_canonical(model: Model, source: Source) -> Tensor:
    return source.portrait.image.mean((2, 3), keepdim=True).expand_as(source.portrait.image)


def system() -> Any:
    """As a module of the kind that `SYSTEMS` holds."""
    module = ModuleType(f"portrayal.systems.{NAME}")
    members = {
        "Config": Config,
        "STAGES": {"main": None},
        "CAPABILITIES": frozenset({"expression", "expression_sampling", "canonical_face", "layers"}),
        "DRIVING": Tint,
        "build": build,
        "encode_source": encode_source,
        "driving_pixels": driving_pixels,
        "encode_driving": encode_driving,
        "retarget_codes": retarget_codes,
        "render": render,
        "render_layers": render_layers,
        "sample_expressions": sample_expressions,
        "interpolate_expressions": interpolate_expressions,
        "render_canonical": render_canonical,
    }
    for name, member in members.items():
        setattr(module, name, member)
    return module


def write_weights(path: Path, *, gain: float = 1.0, built: Config | None = None, **metadata: str) -> Path:
    """A weights file of the fake system, in float16."""
    built = built or Config()
    about = {"system": NAME, "config": json.dumps(dataclasses.asdict(built)), **metadata}
    save_tensors(path, {"gain": torch.full((built.channels,), gain, dtype=torch.float16)}, about)
    return path
