"""The rows of Table 3: how the generator is told of an expression. All else is the same, and so are steps and data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from portrayal.evaluate.ablation import Ablation
from portrayal.systems.export3d import train as stages
from portrayal.systems.export3d import train_clebs
from portrayal.systems.export3d.config import Config, Encoding
from portrayal.systems.export3d.model import Export3d
from portrayal.tracking import Progress
from portrayal.train.options import RunOptions


def encoded(encoding: Encoding, *, coefficients: int | None = None) -> Callable[[Config], Config]:
    """A configuration with this encoding and so many vectors of the basis; None keeps them.

    Without `RendererConfig.flow`, which knows the expression however the generator is told of it, and without
    `corrected` and `openings`, which show the portrait however it is drawn.
    """
    return lambda config: replace(
        config,
        clebs=replace(config.clebs, encoding=encoding, coefficients=coefficients or config.clebs.coefficients),
        renderer=replace(config.renderer, flow=False, corrected=False, openings=False),
    )


def train_row(config: Config, data: Path, folder: Path, progress: Progress) -> nn.Module:
    """Train generator and renderer, after CLeBS where the row has it; the loop shows its own progress and continues
    what the folder holds. Rows share decoded frames."""
    from portrayal.train.loop import train

    options = RunOptions(data=data, out=folder / "reconstruction", cache=folder.parent / "frames")
    if config.clebs.encoding == "pretrained":
        before = replace(options, out=folder / "clebs")
        weights = train(train_clebs.STAGE, train_clebs.configure(config), before, name="export3d clebs")
        options = replace(options, init=weights)
    weights = train(stages.RECONSTRUCTION, config, options, name="export3d reconstruction")
    model = Export3d(config)
    model.load_state_dict(load_file(weights))
    return model.eval()


ABLATIONS = {
    "Direct 3DMM": Ablation(encoded("direct"), train_row),
    "E2E LeBS (n = 25)": Ablation(encoded("end-to-end", coefficients=25), train_row),
    "E2E LeBS (n = 10)": Ablation(encoded("end-to-end", coefficients=10), train_row),
    "E2E LeBS (n = 5)": Ablation(encoded("end-to-end", coefficients=5), train_row),
    "Full (CLeBS)": Ablation(encoded("pretrained", coefficients=10), train_row),
}
