"""Networks in the `.pkl` files of StyleGAN2-ADA, StyleGAN3 and EG3D, read without executing anything.

Such a file is a plain pickle of a dictionary, whose `G`, `D` and `G_ema` are torch modules. Most of them are stored as
a call of `torch_utils.persistence._reconstruct_persistent_obj` with a dictionary: class_name, state (the module's
attributes, submodules among them) and module_src, the source of the class, which the official code executes. Here
every name in the file becomes a stand-in that remembers what it was called with, and a name that such files do not
need is refused. A tensor's numbers are a `torch.save` of their own, which torch reads with weights_only.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import reprlib
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import torch
from torch import Tensor

from portrayal.errors import InputError, MissingFileError

DAMAGED = (
    pickle.UnpicklingError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What reading a damaged or hostile file raises; `reason` says it in one line."""

PERSISTED = "torch_utils.persistence._reconstruct_persistent_obj"
TENSOR = "torch._utils._rebuild_tensor_v2"
PARAMETER = "torch._utils._rebuild_parameter"
STORAGE = "torch.storage._load_from_bytes"
BYTES = "_codecs.encode"
"""How protocol 2 stores bytes: as text in latin1."""

DICTIONARIES = frozenset({"collections.OrderedDict", "dnnlib.util.EasyDict"})
KNOWN = frozenset(
    {PERSISTED, TENSOR, PARAMETER, STORAGE, BYTES, "builtins.set", "__builtin__.set", "numpy.dtype", "numpy.ndarray"}
    | {f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")}
)
CLASSES = ("torch.nn.modules.", "training.")
"""Modules whose classes may be named: torch's own layers, and those that the official code does not persist."""

MOST_TUPLES = 50_000
"""In a file, several times what the largest official one has. Tuples nested much deeper crash Python when hashed."""
HEADERS = 5
"""Pickles before the numbers of a storage: a magic number, a version, the system, the storage, its name."""
DEEPEST = 32
"""Levels of submodules."""


class StandIn:
    """Stands for a class or a function: keeps what it is given, and does nothing with it."""

    __slots__ = ("arguments", "state")

    origin = ""
    """The name in the file."""
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any, **_: Any) -> Self:
        made = super().__new__(cls)
        made.arguments, made.state = arguments, None
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Dictionary(dict[Any, Any]):
    """An OrderedDict or EasyDict."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Attributes beside the items mean nothing here."""


class _Reader(pickle.Unpickler):
    """An unpickler that knows no code."""

    def find_class(self, module: str, name: str) -> type:
        origin = f"{module}.{name}"
        if origin in DICTIONARIES:
            return _Dictionary
        if origin not in KNOWN and not module.startswith(CLASSES):
            raise pickle.UnpicklingError(f"it names {reprlib.repr(origin)}, which no network of NVIDIA's needs")
        return type("StandIn", (StandIn,), {"__slots__": (), "origin": origin})


def read_networks(path: Path) -> dict[str, Any]:
    """What a `.pkl` file holds by name: networks, for `stored_module`, and plain data.

    Raises:
        MissingFileError: no such file. InputError: it is damaged, is no such file, or names what it does not need.
    """
    if not path.is_file():
        raise MissingFileError(f"the checkpoint {path} does not exist")
    try:
        with path.open("rb") as file:
            _check_stream(file)
            file.seek(0)
            found = _Reader(file).load()
        if not isinstance(found, dict):
            raise ValueError("it holds no dictionary")
    except DAMAGED as error:
        raise InputError(f"{path} cannot be read as a file of NVIDIA's networks: {reason(error)}") from error
    return found


def reason(error: BaseException) -> str:
    """The first line of what an exception says, shortened."""
    if isinstance(error, KeyError):
        return f"{reprlib.repr(error.args[0])} is missing"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 200 else f"{lines[0][:200]}..."


def _check_stream(file: IO[bytes]) -> None:
    """Refuse what would crash Python or fill the memory, instead of raising an exception, when it is unpickled."""
    tuples = 0
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        tuples += opcode.name.startswith("TUPLE")
        if tuples > MOST_TUPLES:
            raise ValueError(f"it has more than {MOST_TUPLES} tuples")
        if "PUT" in opcode.name and int(argument or 0) > count:
            raise ValueError("it numbers its objects wrongly")


