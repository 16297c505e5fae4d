"""Official checkpoints of others as weights files of Portrayal. Nothing in them is executed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from portrayal.errors import InputError
from portrayal.weights.convert.directions import convert_directions
from portrayal.weights.convert.e4e import convert_e4e
from portrayal.weights.convert.eg3d import convert_eg3d
from portrayal.weights.convert.hopenet import convert_hopenet
from portrayal.weights.convert.mmfa import convert_face_vid2vid
from portrayal.weights.convert.otavatar import convert_otavatar

Converter = Callable[[Sequence[Path], Path], None]
"""Writes (checkpoint's files, weights file)."""


def of_one_file(convert: Callable[[Path, Path], None]) -> Converter:
    """The converter of a kind of checkpoint that is one file."""

    def convert_one(files: Sequence[Path], output: Path) -> None:
        if len(files) != 1:
            raise InputError(f"a checkpoint of this kind is one file, got {len(files)}; convert one at a time.")
        convert(files[0], output)

    return convert_one


CONVERTERS: dict[str, Converter] = {
    "directions": convert_directions,
    "e4e": of_one_file(convert_e4e),
    "eg3d": of_one_file(convert_eg3d),
    "face-vid2vid": of_one_file(convert_face_vid2vid),
    "hopenet": of_one_file(convert_hopenet),
    "otavatar": of_one_file(convert_otavatar),
}
"""By kind of checkpoint."""


def convert_weights(kind: str, paths: Path | Sequence[Path], output: Path) -> Path:
    """Convert one checkpoint.

    Args:
        kind: a key of `CONVERTERS`.
        paths: its file, or its files.
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
    CONVERTERS[kind]([paths] if isinstance(paths, Path) else paths, output)
    return output
