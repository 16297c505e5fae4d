"""The whole of it learns: networks, losses and loop reproduce one clip that they see again and again."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "mmfa_overfit.py"


@pytest.mark.slow
def test_tiny_learns_one_clip_by_heart(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("mmfa_overfit", SCRIPT)
    benchmark = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, benchmark)  # its dataclasses look themselves up there
    spec.loader.exec_module(benchmark)
    outcome = benchmark.overfit(tmp_path, steps=benchmark.STEPS // 3)  # it goes on to 30 dB
    assert outcome.copied < 25  # the head turns: doing nothing is no answer
    assert outcome.learned >= outcome.copied + 3
