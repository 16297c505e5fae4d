"""The system's networks by name, and the weights files of its stages.

A stage's file holds its networks one after the other, each name after that of its network: `generator.`,
`discriminator.`, `encoder.` and so on. Later stages start from the files of earlier ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from safetensors.torch import load_file
from torch import Tensor, nn

from portrayal.errors import InputError
from portrayal.nn.e4e import E4eEncoder
from portrayal.nn.stylegan2 import Generator
from portrayal.nn.stylegan2_discriminator import Discriminator
from portrayal.systems.directions.config import Config, StageName
from portrayal.systems.directions.growing import grown
from portrayal.systems.directions.matrix import DirectionMatrix
from portrayal.train.initial import fill_network, save_network
from portrayal.train.state import TrainState


def build_generator(config: Config) -> Generator:
    g = config.generator
    return Generator(
        config.image_size,
        z_dim=g.w_dim,
        w_dim=g.w_dim,
        mapping_layers=g.mapping_layers,
        channel_base=g.channel_base,
        channel_max=g.channel_max,
        channel_min=g.channel_min,
        mapping_rate=g.mapping_rate,
    )


def build_discriminator(config: Config) -> Discriminator:
    g = config.generator
    return Discriminator(
        config.image_size, channel_base=g.channel_base, channel_max=g.channel_max, channel_min=g.channel_min
    )


def build_encoder(config: Config) -> E4eEncoder:
    trunk = tuple(zip(config.encoder.channels, config.encoder.units, strict=True))
    side = config.encoder.side or config.image_size
    return E4eEncoder(side, w_dim=config.generator.w_dim, layers=config.layers, trunk=trunk)


def build_matrix(config: Config) -> DirectionMatrix:
    d = config.directions
    return DirectionMatrix(
        d.attributes,
        w_dim=config.generator.w_dim,
        layers=d.layers,
        deviation=d.deviation,
        bias=d.convention == "released",
    )


def encoder_of(networks: nn.ModuleDict) -> E4eEncoder:
    return cast(E4eEncoder, networks["encoder"])


def offset_norms(w_plus: Tensor, layers: int) -> Tensor:
    """() L_d-reg, the sum of |Delta_i| over the open layers, a mean over the batch (e4e, section 4.1)."""
    if layers == 1:
        return w_plus.new_zeros(())
    return (w_plus[:, 1:layers] - w_plus[:, :1]).norm(dim=2).sum(1).mean()


def require_generator(generator: Generator, stage: StageName) -> None:
    """
    Raises:
        InputError: it has never learned anything.
    """
    if not bool(generator.mapping.w_mean.any()):
        raise InputError(f"stage {stage} needs a trained generator: give its weights file with --init")


def generator_of(networks: nn.ModuleDict) -> Generator:
    return cast(Generator, networks["generator"])


def save_parts(
    path: Path, state: TrainState, names: Sequence[str], metadata: dict[str, str], *, stage: StageName
) -> None:
    """The averaged networks `names`."""
    parts = nn.ModuleDict({name: state.averaged[name] for name in names})
    save_network(path, parts, metadata, system="directions", stage=stage)


def load_parts(path: Path, state: TrainState, *, needed: Sequence[str], optional: Sequence[str] = ()) -> set[str]:
    """Start networks from a weights file, of this picture size or of half of it (`growing`).

    Args:
        needed: networks that the file must hold. optional: those that start anew where it does not.

    Returns:
        The names of those that were loaded.

    Raises:
        InputError: a needed network is missing, or one of another preset; names the first tensor that does not fit.
    """
    tensors, loaded = load_file(path), set()
    for part in (*needed, *optional):
        own: Mapping[str, Tensor] = {
            name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")
        }
        if not own and part in optional:
            continue
        if not own:
            raise InputError(f"{path} holds no {part}; give the weights file of a stage that has trained one")
        networks = [modules[part] for modules in (state.networks, state.averaged)]
        own = grown(networks[0], own)
        fill_network(networks, own, path=path, preset=f"the {part} of this preset of directions")
        loaded.add(part)
    return loaded
