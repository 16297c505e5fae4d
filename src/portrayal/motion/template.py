"""Motion templates: a driving motion as a file, to be used again without its video.

Format (version 1): one safetensors file `*.motion.safetensors`. Tensors: `params.<field>` of `FaceParams`, with the
identity stored once if it is the same in all frames, and `extra.<field>` for what a system's own `Driving` adds. The
metadata says format, version, system, mark of its weights, origin, consent, the mean frame rate and the exact times of
all frames, and holds a SHA-256 over all of that and all tensors. The hash finds damage and careless changes; it is no
signature, since whoever writes a new file can compute it. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from portrayal.errors import InputError, MissingFileError, PortrayalError
from portrayal.types import Driving, FaceParams, own_fields

SUFFIX = ".motion.safetensors"
FORMAT = "portrayal-motion"
VERSION = 1
NOT_STATED = "not stated"
DrivingT = TypeVar("DrivingT", bound=Driving)


@dataclass(frozen=True)
class TemplateInfo:
    """What a template says about itself."""

    system: str
    """Name of the system whose extra tensors it holds; "any" if it holds only `FaceParams`."""
    origin: str
    """Where the motion comes from, in words."""
    consent: str
    """What the person who moves has agreed to, in words."""
    fps: float
    """Mean frame rate; the exact times are in the file."""
    frames: int
    duration: Fraction
    """Seconds from the first to the last frame's time."""


def is_template(path: Path | str) -> bool:
    """Decided by the name: ends in `.motion.safetensors`."""
    return str(path).endswith(SUFFIX)


def save_template(
    path: Path | str, driving: Driving, *, origin: str, consent: str, system: str = "any", weights: str = ""
) -> None:
    """Write a motion; the file appears only when it is complete.

    Args:
        path: ends in `.motion.safetensors`.
        driving: a `Driving` or a system's own subclass whose other fields are tensors with time first.
        origin: where the motion comes from, e.g. the name of the video.
        consent: what the person who moves has agreed to. Empty notes are kept as "not stated".
        system: the system whose `encode_driving` made `driving`. weights: `weights.model.mark_of` its model.

    Raises:
        InputError: wrong ending, or a motion that is not consistent.
        PortrayalError: if the file cannot be written.
    """
    path = Path(path)
    if not is_template(path):
        raise InputError(f"{path}: a motion template must be named *{SUFFIX}")
    tensors = _to_tensors(driving)
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "system": system,
        "weights": weights,
        "origin": origin.strip() or NOT_STATED,
        "consent": consent.strip() or NOT_STATED,
        "fps": repr(_mean_rate(driving.times)),
        "times": json.dumps([str(time) for time in driving.times]),
    }
    _check(path, driving.params, driving.times)
    metadata["sha256"] = content_hash(tensors, metadata)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        try:
            save_file(tensors, beside, metadata)
            os.chmod(beside, 0o644)
            os.replace(beside, path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except (OSError, SafetensorError) as error:
        raise PortrayalError(f"{path} cannot be written: {error}") from error


@overload
def load_template(path: Path | str) -> Driving: ...
@overload
def load_template(path: Path | str, driving_type: type[DrivingT], *, system: str, weights: str = "") -> DrivingT: ...
def load_template(
    path: Path | str, driving_type: type[Any] = Driving, *, system: str = "any", weights: str = ""
) -> Any:
    """Read a motion.

    Args:
        path: a file that `save_template` wrote.
        driving_type: the `Driving` of the system that shall use it. `Driving` itself takes the face parameters of any
            template and leaves the rest.
        system: that system's name, weights: the mark of its model; compared with the file's if `driving_type` adds
            tensors of its own.

    Raises:
        MissingFileError: no such file.
        InputError: another version, a damaged or changed file, not a template at all, or one of another system or
            other weights.
    """
    path = Path(path)
    metadata, tensors = _read(path)
    params, times = _motion(path, metadata, tensors)
    extra = own_fields(driving_type)
    if extra and metadata["system"] != system:
        made_for = metadata["system"]
        raise InputError(f"{path} was made for the system {made_for!r}, not {system!r}; make it again from its video")
    others = {name: tensors.get(f"extra.{name}") for name in extra}
    missing = [name for name, value in others.items() if value is None or len(value) != len(times)]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}, which {system!r} needs; make it again from its video")
    if extra and metadata.get("weights", "") != weights:
        raise InputError(f"{path} was made with other weights of {system}; make it again from its video with these")
    return driving_type(params=params, times=times, **others)


