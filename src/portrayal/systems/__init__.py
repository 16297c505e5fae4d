"""The systems that animate portraits: the only registry. Adding one is an import and an entry here."""

from __future__ import annotations

from torch import nn

import portrayal.systems.meshwarp as meshwarp
from portrayal.errors import InputError
from portrayal.types import System, as_system

SYSTEMS: dict[str, System] = {
    "meshwarp": as_system(meshwarp),
}

BEST = "meshwarp"
"""What `auto` stands for: of the systems that work with what is in the package, the one that scores best in
docs/results.md."""


def load(name: str = "auto", *, device: str = "cpu") -> tuple[System, nn.Module]:
    """A system and its model as the package ships it, ready to animate.

    Args:
        name: a key of `SYSTEMS`, or auto.
        device: a torch device.

    Raises:
        InputError: no such system.
    """
    chosen = BEST if name == "auto" else name
    if chosen not in SYSTEMS:
        raise InputError(f"there is no system {name!r}; choose auto or one of: {', '.join(SYSTEMS)}.")
    system = SYSTEMS[chosen]
    return system, system.build(system.Config.compact()).to(device).eval()
