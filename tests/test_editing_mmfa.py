"""`portrayal edit` with MMFA, both renderers, from pictures to the parts of equation 5 and to the strip of Fig. 8."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import portrayal
import portrayal.systems.mmfa as mmfa
from portrayal.cli import main
from portrayal.editor import Editor, open_other
from portrayal.face.tracker import load_tracker
from portrayal.media.image import read_image
from portrayal.motion.compose import head_shape
from portrayal.options import EditOptions
from portrayal.source import open_source
from portrayal.systems import load
from portrayal.systems.mmfa import animate, light_animate
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.guided import GuidedMmfa
from portrayal.systems.mmfa.model import Mmfa
from portrayal.systems.mmfa.train import save_model

CONFIGS = {"volume": Config.tiny(), "light": Config.tiny().lightened()}
Model = Mmfa | GuidedMmfa


def write_weights(model: Model, path: Path) -> Path:
    about = {"config": json.dumps(dataclasses.asdict(model.config))}
    save_model(path, model, about, stage="vae")
    return path


@pytest.fixture(scope="module", params=CONFIGS)
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = mmfa.build(CONFIGS[request.param])
    assert model.vae is not None
    model.vae.follow(torch.randn(64, 256))
    return write_weights(model, tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def other(small_portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait turned, enlarged, moved and with an open mouth."""
    chosen = EditOptions(device="cpu", system="meshwarp", yaw=12, zoom=1.1, shift=(0.15, 0.1), mouth_open=0.8)
    return portrayal.edit(small_portrait, tmp_path_factory.mktemp("other") / "other.png", chosen).output


@pytest.mark.parametrize("take", ["rotation", "translation", "scale", "expression"])
def test_one_attribute_of_another_picture_changes_its_part_of_equation_5_alone(
    take: str, weights: Path, small_portrait: Path, other: Path
) -> None:
    """Fig. 6 and 11, from the two pictures to R, f, t and f_delta."""
    chosen: Any = {"take": take}
    options = EditOptions(device="cpu", system="mmfa", weights=weights, **chosen)
    system, model = load("mmfa", weights=weights)
    assert isinstance(model, Mmfa | GuidedMmfa)
    tracker = load_tracker("cpu")
    with torch.no_grad():
        sitter = open_source(small_portrait, tracker=tracker, face="largest", size=None, crop=False)
        editor = Editor(system, model, sitter, options, [open_other(other, tracker, sitter)])
        (motion,) = editor.still()
        source = editor.renderer.source_of(0)
        assert isinstance(source, mmfa.MmfaSource | light_animate.LightSource)
        driven: Any = (light_animate if isinstance(model, GuidedMmfa) else animate).driven
        pose, feature = driven(model, source, motion)
        own = source.codes[0] if isinstance(source, mmfa.MmfaSource) else None
        if own is None:
            assert isinstance(model, GuidedMmfa)
            own = model.expression_encoder(head_shape(source.portrait.params))
    parts = {
        "rotation": (pose.rotation, source.pose.rotation),
        "scale": (pose.scale, source.pose.scale),
        "translation": (pose.translation, source.pose.translation),
        "expression": (feature, own),
    }
    for name, (now, before) in parts.items():
        same = torch.allclose(now, before, atol=1e-4, rtol=1e-4)
        assert same == (name != take), f"{name}: {float((now - before).abs().max())}"


def test_the_strip_of_figure_8_by_the_command(
    weights: Path, small_portrait: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = f"edit -s {small_portrait} --interpolate {other} --take expression --system mmfa --weights {weights}"
    assert main([*typed.split(), "--frames", "2", "--steps", "3", "--device", "cpu"]) == 0
    (sheet,) = tmp_path.glob("edits/*--sheet.png")
    assert read_image(sheet).shape[1] > 4 * 256
    for option, name in (("--sample-expression 2 --seed 3", "expressions"), ("--canonical", "canonical")):
        typed = f"edit -s {small_portrait} {option} --system mmfa --weights {weights} --device cpu"
        assert main(typed.split()) == 0
        assert list(tmp_path.glob(f"edits/*{name}.png"))
