"""A model of twice the picture size, begun with what a smaller one has learned (after Karras et al. 2018).

The paper has one size. Where little can be seen in the time there is, small pictures teach more in an hour; a generator
that draws them already needs to learn only what finer pixels add.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from portrayal.nn.e4e import E4eEncoder
from portrayal.nn.stylegan2 import Generator
from portrayal.nn.stylegan2_discriminator import Discriminator

Tensors = Mapping[str, Tensor]


def grown(network: nn.Module, tensors: Tensors) -> Tensors:
    """A file's tensors for `network`, where they are those of half its picture size; else as they are.

    Of a generator the new block is the network's own and adds nothing to the picture, so that it draws the smaller one
    enlarged. Of a discriminator the new block comes first and is the network's own, too. Of an encoder with the same
    `side` the heads of the new layers say what the last one says.
    """
    if isinstance(network, Generator):
        return _generator(network, tensors)
    if isinstance(network, Discriminator):
        return _discriminator(network, tensors)
    return _encoder(network, tensors) if isinstance(network, E4eEncoder) else tensors


def _generator(network: Generator, tensors: Tensors) -> Tensors:
    last = len(network.synthesis.blocks) - 1
    if _count(tensors, "synthesis.blocks") != last:
        return tensors
    block = network.synthesis.blocks[last].state_dict()
    silent = {name: torch.zeros_like(block[name]) for name in ("to_rgb.conv.weight", "to_rgb.bias")}
    return dict(tensors) | {f"synthesis.blocks.{last}.{name}": value for name, value in (block | silent).items()}


def _discriminator(network: Discriminator, tensors: Tensors) -> Tensors:
    if _count(tensors, "blocks") != len(network.blocks) - 1:
        return tensors
    moved = {}
    for name, value in tensors.items():
        first, _, rest = name.partition(".")
        if first == "blocks":
            at, _, rest = rest.partition(".")
            name = f"blocks.{int(at) + 1}.{rest}"
        moved[name] = value
    return moved | {
        name: value for name, value in network.state_dict().items() if name.startswith(("from_rgb.", "blocks.0."))
    }


def _encoder(network: E4eEncoder, tensors: Tensors) -> Tensors:
    last = network.layers - 3
    if _count(tensors, "styles") != last + 1:
        return tensors
    old = f"styles.{last}."
    heads = {name.removeprefix(old): value for name, value in tensors.items() if name.startswith(old)}
    new = {f"styles.{last + i}.{name}": value for i in (1, 2) for name, value in heads.items()}
    return dict(tensors) | new


def _count(tensors: Tensors, prefix: str) -> int:
    """How many numbered parts of that name there are."""
    start = prefix.count(".") + 1
    return len({name.split(".")[start] for name in tensors if name.startswith(f"{prefix}.")})
