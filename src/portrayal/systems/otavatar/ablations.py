"""The rows of the supplement's Table 1: what the controller C is made of.

All rows share one generator and, where there is one, its encoder: those of the weights file that is given, else those
in the package where the preset is theirs, else the stage `eg3d` is trained first, once. Each row then has a stage
`decouple` of its own, whose controller begins anew, so that the file may be of either stage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from portrayal.evaluate.ablation import Ablation
from portrayal.systems.otavatar import train_decouple, train_eg3d
from portrayal.systems.otavatar.config import Config, ControllerConfig
from portrayal.systems.otavatar.model import Otavatar
from portrayal.tracking import Progress
from portrayal.train.options import RunOptions
from portrayal.train.state import TrainState
from portrayal.weights.model import embedded_path


def controlled(**changes: Any) -> Callable[[Config], Config]:
    """A configuration with those fields of `ControllerConfig`.

    Without `AvatarConfig.detail`, which shows the photo however it is drawn.
    """
    return lambda config: replace(
        config,
        controller=replace(config.controller, **changes),
        avatar=replace(config.avatar, detail=False),
    )


def train_row(config: Config, data: Path, folder: Path, progress: Progress, *, init: Path | None = None) -> nn.Module:
    """Train the stage `decouple`; the loop shows its own progress and continues what the folders hold.

    Rows share decoded frames.

    Args:
        init: holds the generator that they share, too.
    """
    from portrayal.train.loop import train

    stage = replace(train_decouple.STAGE, load_weights=load_shared)
    start = init or shared_generator(config, data, folder.parent)
    options = RunOptions(data=data, out=folder, cache=folder.parent / "frames", init=start)
    weights = train(stage, config.decoupled(), options, name="otavatar decouple")
    model = Otavatar(config)
    model.load_state_dict(load_file(weights))
    return model.eval()


def shared_generator(config: Config, data: Path, folder: Path) -> Path:
    """The weights file of a generator that no row has taught."""
    from portrayal.train.loop import train

    shipped = embedded_path("otavatar")
    if shipped is not None and config.generator == Config.compact().generator:
        return shipped
    same = replace(config, controller=ControllerConfig())  # which the stage has no use for
    options = RunOptions(data=data, out=folder / "eg3d", cache=folder / "frames")
    return train(train_eg3d.STAGE, same, options, name="otavatar eg3d")


def load_shared(path: Path, state: TrainState) -> None:
    """All that a weights file holds but a controller, which another row may have taught.

    Raises:
        InputError: the file is of another layout; names the first tensor that does not fit.
    """
    for name in state.networks:
        if name != train_decouple.CONTROLLER:
            train_eg3d.load_network(path, state, name)


ABLATIONS = {
    "w_x in W": Ablation(controlled(motion_space="w"), train_row, shares_start=True),
    "w/o code book": Ablation(controlled(code_book="linear"), train_row, shares_start=True),
    "OTAvatar": Ablation(controlled(), train_row, shares_start=True),
}
