"""Which frames, which cases, and a whole evaluation on clips that the test made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from portrayal.cli import main
from portrayal.errors import InputError
from portrayal.evaluate.bench import evaluate
from portrayal.evaluate.entrants import load_entrants
from portrayal.evaluate.options import EvaluateOptions
from portrayal.evaluate.protocols import choose_frames, motion_of, stretches
from portrayal.face.tracker import pick_device
from portrayal.media.image import read_image

OPTIONS = EvaluateOptions(frames=3, device="cpu", protocol=("same", "cross", "novel-view"))


def test_frames_come_in_neighbouring_threes_over_the_clip() -> None:
    assert choose_frames(range(100), 6) == [0, 1, 2, 97, 98, 99]
    assert choose_frames(range(100), 0) == list(range(100))
    assert choose_frames([3, 4], 6) == [3, 4]
    assert stretches([0, 1, 2, 97, 98, 99]) == [[0, 1, 2], [3, 4, 5]]


def test_motion_is_what_each_protocol_needs() -> None:
    assert [motion_of(p, EvaluateOptions()) for p in ("same", "cross")] == ["relative", "absolute"]
    assert motion_of("same", EvaluateOptions(motion="absolute")) == "absolute"


def test_unknown_systems_are_named() -> None:
    with pytest.raises(InputError, match="no system 'nobody'"):
        load_entrants(["nobody"], device=pick_device("cpu"))
    with pytest.raises(InputError, match="say which systems"):
        load_entrants([], device=pick_device("cpu"))


@pytest.fixture(scope="module")
def evaluated(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(data, output) of one evaluation."""
    output = tmp_path_factory.mktemp("evaluation")
    evaluate(["copy-source", "meshwarp"], clip_folder, output, OPTIONS)
    return clip_folder, output


@pytest.mark.slow
def test_meshwarp_follows_and_copying_does_not(evaluated: tuple[Path, Path]) -> None:
    report = json.loads((evaluated[1] / "report.json").read_text())
    same = report["protocols"]["same"]["summary"]
    assert same["meshwarp"]["akd@target"]["mean"] < 0.7 * same["copy-source"]["akd@target"]["mean"]
    assert same["meshwarp"]["psnr@target"]["mean"] > same["copy-source"]["psnr@target"]["mean"]
    assert report["protocols"]["cross"]["motion"] == "absolute"


@pytest.mark.slow
def test_copy_source_is_the_source(evaluated: tuple[Path, Path]) -> None:
    folder = evaluated[1] / "cases" / "same" / "anna_talk" / "copy-source"
    frames = [read_image(p) for p in sorted(folder.glob("*.png"))]
    assert len(frames) == 3
    assert all(np.array_equal(frame, frames[0]) for frame in frames)


@pytest.mark.slow
def test_a_clip_without_a_face_is_listed_and_does_not_end_it(evaluated: tuple[Path, Path]) -> None:
    report = json.loads((evaluated[1] / "report.json").read_text())
    same = report["protocols"]["same"]
    assert same["in_the_tables"] == ["anna_talk", "bert_talk"]
    assert [f["case"] for f in same["failures"]] == ["carl_talk"]
    assert "no face was found" in same["failures"][0]["reason"]
    text = (evaluated[1] / "report.md").read_text()
    assert "carl_talk: " in text
    assert "(published: Table 1, VoxCeleb)" in text
    assert "novel_view, and so left out: copy-source, meshwarp" in text


@pytest.mark.slow
def test_second_run_reads_what_is_there_and_gives_the_same(
    evaluated: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, output = evaluated
    before = (output / "report.json").read_text(), (output / "report.md").read_text()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr("portrayal.evaluate.run.reenact", refuse)
    evaluate(["copy-source", "meshwarp"], data, output, OPTIONS)
    assert ((output / "report.json").read_text(), (output / "report.md").read_text()) == before


@pytest.mark.slow
def test_an_interrupted_evaluation_continues(evaluated: tuple[Path, Path], tmp_path: Path) -> None:
    data, output = evaluated
    stopped, same = RuntimeError("stop"), replace(OPTIONS, protocol=("same",))

    def interrupt(stage: str, done: int, total: int | None) -> None:
        if stage == "same identity" and done == 1:
            raise stopped

    with pytest.raises(RuntimeError, match="stop"):
        evaluate(["copy-source", "meshwarp"], data, tmp_path, same, progress=interrupt)
    evaluate(["copy-source", "meshwarp"], data, tmp_path, same)
    first, second = (json.loads((p / "report.json").read_text()) for p in (output, tmp_path))
    assert first["protocols"]["same"]["per_case"] == second["protocols"]["same"]["per_case"]


@pytest.mark.slow
def test_grid_shows_source_driving_and_each_system(evaluated: tuple[Path, Path]) -> None:
    assert read_image(evaluated[1] / "same.jpg").shape[1] == 4 * 256 + 5 * 6


def test_command_line_says_what_is_missing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["evaluate", "meshwarp"]) == 2
    assert "--data" in capsys.readouterr().err
    assert main(["evaluate", "meshwarp", "--data", str(tmp_path / "none")]) == 2
    assert "is no folder" in capsys.readouterr().err
    assert main(["ablate", "meshwarp", "--data", str(tmp_path)]) == 2
    assert "meshwarp has no ablation table" in capsys.readouterr().err
    assert main(["ablate", "mmfa", "--data", str(tmp_path), "--rows", "everything"]) == 2
    assert "there is no row 'everything'; choose of: " in capsys.readouterr().err


@pytest.mark.slow
def test_compare_writes_all_systems_side_by_side(
    small_portrait: Path, sentence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from portrayal.evaluate.compare import HEADER, compare
    from portrayal.evaluate.options import CompareOptions
    from portrayal.media.video import probe
    from portrayal.systems import SYSTEMS, ready

    for system in SYSTEMS.values():  # tuning has tests of its own
        if "tuning" in system.CAPABILITIES:
            monkeypatch.setattr(system, "tune_source", lambda model, source, **more: source)
    done = compare(small_portrait, sentence, tmp_path / "both.mp4", CompareOptions(frames=6, device="cpu"))
    info = probe(tmp_path / "both.mp4")
    assert info.frames == 6
    assert (info.width, info.height) == ((2 + len(ready())) * 256, 256 + HEADER)
    assert all(f"| {name} |" in done.text for name in ready())
    assert "Peak memory" in (tmp_path / "both.md").read_text()


@pytest.mark.slow
def test_interpolation_moves_what_it_should(clip_folder: Path, tmp_path: Path) -> None:
    options = EvaluateOptions(clips=1, device="cpu", protocol=("expression-interpolation",))
    evaluate(["copy-source", "meshwarp"], clip_folder, tmp_path, options)
    values = json.loads((tmp_path / "report.json").read_text())["probes"]["expression-interpolation"]["values"]
    copied, warped = values["copy-source"]["anna_talk"], values["meshwarp"]["anna_talk"]
    assert copied == pytest.approx({"pixels:moved": 0, "landmarks:moved": 0}, abs=1e-6)  # float32 rounding
    assert warped["pixels:moved"] > 0.003
    assert 1 <= warped["pixels:largest step"] < 3
    assert warped["pixels:detour"] >= 1
    assert read_image(tmp_path / "expression-interpolation.jpg").shape[1] == 9 * 256 + 10 * 6
