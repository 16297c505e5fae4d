"""Positions need more digits than bfloat16 has: at 256 pixels its last one is half a pixel."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """A function of tensors that reckons in float32 under autocast too; half-precision arguments are converted."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next(value.device.type for value in args if isinstance(value, Tensor))
        with torch.autocast(device, enabled=False):
            wide = [_wide(value) for value in args]
            return function(*wide, **{name: _wide(value) for name, value in kwargs.items()})  # type: ignore[arg-type]

    return run


def _wide(value: object) -> object:
    half = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if half and isinstance(value, Tensor) else value
