"""bfloat16 where it is quick, float32 where digits count."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from portrayal.nn import precision


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_f": True, "amx_bf16": True}, True),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, False),
        ({}, False),
    ],
)
def test_processors_that_multiply_bfloat16(
    capabilities: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert precision.multiplies_bfloat16.__wrapped__("cpu") is expected


def test_an_older_torch_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert precision.multiplies_bfloat16.__wrapped__("cpu") is False


@pytest.mark.parametrize("quick", [True, False])
def test_quick_precision_follows_the_processor(quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda _: quick)
    x = torch.rand(2, 3)
    with precision.quick_precision(x):
        assert (x @ x.T).dtype == (torch.bfloat16 if quick else torch.float32)


def test_in_float32_takes_half_precision_and_gives_float32() -> None:
    @precision.in_float32
    def product(a: Tensor, *, b: Tensor) -> Tensor:
        return a @ b

    a = torch.rand(2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert product(a.bfloat16(), b=a.T.bfloat16()).dtype == torch.float32
