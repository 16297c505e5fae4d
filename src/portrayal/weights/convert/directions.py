"""Official checkpoints of the directions paper (StelaBou/stylegan_directions_face_reenactment) as one weights file.

Three files make a system: the generator (`g_ema`, rosinality's StyleGAN2), the encoder (`e`, e4e) and the matrix
(`A_matrix`). Nothing in them is executed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from portrayal.errors import InputError
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.model import Directions
from portrayal.systems.directions.pose import RELEASED_RANGES
from portrayal.train.initial import first_misfit
from portrayal.weights.convert.checkpoint import read_checkpoint, save_converted
from portrayal.weights.convert.e4e import encoder_from_e4e
from portrayal.weights.convert.stylegan2 import generator_from_rosinality
from portrayal.weights.registry import in_halves

PARTS = {"g_ema": "generator", "e": "encoder", "A_matrix": "matrix"}
"""What is in a file -> which part of the system it is."""


def convert_directions(paths: Sequence[Path], output: Path) -> None:
    """Write generator, encoder and matrix as one file of fp16 that animates, with the configuration `Config.released`.

    Args:
        paths: the three files, in any order.

    Raises:
        MissingFileError: no such file. InputError: a part is missing, given twice, or of another size.
    """
    files: dict[str, tuple[Path, Mapping[str, Any]]] = {}
    for path in paths:
        found = read_checkpoint(path)
        key = next((key for key in PARTS if isinstance(found, Mapping) and key in found), None)
        if key is None:
            raise InputError(f"{path} is no checkpoint of the directions paper; these have {', '.join(PARTS)}")
        if PARTS[key] in files:
            raise InputError(f"{path} and {files[PARTS[key]][0]} both hold a {PARTS[key]}; give one of each part")
        files[PARTS[key]] = path, found
    missing = [part for part in PARTS.values() if part not in files]
    if missing:
        raise InputError(
            f"the {' and the '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; convert directions takes "
            "three files, generator, encoder and A_matrix: portrayal weights convert directions G.pt E.pt A.pt -o OUT"
        )
    config = Config.released()
    with torch.device("meta"):
        expected = Directions(config)
    tensors = _tensors({part: state for part, (_, state) in files.items()}, [path for path, _ in files.values()])
    misfit = first_misfit(expected, {name: tuple(value.shape) for name, value in tensors.items()})
    if misfit:
        part = next((part for part in files if f" {part}." in misfit), "matrix")
        raise InputError(f"{files[part][0]} does not belong to the 256 x 256 VoxCeleb model: {misfit}")
    own = [path for path, _ in files.values()]
    save_converted(output, in_halves(tensors), own, system="directions", config=config)


def _tensors(states: Mapping[str, Mapping[str, Any]], paths: Sequence[Path]) -> dict[str, Tensor]:
    """The state dict of `Directions`."""
    generator = states["generator"]
    try:
        parts = {
            "generator": generator_from_rosinality(generator["g_ema"], w_mean=generator.get("latent_avg")),
            "encoder": encoder_from_e4e(states["encoder"]),
            "matrix": dict(states["matrix"]["A_matrix"]),
        }
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"{', '.join(map(str, paths))}: not laid out as the directions paper's files ({error})"
        ) from error
    tensors = {f"{part}.{name}": value for part, state in parts.items() for name, value in state.items()}
    tensors["poses.ranges"] = torch.tensor(RELEASED_RANGES)
    return tensors | _mean(tensors)


def _mean(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The centre of truncation where the file has none: the released code measures it anew at every start."""
    name = "generator.mapping.w_mean"
    if bool(tensors[name].any()):
        return {}
    with torch.device("meta"):
        mapping = Directions(Config.released()).generator.mapping
    mapping = mapping.to_empty(device="cpu")
    prefix = "generator.mapping."
    try:
        mapping.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    except RuntimeError:
        return {}  # the misfit is reported with the others
    with torch.no_grad():
        return {name: mapping.measure_mean(generator=torch.Generator().manual_seed(0))}
