"""Stages by name, and presets changed from the command line."""

import json

import pytest

from portrayal import cli
from portrayal.errors import InputError
from portrayal.face.config import Config as FaceConfig
from portrayal.train.run import override, settled, stage_and_preset
from portrayal.train.schedule import Schedule
from tests.data.made_faces import make_folder
from tests.train.toy import Config


def test_fields_of_a_preset_are_changed():
    changed = override(Config(), ["--config.steps", "7", "--config.loss.l1", "-0.5"])
    assert changed == Config(steps=7, loss=type(Config().loss)(l1=-0.5))
    assert override(Config(), []) == Config()
    face = override(FaceConfig.tiny(), ["--config.landmark-channels", "1", "2", "3", "4"])
    assert face.landmark_channels == (1, 2, 3, 4)
    assert face.crop_size == FaceConfig.tiny().crop_size


def test_a_mistyped_field(capsys):
    with pytest.raises(SystemExit) as stopped:
        override(Config(), ["--config.step", "7"])
    assert stopped.value.code == 2
    assert "--config.steps" in capsys.readouterr().err


def test_a_combination_that_the_configuration_refuses(capsys):
    with pytest.raises(SystemExit) as stopped:
        override(Schedule(), ["--config.kind", "milestones"])
    assert stopped.value.code == 2
    assert "milestones" in capsys.readouterr().err


def test_the_fields_are_listed(capsys):
    with pytest.raises(SystemExit) as stopped:
        override(Config(), ["--config.help"])
    assert stopped.value.code == 0
    assert "--config.loss.adversarial" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ([], 50),
        (["--config.steps", "7"], 7),
        (["--config.decouple.steps", "9"], 9),
        (["--config.steps", "7", "--config.decouple.steps", "9"], 7),
    ],
)
def test_a_field_of_the_stages_own_part_counts(arguments, steps):
    stage, config = stage_and_preset("otavatar", "decouple", "tiny")
    assert settled(stage, config, override(config, arguments)).steps == steps


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("nobody", "main", "tiny"), "no system 'nobody'"),
        (("face", "main", "tiny"), "no stage 'main'; choose one of: tracker"),
        (("meshwarp", "main", "tiny"), "nothing to train"),
        (("face", "tracker", "paper"), "no preset 'paper'"),
    ],
)
def test_unknown_names(names, sentence):
    with pytest.raises(InputError, match=sentence):
        stage_and_preset(*names)


def test_command_line(tmp_path, capsys):
    """Overrides may stand anywhere after the verb; the run folder says what was trained."""
    data = make_folder(tmp_path / "faces")
    words = ["train", "--config.steps", "2", "--config.loss.gaps", "3", "--device", "cpu", "--precision", "32-true"]
    words += [
        "--workers",
        "0",
        "--data",
        str(data),
        "--out",
        str(tmp_path / "run"),
        "--preset",
        "tiny",
        "face",
        "tracker",
    ]
    assert cli.main(words) == 0
    assert f"Weights: {tmp_path / 'run' / 'weights.safetensors'}" in capsys.readouterr().out
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (stored["steps"], stored["loss"]["gaps"], stored["batch"]) == (2, 3.0, 4)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["stage"] == "face tracker"