@dataclass(frozen=True)
class StoredModule:
    """A torch module as its file describes it; the code is left out."""

    class_name: str
    attributes: Mapping[str, Any]
    """All of its `__dict__`, with stand-ins where the values are objects."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its keyword arguments, which are stored with persisted classes only."""
        return _mapping(self.attributes, "_init_kwargs")

    def child(self, name: str) -> StoredModule:
        """A submodule.

        Raises:
            ValueError: there is none of this name.
        """
        return stored_module(_mapping(self.attributes, "_modules").get(name), name=name)

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by torch's names, on the CPU.

        Raises:
            ValueError: modules or storages are shared, which the official ones are not, or nested too deeply; or a
                tensor is damaged.
        """
        found: dict[str, Tensor] = {}
        seen: set[int] = set()
        waiting = [("", self)]
        while waiting:
            prefix, module = waiting.pop()
            if prefix.count(".") > DEEPEST:
                raise ValueError(f"its modules are nested deeper than {DEEPEST} levels")
            for kind in ("_parameters", "_buffers"):
                for name, value in _mapping(module.attributes, kind).items():
                    if value is not None:
                        found[f"{prefix}{name}"] = stored_tensor(value, seen)
            for name, value in _mapping(module.attributes, "_modules").items():
                if value is not None:
                    _see(value, seen)
                    waiting.append((f"{prefix}{name}.", stored_module(value, name=name)))
        return found


def stored_module(stored: object, *, name: str) -> StoredModule:
    """A network of `read_networks`, persisted or ordinary.

    Args:
        name: its name, for the message.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(stored, StandIn) or not (stored.origin == PERSISTED or stored.origin.startswith(CLASSES)):
        raise ValueError(f"it has no network or layer {reprlib.repr(name)}")
    if stored.origin != PERSISTED:
        return StoredModule(stored.origin.rpartition(".")[2], _mapping({"state": stored.state}, "state"))
    (about,) = stored.arguments
    return StoredModule(str(about["class_name"]), _mapping(about, "state"))


def stored_tensor(stored: object, seen: set[int] | None = None) -> Tensor:
    """A tensor or parameter.

    Args:
        seen: the storages that other tensors have; this one's is added.

    Raises:
        ValueError: it is none, reaches beyond its storage, or shares it.
    """
    if isinstance(stored, StandIn) and stored.origin == PARAMETER:
        stored = stored.arguments[0]
    if not isinstance(stored, StandIn) or stored.origin != TENSOR:
        raise ValueError("it has something else where a tensor belongs")
    storage, offset, size, stride = stored.arguments[:4]
    if seen is not None:
        _see(storage, seen)
    numbers = _numbers(storage)
    if math.prod(size) > numbers.numel():
        raise ValueError("one of its tensors is larger than what is stored of it")
    return numbers.as_strided(size, stride, offset)


def _see(stored: object, seen: set[int]) -> None:
    if id(stored) in seen:
        raise ValueError("it uses one module or storage twice")
    seen.add(id(stored))


def _numbers(storage: object) -> Tensor:
    """(n,), all that a storage holds."""
    if not isinstance(storage, StandIn) or storage.origin != STORAGE:
        raise ValueError("it has something else where a tensor's numbers belong")
    (content,) = storage.arguments
    if isinstance(content, StandIn) and content.origin == BYTES:
        content = content.arguments[0].encode("latin1")
    stream = io.BytesIO(content)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # torch will drop typed storages one day
        try:
            for _ in range(HEADERS):
                _check_stream(stream)
            stream.seek(0)
            loaded = torch.load(stream, map_location="cpu", weights_only=True)
        except DAMAGED as error:
            raise ValueError("the numbers of one of its tensors are damaged") from error
        if not isinstance(loaded, torch.TypedStorage):
            raise ValueError("it has something else where a tensor's numbers belong")
        return torch.empty(0, dtype=loaded.dtype).set_(loaded.untyped())


def _mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """One of some values, which must be a dictionary, or is empty where it is missing."""
    found = values.get(name, {})
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ValueError(f"its {name} is no dictionary of names")
    return found
