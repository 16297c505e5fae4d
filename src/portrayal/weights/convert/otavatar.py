"""Official checkpoints of OTAvatar (theEricMa/OTAvatar) as weights files of `systems.otavatar`.

The layout: a dictionary with the state dicts net_Warp (controller), net_G (EG3D's generator) and their averages
net_Warp_ema and net_G_ema, which are the ones that animate; optimizers, schedulers and counters are not needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from portrayal.errors import InputError
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.train_decouple import networks
from portrayal.train.initial import first_misfit
from portrayal.weights.convert.checkpoint import read_states, save_converted
from portrayal.weights.convert.eg3d import generator_from_eg3d
from portrayal.weights.convert.stylegan2 import Rule, rename

CONTROLLER_PART, GENERATOR_PART = "net_Warp_ema", "net_G_ema"
ORIGIN = "theEricMa/OTAvatar"

CONTROLLER: Sequence[Rule] = (
    (r"^mapping_3DMM\.first\.0\.", "filter.first."),
    (r"^mapping_3DMM\.encoder(\d)\.1\.", r"filter.units.\1."),
    (r"^mapping_Refine\.0\.", "mlp.hidden.0."),
    (r"^mapping_Refine\.10\.", "mlp.last."),
    (r"^direction\.weight$", "book"),
)
REPEATED = tuple(f"mapping_Refine.{i}." for i in (2, 4, 6, 8))
"""The one hidden layer under more names."""


def controller_from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of `Controller` with `mlp` shared and 70 rows.

    Raises:
        ValueError: the repeated layer is not the same everywhere.
    """
    own = {}
    for name, value in state.items():
        if not name.startswith(REPEATED):
            own[rename(name, CONTROLLER)] = value
        elif not value.equal(state[f"mapping_Refine.0.{name.rsplit('.', 1)[1]}"]):
            raise ValueError(f"{name} differs from mapping_Refine.0, whose weights the official code shares")
    return own


def convert_otavatar(path: Path, output: Path) -> None:
    """Write an official checkpoint as a weights file with the configuration `Config.official`.

    Args:
        path: `epoch_..._checkpoint.pt`; nothing in it is executed.
        output: the weights file; it appears only when complete.

    Raises:
        MissingFileError: no such file. InputError: it is not such a checkpoint.
    """
    states = read_states(path, (CONTROLLER_PART, GENERATOR_PART), origin=ORIGIN)
    config = Config.official()
    try:
        tensors = official_tensors(states)
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} is not laid out as a checkpoint of {ORIGIN}: {error}") from error
    with torch.device("meta"):
        model = nn.ModuleDict(networks(config))
    misfit = first_misfit(model, {name: tuple(value.shape) for name, value in tensors.items()})
    if misfit:
        raise InputError(f"{path} is not laid out as a checkpoint of {ORIGIN}: {misfit}")
    save_converted(output, tensors, [path], origin=ORIGIN, system="otavatar", stage="decouple", config=config)


def official_tensors(states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The averaged state dicts under the names of the stage `decouple`'s networks."""
    controller = controller_from_official(states[CONTROLLER_PART])
    generator = generator_from_eg3d(states[GENERATOR_PART])
    return generator | {f"controller.{name}": value for name, value in controller.items()}
