"""Encoders of omertov/encoder4editing and of the directions paper's repository as weights files of `nn.e4e`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from portrayal.errors import InputError
from portrayal.nn.e4e import PUBLIC_SIDE, E4eEncoder
from portrayal.weights.convert.checkpoint import read_checkpoint, save_converted
from portrayal.weights.registry import in_halves

PREFIX = "encoder."
"""Of the encoder's tensors in encoder4editing's checkpoints, which hold the generator beside them."""


def convert_e4e(path: Path, output: Path) -> None:
    """Write an encoder as fp16.

    Raises:
        MissingFileError: no such file. InputError: it holds no such encoder.
    """
    found = read_checkpoint(path)
    try:
        tensors = encoder_from_e4e(found)
        with torch.device("meta"):
            net = E4eEncoder(PUBLIC_SIDE, layers=_layers(tensors))
        net.load_state_dict(tensors, strict=True, assign=True)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{path} is not laid out as an encoder of encoder4editing: {reason}") from error
    save_converted(output, in_halves(tensors), [path], network="e4e")


def encoder_from_e4e(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict of `nn.e4e.E4eEncoder`.

    Args:
        checkpoint: of the directions repository (`e`, whose output is w+ as it is), or of encoder4editing
            (`state_dict`, and `latent_avg` (512,) or (layers, 512), which is added to the output where the options
            beside it say `start_from_latent_avg`). A mean that is added becomes part of the heads' biases.

    Raises:
        KeyError: it is neither.
    """
    if "e" in checkpoint:
        return _with_counters(checkpoint["e"])
    if "state_dict" not in checkpoint:
        raise KeyError("it has neither e nor state_dict")
    state = {
        name.removeprefix(PREFIX): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(PREFIX) and isinstance(value, Tensor)
    }
    tensors = _with_counters(state)
    if checkpoint.get("opts", {}).get("start_from_latent_avg"):
        layers = _layers(tensors)
        mean = checkpoint["latent_avg"].float().expand(layers, -1)
        for i in range(layers):
            # Head 0 is part of every layer, so that the others need what theirs has more.
            name, added = f"styles.{i}.linear.bias", mean[i] - (mean[0] if i else 0)
            tensors[name] = tensors[name] + added
    return tensors


def _layers(tensors: Mapping[str, Tensor]) -> int:
    return sum(name.startswith("styles.") and name.endswith(".linear.bias") for name in tensors)


def _with_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Batch norm's counters, which old files lack, are zero."""
    means = (name for name in state if name.endswith("running_mean"))
    counters = {
        name.replace("running_mean", "num_batches_tracked"): torch.zeros((), dtype=torch.long) for name in means
    }
    return counters | dict(state)
