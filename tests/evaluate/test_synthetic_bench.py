"""The bench on heads with known ground truth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from portrayal.evaluate.bench import evaluate
from portrayal.evaluate.options import EvaluateOptions
from portrayal.evaluate.synthetic_bench import COLUMNS, TRUTH


@pytest.mark.slow
def test_meshwarp_turns_the_head_as_asked_and_copying_does_not(tmp_path: Path) -> None:
    done = evaluate(["copy-source", "meshwarp"], "synthetic", tmp_path, EvaluateOptions(clips=2, device="cpu"))
    assert (done.cases, done.failed) == (2, 0)
    values = json.loads((tmp_path / "report.json").read_text())["synthetic"]

    def mean(region: str, system: str, column: str) -> float:
        rows = values[region][system]
        return float(sum(row[column] for row in rows) / len(rows))

    assert mean("all", "copy-source", "yaw") > 10
    for system in ("meshwarp", TRUTH):
        assert mean("all", system, "yaw") < 3
    # Driving the expression alone leaves the pose, and driving the pose alone changes less than driving everything.
    assert mean("expression", "meshwarp", "yaw") < 2
    assert mean("expression", "meshwarp", "psnr") > mean("all", "meshwarp", "psnr")
    text = (tmp_path / "report.md").read_text()
    assert all(title in text for title in COLUMNS.values())
    assert f"| pose: {TRUTH} |" in text
