"""Official checkpoints of others as weights files of Portrayal. Nothing in them is executed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from portrayal.errors import InputError
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


def convert_weights(kind: str, path: Path, output: Path) -> Path:
    """Convert one checkpoint.

    Args:
        kind: a key of `CONVERTERS`.
        output: the weights file to write, which must end in .safetensors.

    Returns:
        `output`.

    Raises:
        InputError: no such kind, another ending, or a file that is no checkpoint of this kind.
    """
    if kind not in CONVERTERS:
        raise InputError(f"there is no converter for {kind!r}; choose one of: {', '.join(CONVERTERS)}.")
    if output.suffix != ".safetensors":
        raise InputError(f"{output}: the result is a safetensors file; give -o a name that ends in .safetensors.")
    if not output.parent.is_dir():
        raise InputError(f"the folder {output.parent} does not exist; make it, or choose another with -o.")
    CONVERTERS[kind](path, output)
    return output
