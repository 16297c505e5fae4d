"""Where bfloat16 is quick, and where it has too few digits: at 256 pixels its last one is half a pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16", "bf16")
"""What `torch.cpu.get_capabilities` calls the processor's own multiplication of bfloat16, on x86 and on ARM."""


@cache
def multiplies_bfloat16(device_type: str) -> bool:
    """Whether this machine's device multiplies bfloat16 itself. Processors that do not are several times slower with it
    than with float32."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type != "cpu":
        return False
    known: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch has no such function
    return any(bool(known.get(unit)) for unit in BFLOAT16_UNITS)


def quick_precision(tensor: Tensor) -> torch.autocast:
    """bfloat16 on a device that is made for it, for networks that lose nothing by it that can be seen; else float32."""
    device = tensor.device.type
    return torch.autocast(device, torch.bfloat16, enabled=multiplies_bfloat16(device))


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
