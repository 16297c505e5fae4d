"""Official checkpoints of others as weights files of Portrayal. Nothing in them is executed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from portrayal.errors import InputError
from portrayal.weights.convert.directions import convert_directions
from portrayal.weights.convert.e4e import convert_e4e
from portrayal.weights.convert.hopenet import convert_hopenet
from portrayal.weights.convert.mmfa import convert_face_vid2vid
from portrayal.weights.convert.otavatar import convert_otavatar

CONVERTERS: dict[str, Callable[[Path, Path], None]] = {
    "e4e": convert_e4e,
    "face-vid2vid": convert_face_vid2vid,
    "hopenet": convert_hopenet,
    "otavatar": convert_otavatar,
}
"""Kind of checkpoint -> what writes (checkpoint, weights file)."""
SEVERAL: dict[str, Callable[[Sequence[Path], Path], None]] = {"directions": convert_directions}
"""The same of kinds whose parts are in several files."""


def convert_weights(kind: str, paths: Path | Sequence[Path], output: Path) -> Path:
    """Convert one checkpoint.

    Args:
        kind: a key of `CONVERTERS` or `SEVERAL`.
        paths: its file, or its files.
        output: the weights file to write, which must end in .safetensors.

    Returns:
        `output`.

    Raises:
        InputError: no such kind, another ending, or a file that is no checkpoint of this kind.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    if kind not in CONVERTERS | SEVERAL:
        known = ", ".join(sorted([*CONVERTERS, *SEVERAL]))
        raise InputError(f"there is no converter for {kind!r}; choose one of: {known}.")
    if kind in CONVERTERS and len(files) != 1:
        raise InputError(f"weights convert {kind} takes one checkpoint, got {len(files)}.")
    if output.suffix != ".safetensors":
        raise InputError(f"{output}: the result is a safetensors file; give -o a name that ends in .safetensors.")
    if not output.parent.is_dir():
        raise InputError(f"the folder {output.parent} does not exist; make it, or choose another with -o.")
    if kind in SEVERAL:
        SEVERAL[kind](files, output)
    else:
        CONVERTERS[kind](files[0], output)
    return output
