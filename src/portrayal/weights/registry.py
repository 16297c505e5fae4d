"""The weights that come with the package, and those that are downloaded when a user asks for them."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, get_type_hints

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from portrayal.errors import InputError, MissingFileError, PortrayalError
from portrayal.weights.download import Progress, download, file_sha256
from portrayal.weights.remote import BY_HAND, REMOTE, RemoteWeights

C = TypeVar("C")


def weights_folder() -> Path:
    """Where downloaded weights lie: PORTRAYAL_WEIGHTS, else portrayal in the user's cache folder."""
    chosen = os.environ.get("PORTRAYAL_WEIGHTS")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "portrayal"


def weights_path(name: str) -> Path:
    """Where downloaded weights lie or would lie.

    Raises:
        InputError: no such name.
    """
    return weights_folder() / f"{name}{PurePosixPath(_remote(name).url).suffix}"


def find_weights(name: str) -> Path:
    """Weights that were downloaded before.

    Raises:
        InputError: no such name, or they are not here.
    """
    path, size = weights_path(name), _remote(name).size_bytes
    if not path.is_file():
        raise MissingFileError(f"{path} is missing; run: portrayal weights get {name}")
    if path.stat().st_size != size:
        raise InputError(
            f"{path} is damaged ({path.stat().st_size} bytes, not {size}); run: portrayal weights get {name}"
        )
    return path


def get_weights(name: str, *, offline: bool = False, progress: Progress | None = None) -> Path:
    """Weights from the weights folder, downloaded and checked if they are not there yet.

    A broken download continues where it stopped when this is called again.

    Args:
        offline: use only what is there.
        progress: called with (stage, bytes done, bytes in all).

    Raises:
        InputError: no such name, it is one of `BY_HAND`, the folder cannot be written, or the file is absent and
            `offline` is set.
        PortrayalError: no connection, it broke off, the disk is full, or what came is not what was expected.
    """
    remote, path = _remote(name), weights_path(name)
    if path.is_file() and file_sha256(path) == remote.sha256:
        return path
    url = mirrored(remote.url)
    if offline:
        state = "damaged" if path.is_file() else "missing"
        raise InputError(f"{path} is {state}; run this without --offline, or put {url} there")
    download(url, path, size_bytes=remote.size_bytes, sha256=remote.sha256, progress=progress)
    return path


def mirrored(url: str) -> str:
    """The address with huggingface.co replaced by the mirror that HF_ENDPOINT names, if any."""
    endpoint, host = os.environ.get("HF_ENDPOINT"), "https://huggingface.co/"
    return f"{endpoint.rstrip('/')}/{url.removeprefix(host)}" if endpoint and url.startswith(host) else url


def list_weights() -> list[str]:
    """One line about each entry of `REMOTE` and `BY_HAND`: name, what it is, megabytes, licence, where it is."""
    lines = []
    for name, remote in REMOTE.items():
        here = f"in {weights_path(name)}" if weights_path(name).is_file() else "not downloaded"
        lines.append(f"{name}: {remote.what}; {remote.size_bytes / 1e6:.1f} MB, {remote.licence}, {here}")
    for name, there in BY_HAND.items():
        lines.append(f"{name}: {there.what}; by hand from {there.page} ({there.licence}), then: {there.convert}")
    return lines


def _remote(name: str) -> RemoteWeights:
    if name in BY_HAND:
        there = BY_HAND[name]
        raise InputError(
            f"{name} is fetched by hand, because no hash of it is known: get it from {there.page} "
            f"(licence: {there.licence}), then run: {there.convert}"
        )
    if name not in REMOTE:
        raise InputError(f"there are no weights named {name!r}; there are: {', '.join(sorted(REMOTE))}")
    return REMOTE[name]


def load_embedded(name: str, config_class: type[C]) -> tuple[dict[str, Tensor], C]:
    """Tensors (float32) and configuration of `weights/embedded/<name>.safetensors`.

    Raises:
        PortrayalError: the installation lacks the file.
    """
    resource = files("portrayal.weights") / "embedded" / f"{name}.safetensors"
    if not resource.is_file():
        raise PortrayalError(f"the package's weights file {name}.safetensors is missing; install portrayal again")
    with as_file(resource) as path, safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        config = json.loads(file.metadata()["config"])
    return tensors, config_from_dict(config_class, config)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """A safetensors file, with the permissions of any new file; it appears only when complete.

    Not `safetensors.torch.save_file`, which leaves files that only their owner can read.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        own = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        beside.write_bytes(_in_order(save(own, dict(metadata))))
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def in_halves(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floats as fp16, as weights files hold them."""
    return {name: x.half() if x.is_floating_point() else x for name, x in tensors.items()}


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted; the library writes it in an order that changes from run to run."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def git_commit() -> str:
    """The commit this was built with, or "" outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def config_from_dict(config_class: type[C], values: dict[str, Any]) -> C:
    """A frozen dataclass from the dictionary that `dataclasses.asdict` made of it (nested ones and tuples too)."""
    hints = get_type_hints(config_class)
    changed = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            value = config_from_dict(hints[name], value)
        changed[name] = tuple(value) if isinstance(value, list) else value
    return config_class(**changed)
