"""What takes part in an evaluation, and the one function from (system, source picture, driving motion) to frames.

It is the pipeline of `portrayal animate` - plan, retarget, render, paste - for chosen frames, so that what is measured
is what a user gets. Two things differ, and the reports say so: the motion is not smoothed, and of the two meanings of
`--motion` absolute is the usual one here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import torch
from torch import nn

from portrayal.driving import Performance
from portrayal.encoding import encode_params
from portrayal.errors import InputError
from portrayal.evaluate.metrics_cost import Cost
from portrayal.media.image import UInt8
from portrayal.options import AnimateOptions
from portrayal.rendering import Plan, Renderer, plan_animation
from portrayal.source import Sitter, portrait_of
from portrayal.systems import SYSTEMS, load
from portrayal.types import FaceParams, System
from portrayal.weights.model import weights_of

COPY_SOURCE = "copy-source"
"""The trivial baseline: the source picture in every frame. What a system must beat."""


@dataclass(frozen=True)
class Entrant:
    """One system that is measured, with its model; `copy-source` has neither."""

    name: str
    system: System | None = None
    model: nn.Module | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def capabilities(self) -> frozenset[str]:
        """What it says it can do; of the baseline nothing."""
        return frozenset() if self.system is None else self.system.CAPABILITIES


def load_entrants(names: Sequence[str], *, device: torch.device, weights: Sequence[Path] = ()) -> list[Entrant]:
    """Systems by name, each once, in the order given.

    Args:
        weights: files to take instead of those in the package, at most one per system.

    Raises:
        InputError: no such system, or none at all; no weights for one, or weights for none of them.
    """
    known = (COPY_SOURCE, *SYSTEMS)
    if not names:
        raise InputError(f"say which systems to measure, for example {' '.join(known)}.")
    files = {weights_of(path): path for path in weights}
    for made_for, path in files.items():
        if made_for not in names:
            raise InputError(f"{path}: it holds weights of {made_for!r}, which is not measured; name that system too.")
    if len(files) < len(weights):
        raise InputError("--weights names two files of the same system; measure them one after the other.")
    entrants = []
    for name in dict.fromkeys(names):
        if name == COPY_SOURCE:
            entrants.append(Entrant(name))
        elif name in SYSTEMS:
            entrants.append(Entrant(name, *load(name, device=str(device), weights=files.get(name)), device))
        else:
            raise InputError(f"there is no system {name!r} to measure; there are: {', '.join(known)}.")
    return entrants


@torch.no_grad()
def reenact(
    entrant: Entrant,
    sitter: Sitter,
    performance: Performance,
    frames: Sequence[int],
    *,
    options: AnimateOptions,
    cost: Cost,
) -> list[UInt8]:
    """Frames of the source picture driven by frames of a motion.

    The whole motion is planned, as retargeting looks at all of it; only `frames` are rendered.

    Args:
        sitter: a source picture.
        frames: numbers of driving frames, rising.
        options: motion, smoothing, reference frame.
        cost: gets the time and memory of encoding the source, rendering and pasting.

    Returns:
        (h, w, 3) for each of `frames`, the size of the source picture.
    """
    if entrant.system is None or entrant.model is None:
        return _still(sitter, len(frames), cost)
    plan = plan_animation(entrant.system, entrant.model, sitter, performance, options).pick(list(frames))
    return _render(entrant.system, entrant.model, entrant.device, plan, cost)


@torch.no_grad()
def render_motion(
    entrant: Entrant, sitter: Sitter, params: FaceParams, times: Sequence[Fraction], *, cost: Cost
) -> list[UInt8]:
    """Frames of the source picture with its face moved to `params`: a motion that is on its identity already.

    Args:
        params: t frames, in pixels of the crop of the sitter's only face.

    Returns:
        (h, w, 3) for each, the size of the source picture.
    """
    if entrant.system is None or entrant.model is None:
        return _still(sitter, len(params), cost)
    driving = encode_params(entrant.system, entrant.model, portrait_of(sitter), params, tuple(times))
    plan = Plan(sitter, list(range(len(params))), [0] * len(params), (driving,), 0, (0.0, 0.0), ())
    return _render(entrant.system, entrant.model, entrant.device, plan, cost)


def _render(system: System, model: nn.Module, device: torch.device, plan: Plan, cost: Cost) -> list[UInt8]:
    with cost.measure(len(plan.frames), device):
        return list(Renderer(system, model, plan.sitter, None).pictures(plan))


def _still(sitter: Sitter, count: int, cost: Cost) -> list[UInt8]:
    """What `copy-source` does."""
    with cost.measure(count):
        return list(sitter.pictures([0] * count))
