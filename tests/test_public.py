"""The public names, and that importing them costs nothing until they are used."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import portrayal

NAMES = [
    "SYSTEMS",
    "AnimateOptions",
    "Animation",
    "EditOptions",
    "Edited",
    "FaceParams",
    "InputError",
    "PortrayalError",
    "RunOptions",
    "TemplateOptions",
    "Track",
    "TrackOptions",
    "animate",
    "edit",
    "load",
    "preflight",
    "template",
    "track",
]


def test_the_public_names_are_these() -> None:
    assert portrayal.__all__ == NAMES


def test_every_public_name_exists() -> None:
    for name in NAMES:
        assert getattr(portrayal, name) is not None
        assert name in dir(portrayal)


def test_a_wrong_name_is_an_attribute_error() -> None:
    assert not hasattr(portrayal, "animat")


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, portrayal.cli; print('torch' in sys.modules, 'av' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_animating_does_not_wait_for_what_training_and_measuring_need() -> None:
    heavy = ("lightning_fabric", "torchmetrics", "matplotlib")
    code = f"import sys, portrayal.animation; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_constraints_pin_every_dependency_exactly() -> None:
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pinned = dict(line.split("==") for line in (root / "constraints.txt").read_text().split())
    assert {item.split(">=")[0] for item in needed} <= set(pinned)
    assert pinned["torch"] == "2.13.0"
