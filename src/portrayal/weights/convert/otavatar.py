"""Tensors of OTAvatar's official controller under the names of `systems.otavatar.controller`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from portrayal.weights.convert.stylegan2 import Rule, rename

CONTROLLER: Sequence[Rule] = (
    (r"^mapping_3DMM\.first\.0\.", "filter.first."),
    (r"^mapping_3DMM\.encoder(\d)\.1\.", r"filter.units.\1."),
    (r"^mapping_Refine\.0\.", "mlp.hidden.0."),
    (r"^mapping_Refine\.10\.", "mlp.last."),
    (r"^direction\.weight$", "book"),
)
REPEATED = tuple(f"mapping_Refine.{i}." for i in (2, 4, 6, 8))
"""The one hidden layer under more names."""


def controller_from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of `Controller` with `mlp` shared and 70 rows.

    Raises:
        ValueError: the repeated layer is not the same everywhere.
    """
    own = {}
    for name, value in state.items():
        if not name.startswith(REPEATED):
            own[rename(name, CONTROLLER)] = value
        elif not value.equal(state[f"mapping_Refine.0.{name.rsplit('.', 1)[1]}"]):
            raise ValueError(f"{name} differs from mapping_Refine.0, whose weights the official code shares")
    return own
