"""The weights in the package do their job: the face turns and opens its mouth as the numbers say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import portrayal
from portrayal.face.measure import mouth_openness
from portrayal.face.pose import rotation_to_angles
from portrayal.face.tracker import load_tracker
from portrayal.media.image import read_image
from portrayal.nn import precision
from portrayal.options import EditOptions
from portrayal.systems import SYSTEMS
from portrayal.weights.model import embedded_file

TRAINED = [name for name, system in SYSTEMS.items() if system.STAGES and embedded_file(name).is_file()]


def test_every_system_has_weights() -> None:
    assert [name for name, system in SYSTEMS.items() if system.STAGES] == TRAINED


@pytest.mark.parametrize("name", TRAINED)
def test_numbers_reach_the_picture(
    name: str, small_portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "tuning" in SYSTEMS[name].CAPABILITIES:  # which takes half a minute; likeness is not what is looked at
        monkeypatch.setattr(SYSTEMS[name], "tune_source", lambda model, source, **more: source)
    asked = EditOptions(device="cpu", system=name, yaw=12, mouth_open=0.8)
    result = portrayal.edit(small_portrait, tmp_path / "turned.png", asked).output
    tracker = load_tracker("cpu")
    before, after = (tracker.track_picture(read_image(path))[0] for path in (small_portrait, result))
    yaws = [float(torch.rad2deg(rotation_to_angles(face.rotation))[0, 0]) for face in (before, after)]
    assert yaws[1] - yaws[0] == pytest.approx(12, abs=6)
    assert mouth_openness(after.landmarks) > mouth_openness(before.landmarks) + 0.015


@pytest.mark.parametrize("name", ["mmfa", "export3d"])
def test_processors_without_bfloat16_draw_the_same(
    name: str, small_portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = []
    for quick in (True, False):
        monkeypatch.setattr(precision, "multiplies_bfloat16", lambda _, quick=quick: quick)
        asked = EditOptions(device="cpu", system=name, yaw=8, smile=0.5)
        pictures.append(read_image(portrayal.edit(small_portrait, tmp_path / f"{quick}.png", asked).output))
    difference = np.abs(pictures[0].astype(float) - pictures[1].astype(float))
    assert 0 < difference.mean() < 1.5