def template_info(path: Path | str) -> TemplateInfo:
    """What the template at `path` says about itself, checked like the rest. Errors as in `load_template`."""
    path = Path(path)
    metadata, tensors = _read(path)
    _, times = _motion(path, metadata, tensors)
    return TemplateInfo(
        system=metadata["system"],
        origin=metadata["origin"],
        consent=metadata["consent"],
        fps=_mean_rate(times),
        frames=len(times),
        duration=times[-1] - times[0],
    )


def _motion(
    path: Path, metadata: dict[str, str], tensors: dict[str, Tensor]
) -> tuple[FaceParams, tuple[Fraction, ...]]:
    """The face parameters and times in a file, checked."""
    try:
        times = tuple(Fraction(text) for text in json.loads(metadata["times"]))
        parts = {f.name: tensors[f"params.{f.name}"] for f in fields(FaceParams)}
        parts["identity"] = parts["identity"].expand(len(times), -1)
        params = FaceParams(**parts)
        for note in ("system", "origin", "consent"):
            metadata[note]
    except (KeyError, ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise InputError(f"{path} is not a complete motion template ({error}); make it again") from error
    _check(path, params, times)
    return params, times


def content_hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over all tensors and all metadata except the hash itself; the order does not matter."""
    digest = hashlib.sha256()
    notes = {key: value for key, value in metadata.items() if key != "sha256"}
    digest.update(json.dumps(notes, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file whose version and hash are right."""
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist")
    try:
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("format") != FORMAT:
                raise InputError(f"{path} is not a motion template; make one with: portrayal template VIDEO")
            if metadata.get("version") != str(VERSION):
                version = metadata.get("version")
                raise InputError(
                    f"{path} has template version {version}, this program reads {VERSION}; make it again from its video"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged or not a motion template ({error}); copy or make it again") from error
    if metadata.get("sha256") != content_hash(tensors, metadata):
        raise InputError(f"{path} was changed after it was written (its hash does not match); copy or make it again")
    return metadata, tensors


def _to_tensors(driving: Driving) -> dict[str, Tensor]:
    """All tensors of a motion by their names in the file."""
    tensors = {f"params.{f.name}": getattr(driving.params, f.name) for f in fields(FaceParams)}
    identity = driving.params.identity
    if len(identity) and torch.equal(identity, identity[:1].expand_as(identity)):
        tensors["params.identity"] = identity[:1]
    for name in own_fields(type(driving)):
        value = getattr(driving, name)
        if not isinstance(value, Tensor) or len(value) != len(driving):
            raise InputError(
                f"{type(driving).__name__}.{name} must be a tensor with {len(driving)} frames first to be saved"
            )
        tensors[f"extra.{name}"] = value
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }


def _check(path: Path, params: FaceParams, times: tuple[Fraction, ...]) -> None:
    """Refuse what no tracker writes: no frames, times that do not increase, numbers that are not finite."""
    if len(times) == 0 or len(times) != len(params):
        raise InputError(
            f"{path}: a motion needs at least one frame and a time for each, got {len(times)} for {len(params)}"
        )
    if any(b <= a for a, b in pairwise(times)):
        raise InputError(f"{path}: the times of the frames must increase")
    for field in fields(params):
        value = getattr(params, field.name)
        if not value.is_floating_point() or not bool(torch.isfinite(value).all()):
            raise InputError(f"{path}: {field.name} holds values that are not finite numbers")


def _mean_rate(times: tuple[Fraction, ...]) -> float:
    """Frames per second; 0 for one frame."""
    return float((len(times) - 1) / (times[-1] - times[0])) if len(times) > 1 and times[-1] > times[0] else 0.0
