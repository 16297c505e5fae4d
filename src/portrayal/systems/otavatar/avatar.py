"""A portrait as an avatar: its identity code and the generator tuned to it, and the file that keeps and shares them.

An avatar file (`*.avatar.safetensors`) holds the portrait too, so that it can be animated without its photo. It fits
the weights that it was made with and no others. Nothing in it is executed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from portrayal.errors import InputError, MissingFileError
from portrayal.media.image import to_uint8
from portrayal.motion.template import content_hash
from portrayal.nn.kept import KeptFile
from portrayal.options import check_avatar_name
from portrayal.systems.otavatar.inversion import BIAS_SIZE
from portrayal.systems.otavatar.model import Otavatar
from portrayal.types import FaceParams, Portrait, Source
from portrayal.weights.model import mark_of
from portrayal.weights.registry import in_halves

FORMAT, VERSION = "portrayal-avatar", "1"
LARGEST_SIDE = 4096
"""Pixels of a portrait; crops have 1024 at most."""
LONGEST_REMARK = 500
"""Letters."""


@dataclass(frozen=True)
class OtavatarSource(Source):
    """A portrait as the generator knows it."""

    identity: Tensor
    """(1, layers, w_dim) w_id."""
    bias: Tensor
    """(1, 18) of the intrinsics, `camera.bias_intrinsics`."""
    tuned: dict[str, Tensor]
    """The generator's `drawing_parameters` after it was tuned to the portrait; empty: the model's own."""
    remark: str = ""
    """What is to be said about the inversion."""
    gone: float = 0.0
    """How far the identity has gone over to another one, from 0 to 1, and"""
    drawn: Tensor | None = None
    """where it has, (1, 3, s, s) in [0, 1] what was drawn of the portrait before; with `AvatarConfig.detail`."""

    def notes(self) -> tuple[str, ...]:
        return (self.remark,) if self.remark else ()

    def as_avatar(self, other: Self) -> Self:
        """This portrait with what was found for another one, which shows the same person."""
        return replace(self, identity=other.identity, bias=other.bias, tuned=other.tuned, remark=other.remark)


def save_avatar(path: Path | str, model: Otavatar, source: OtavatarSource) -> None:
    """Write an avatar; the file appears only when it is complete.

    Args:
        path: ends in `.avatar.safetensors`. model: with which `source` was made.

    Raises:
        InputError: another ending, or a place that cannot be written. PortrayalError: the disk is full or fails.
    """
    path = Path(path)
    check_avatar_name(path)
    tensors = {"identity": source.identity, "bias": source.bias, "picture": _pixels(source.portrait.image)}
    tensors |= {f"params.{f.name}": getattr(source.portrait.params, f.name) for f in fields(FaceParams)}
    if source.drawn is not None:
        tensors["drawn"] = _pixels(source.drawn)
    tensors |= {f"tuned.{name}": value for name, value in in_halves(source.tuned).items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    about = {"format": FORMAT, "version": VERSION, "system": "otavatar", "weights": mark_of(model)}
    about |= {"remark": source.remark, "gone": f"{source.gone:.4f}"}
    KeptFile(path.parent, path.name).write(tensors, about | {"sha256": content_hash(tensors, about)})


def load_avatar(path: Path | str, model: Otavatar) -> OtavatarSource:
    """Read an avatar, ready for `render`, on the model's device.

    Raises:
        MissingFileError: no such file.
        InputError: it is damaged, changed, no avatar, one of another version or system, or made with other weights.
    """
    path = Path(path)
    about, tensors = _read(path)
    if about.get("system") != "otavatar":
        raise InputError(f"{path} is an avatar of {about.get('system')!r}, not of otavatar; choose that system")
    if about.get("weights") != mark_of(model):
        raise InputError(f"{path} was made with other weights of otavatar; make it again from its photo with these")
    remark = about.get("remark", "")
    if len(remark) > LONGEST_REMARK or not remark.isprintable():
        raise _changed(path, "its remark is no sentence")
    _check(path, tensors, _wanted(model, tensors), size=model.generator.config.size)
    gone = about.get("gone", "0.0000")  # which earlier files do not say
    if not re.fullmatch(r"0\.\d{4}|1\.0000", gone):
        raise _changed(path, "how far it is another person's is no share")
    device = model.generator.w_mean.device
    image, params = (
        tensors["picture"][None].float() / 255,
        {f.name: tensors[f"params.{f.name}"] for f in fields(FaceParams)},
    )
    tuned = {
        name.removeprefix("tuned."): x.float().to(device) for name, x in tensors.items() if name.startswith("tuned.")
    }
    return OtavatarSource(
        Portrait(image.to(device), FaceParams(**params).map(lambda x: x.float().to(device))),
        tensors["identity"].float().to(device),
        tensors["bias"].float().to(device),
        tuned,
        remark,
        gone=float(gone),
        drawn=tensors["drawn"][None].float().to(device) / 255 if "drawn" in tensors else None,
    )


def _pixels(image: Tensor) -> Tensor:
    """(1, 3, h, w) in [0, 1] to (3, h, w) uint8."""
    return torch.from_numpy(to_uint8(image)[0]).permute(2, 0, 1)


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file whose version and hash are right."""
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; give an avatar that portrayal has written")
    try:
        with safe_open(path, "pt") as file:
            about = dict(file.metadata() or {})
            if about.get("format") != FORMAT:
                raise InputError(f"{path} is not an avatar; animate its photo to make one")
            if about.get("version") != VERSION:
                version = about.get("version")
                raise InputError(
                    f"{path} has avatar version {version}, this program reads {VERSION}; make it again from its photo"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or not an avatar ({error}); copy or make it again") from error
    if about.get("sha256") != content_hash(tensors, about):
        raise _changed(path, "its hash does not match")
    return about, tensors


def _wanted(model: Otavatar, tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """What must be in a file, by name: everything but the picture, whose side is free."""
    generator = model.generator
    wanted: dict[str, tuple[int, ...]] = {"identity": (1, generator.layers, generator.config.w_dim)}
    wanted["bias"] = (1, BIAS_SIZE)
    if any(name.startswith("tuned.") for name in tensors):
        wanted |= {f"tuned.{name}": tuple(x.shape) for name, x in generator.drawing_parameters().items()}
    return wanted


def _check(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], *, size: int) -> None:
    """Refuse what `save_avatar` never writes; `FaceParams` checks the shapes of its own fields. `size`: of drawings."""
    picture = tensors.get("picture", torch.empty(0))
    if picture.dtype != torch.uint8 or picture.ndim != 3 or not 1 <= picture.shape[-1] <= LARGEST_SIDE:
        raise _changed(path, "it has no portrait")
    if tuple(picture.shape) != (3, picture.shape[-1], picture.shape[-1]):
        raise _changed(path, "its portrait is no square")
    drawn = tensors.get("drawn")
    if drawn is not None and (drawn.dtype != torch.uint8 or tuple(drawn.shape) != (3, size, size)):
        raise _changed(path, "what was drawn of its portrait is no picture")
    known = {*wanted, *(f"params.{f.name}" for f in fields(FaceParams))}
    for name in known:
        found = tensors.get(name)
        if found is None or not found.is_floating_point() or not bool(found.isfinite().all()):
            raise _changed(path, f"{name} is missing or holds values that are not finite numbers")
        if name in wanted and tuple(found.shape) != wanted[name]:
            raise _changed(path, f"{name} is {tuple(found.shape)}, not {wanted[name]}")
    if unknown := sorted(tensors.keys() - known - {"picture", "drawn"}):
        raise _changed(path, f"{unknown[0]!r} is not known here")
    try:
        count = len(FaceParams(**{f.name: tensors[f"params.{f.name}"] for f in fields(FaceParams)}))
    except ValueError as error:
        raise _changed(path, str(error)) from error
    if count != 1:
        raise _changed(path, f"it shows {count} faces instead of one")


def _changed(path: Path, why: str) -> InputError:
    return InputError(f"{path} was damaged or changed after it was written ({why}); copy or make it again")
