"""Memory is kept where the C library can be told so, and nothing breaks where not."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from portrayal.train import memory

FAULTS = """
import resource, torch
from portrayal.train.memory import keep_freed_memory
KEEP
for _ in range(15):
    torch.ones(12_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(12_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep: str) -> int:
    """Pages that a process of its own has to be given for ten tensors of 48 MB, one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.replace("KEEP", keep)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_the_same_blocks_are_used_again() -> None:
    assert faults("assert keep_freed_memory()") < 1000 < faults("")


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert memory.keep_freed_memory() is False
