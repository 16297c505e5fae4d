"""The systems that animate portraits: the only registry. Adding one is an import and an entry here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from torch import nn

from portrayal.errors import InputError
from portrayal.systems import directions, export3d, meshwarp, mmfa, otavatar
from portrayal.types import System, as_system
from portrayal.weights.model import embedded_file, embedded_model, read_model, weights_of

SYSTEMS: dict[str, System] = {
    "meshwarp": as_system(meshwarp),
    "mmfa": as_system(mmfa),
    "export3d": as_system(export3d),
    "otavatar": as_system(otavatar),
    "directions": as_system(directions),
}

BEST = "export3d"
"""What `auto` stands for: of the systems that work with what is in the package, the one that scores best in
docs/results.md."""


def load(name: str = "auto", *, device: str = "cpu", weights: Path | str | None = None) -> tuple[System, nn.Module]:
    """A system and its model, ready to animate; the same model again where it was loaded before.

    Args:
        name: a key of `SYSTEMS`, or auto: `BEST`, or the system that `weights` are for.
        device: a torch device.
        weights: a weights file that training or conversion wrote, which also holds the configuration; None takes the
            one in the package. Systems without training stages need none.

    Raises:
        InputError: no such system, the package has no weights for it, or `weights` is no weights file for it.
    """
    path = None if weights is None else Path(weights)
    chosen = name if name != "auto" else BEST if path is None else weights_of(path)
    if chosen not in SYSTEMS:
        where = "" if path is None or name != "auto" else f"{path}: "
        raise InputError(f"{where}there is no system {chosen!r}; choose auto or one of: {', '.join(SYSTEMS)}.")
    stamp = path.stat().st_mtime_ns if path is not None and path.is_file() else 0
    return SYSTEMS[chosen], _model(chosen, device, path, stamp)


def ready(weights: Sequence[Path] = ()) -> list[str]:
    """The systems that can be loaded: without weights, with theirs in the package, or with one of these files."""
    given = {weights_of(path) for path in weights}
    return [name for name, s in SYSTEMS.items() if not s.STAGES or embedded_file(name).is_file() or name in given]


def able(capability: str) -> str:
    """Which systems have a capability, as the end of a sentence about one that has not."""
    names = [name for name, system in SYSTEMS.items() if capability in system.CAPABILITIES]
    return f"choose with --system: {', '.join(names)}" if names else "no system of this version has it"


def name_of(system: System) -> str:
    """The name under which `SYSTEMS` has a system."""
    return next(name for name, known in SYSTEMS.items() if known is system)


@lru_cache(maxsize=4)
def _model(name: str, device: str, path: Path | None, stamp: int) -> nn.Module:
    """`stamp` is the date of the file: one that was written anew is read anew."""
    system = SYSTEMS[name]
    if not system.STAGES:
        if path is not None:
            raise InputError(f"{path}: {name} has nothing to train and so no weights; leave --weights out.")
        model = system.build(system.Config.compact())
    elif path is not None:
        model = read_model(path, system, name)
    else:
        model = embedded_model(system, name)
    return model.to(device).eval()
