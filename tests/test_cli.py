"""The command line: help, exit codes, one sentence per error, Ctrl-C."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import portrayal.animation
from portrayal.cli import COMMANDS, main, parse
from portrayal.errors import InputError, PortrayalError
from portrayal.options import AnimateOptions


def options_of(command: Any) -> AnimateOptions:
    return command.options


def test_without_a_verb_the_verbs_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for verb in COMMANDS:
        assert verb in shown


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_help_has_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"    portrayal {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["animate", "edit", "track", "template", "preflight", "train"])
def test_device_and_debug_everywhere(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    shown = capsys.readouterr().out
    assert "--device" in shown
    assert "--debug" in shown


def test_defaults_are_those_of_the_dataclass() -> None:
    assert options_of(parse(["animate"])) == AnimateOptions()


def test_options_arrive() -> None:
    typed = (
        "animate -s a.jpg -d b.mp4 -o c.mp4 --motion absolute --region lips --face all --smooth 0.5 --strength 2 "
        "--crop --compare --size 300 --missing skip --device cpu --system meshwarp --seed 7 --reference 3"
    )
    command: Any = parse(typed.split())
    assert (command.source, command.driving, command.output) == ("a.jpg", "b.mp4", Path("c.mp4"))
    assert command.options == AnimateOptions(
        motion="absolute",
        region="lips",
        face="all",
        smooth=0.5,
        strength=2.0,
        crop=True,
        compare=True,
        size=300,
        missing="skip",
        device="cpu",
        system="meshwarp",
        seed=7,
        reference=3,
    )


def test_every_option_has_a_line_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["animate", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for field in dataclasses.fields(AnimateOptions):
        assert f"--{field.name.replace('_', '-')}" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["animate", "--face", "0"], "face must be"),
        (["animate", "--size", "3"], "size must be"),
        (["animate", "--strength", "-1"], "strength must"),
        (["animate", "--smooth", "-1"], "smooth must"),
        (["animate", "-d", "0"], "camera"),
        (["animate", "-d", "builtin:dance"], "dance"),
        (["animate", "--system", "warp"], "warp"),
        (["animate", "--device", "tpu9"], "tpu9"),
        (["template", "builtin:nod"], "consent"),
        (["edit"], "nothing is to be changed"),
        (["edit", "--yaw", "400"], "yaw must be from -90 to 90"),
        (["edit", "--smile", "nan"], "smile must be"),
        (["edit", "--zoom", "0"], "zoom must be"),
        (["edit", "--shift", "0", "9"], "shift-y must be"),
        (["edit", "--sweep", "yaw", "--range", "0", "100"], "yaw must be"),
        (["edit", "--yaw", "5", "--range", "0", "10"], "--sweep"),
        (["edit", "--sweep", "yaw", "--steps", "1"], "steps"),
        (["edit", "--sweep", "yaw", "-o", "a.jpg"], "a.jpg"),
        (["edit", "--yaw", "5", "-o", "a.mp4"], "a.mp4"),
        (["edit", "--sweep", "yaw", "--canonical"], "--sweep and --canonical"),
        (["edit", "--motion", "relative"], "--reference"),
        (["edit", "--yaw", "5", "--reference", "a.png"], "--motion relative"),
        (["edit", "--from", "a.png", "--interpolate", "b.png"], "leave --from out"),
        (["edit", "--from", "a.png", "--take", "identity"], "--take identity is the way to another person"),
        (["edit", "--interpolate", "a.png", "--take", "identity"], "meshwarp has no identity interpolation"),
        (["edit", "--yaw", "5", "--amount", "1"], "--along or --interpolate"),
        (["edit", "--interpolate", "a.png", "--amount", "1.5"], "amount must be from 0 to 1"),
        (["edit", "--from", "nowhere.png"], "nowhere.png does not exist"),
        (["edit", "--canonical", "--system", "meshwarp"], "meshwarp has no canonical face"),
        (["edit", "--sample-expression", "3", "--system", "meshwarp"], "meshwarp has no expression sampling"),
        (["edit", "--sample-expression", "99"], "sample-expression must"),
        (["edit", "--yaw", "5", "--face", "7"], "no face number 7"),
        (["edit", "--yaw", "5", "--system", "warp"], "warp"),
        (["edit", "--yaw", "5", "--weights", "nowhere.safetensors"], "nowhere.safetensors"),
        (["train", "face", "nose", "--data", "."], "tracker"),
        (["train", "meshwarp", "main", "--data", "."], "nothing to train"),
        (["data", "face-model", "--data", "nowhere", "-o", "x.safetensors"], "nowhere"),
    ],
)
def test_a_wrong_value_is_one_sentence_and_exit_2(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_an_unknown_option_names_the_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["animate", "--strenght", "2"])
    assert stop.value.code == 2
    assert "--strength" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("me.jpg: no face."), 2),
        (PortrayalError("out.mp4: the disk is full."), 1),
        (RuntimeError("odd"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_exit_codes_and_tracebacks(
    error: BaseException,
    code: int,
    debug: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(portrayal.animation, "animate", fail)
    assert main(["animate", *(["--debug"] if debug else [])]) == code
    said = capsys.readouterr().err
    assert ("Traceback" in said) == debug
    assert said.splitlines()[-1].startswith("portrayal: ")
    assert str(error) in said


def test_whoever_stops_reading_is_not_told_of_a_failure() -> None:
    """As `portrayal animate --help | head` does."""
    command = [
        sys.executable,
        "-c",
        "import sys; from portrayal.cli import main; sys.exit(main(['animate', '--help']))",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert said == b""
    assert process.returncode == 141
