"""The verb `weights` as the command line parses it; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from portrayal.errors import InputError

Output = Annotated[Path | None, arg(aliases=["-o"], metavar="FILE", help_behavior_hint="")]
Debug = Annotated[bool, arg(help="Show the traceback of an error.", help_behavior_hint="")]


@dataclass
class Weights:
    """List, download or convert weights that the package does not contain; what it needs by itself is in the package.

    For example

        portrayal weights list
        portrayal weights get mediapipe-face-landmarker
        portrayal weights convert face-vid2vid 00000189-checkpoint.pth.tar -o face-vid2vid.safetensors
        portrayal weights convert directions generator.pt encoder.pt A_matrix.pt -o directions.safetensors

    They go to the folder that PORTRAYAL_WEIGHTS names, else to ~/.cache/portrayal, and are checked. A broken download
    continues when the command is given again. HF_ENDPOINT names a mirror of huggingface.co.
    """

    action: Positional[Literal["list", "get", "convert"]]
    """List what there is, get one of it, or convert a checkpoint of somebody else's."""
    name: Annotated[Positional[str | None], arg(metavar="NAME", help_behavior_hint="")] = None
    """Which weights to get, or the kind of the checkpoint: face-vid2vid, directions, e4e, eg3d, otavatar or
    hopenet."""
    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE", help_behavior_hint="")] = ()
    """The checkpoint to convert; directions has three, in any order."""
    output: Output = None
    """The converted weights, .safetensors; without it named as the checkpoint, in the working folder."""
    offline: bool = False
    """Never use the network: only check that they are there."""
    debug: Debug = False

    def run(self) -> None:
        from portrayal.cli import progress_bars
        from portrayal.weights.registry import get_weights, list_weights

        if self.action == "list":
            print("\n".join(list_weights()))
        elif self.action == "convert":
            print(f"Weights: {self._convert()}")
        elif self.name is None:
            raise InputError("weights get needs a name; portrayal weights list shows them")
        else:
            with progress_bars() as progress:
                path = get_weights(self.name, offline=self.offline, progress=progress)
            print(f"Weights: {path}")

    def _convert(self) -> Path:
        from portrayal.weights.convert import convert_weights

        if self.name is None or not self.files:
            raise InputError(
                "weights convert needs a kind and a checkpoint: portrayal weights convert KIND FILE -o OUT"
            )
        name = self.name if len(self.files) > 1 else self.files[0].name.split(".")[0]
        return convert_weights(self.name, self.files, self.output or Path(f"{name}.safetensors"))
