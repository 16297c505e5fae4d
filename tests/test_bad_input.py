"""Bad input: one sentence that names the file, the documented exit code, and nothing half-written."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from portrayal.animation import animate
from portrayal.cli import main
from portrayal.media.video import VideoWriter, probe, read_frames
from portrayal.options import AnimateOptions

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """run(arguments...): the command in an empty folder; (exit code, stdout, stderr)."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def command(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return command


def assert_refused(result: tuple[int, str, str], name: str) -> None:
    """Exit 2, one sentence that names the file, nothing written."""
    code, _, error = result
    assert code == 2
    assert name in error
    assert len(error.strip().splitlines()) == 1
    assert "Traceback" not in error
    assert list(Path().iterdir()) == []


def write_video(path: Path, images: list[np.ndarray[Any, Any]], sound: Path | None = None) -> Path:
    height, width = images[0].shape[:2]
    with VideoWriter(path, width=width, height=height, sound_from=sound) as writer:
        for i, image in enumerate(images):
            writer.write(image, Fraction(i, 25))
    return path


def make_missing(path: Path, talking: Path) -> Path:
    return path


def make_empty(path: Path, talking: Path) -> Path:
    path.write_bytes(b"")
    return path


def make_truncated(path: Path, talking: Path) -> Path:
    content = talking.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return path


def make_text(path: Path, talking: Path) -> Path:
    path.write_text("this is not a video\n" * 50)
    return path


def make_sound_only(path: Path, talking: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    return path


def make_folder(path: Path, talking: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    "make",
    [make_missing, make_empty, make_truncated, make_text, make_sound_only, make_folder],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("option", ["-s", "-d"])
def test_files_that_cannot_be_used(
    make: Callable[[Path, Path], Path], option: str, run: Run, tmp_path: Path, talking: Path
) -> None:
    path = make(tmp_path / "given.mp4", talking)
    assert_refused(run("animate", option, path), "given.mp4")


@pytest.mark.parametrize("verb", ["track", "template"])
def test_other_verbs_refuse_them_too(verb: str, run: Run, tmp_path: Path, talking: Path) -> None:
    path = make_text(tmp_path / "given.mp4", talking)
    assert_refused(run(verb, path, *(["--consent", "mine"] if verb == "template" else [])), "given.mp4")


def test_truncated_picture(run: Run, tmp_path: Path, small_portrait: Path) -> None:
    content = small_portrait.read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    assert_refused(run("animate", "-s", tmp_path / "cut.png"), "cut.png")


def test_no_face_in_the_source(run: Run, tmp_path: Path) -> None:
    grey = np.full((300, 400, 3), 128, np.uint8)
    grey[100:200, 100:300] = (200, 120, 40)
    Image.fromarray(grey).save(tmp_path / "wall.png")
    assert_refused(run("animate", "-s", tmp_path / "wall.png"), "wall.png")


def test_no_human_face_in_the_source(run: Run, data_root: Path) -> None:
    assert_refused(run("animate", "-s", data_root / "raw" / "no_human_face.jpg"), "no_human_face.jpg")


def test_no_face_in_the_driving_video(run: Run, tmp_path: Path) -> None:
    path = write_video(tmp_path / "wall.mp4", [np.full((96, 128, 3), v, np.uint8) for v in (90, 120, 150)])
    assert_refused(run("animate", "-d", path), "wall.mp4")


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory, small_portrait: Path) -> Path:
    """A large face on the right, a smaller one on the left."""
    face = Image.open(small_portrait)
    canvas = Image.new("RGB", (640, 320), (60, 70, 90))
    canvas.paste(face.resize((200, 200)), (20, 90))
    canvas.paste(face.resize((300, 300)), (320, 10))
    path = tmp_path_factory.mktemp("twins") / "twins.png"
    canvas.save(path)
    return path


def moving_sides(path: Path) -> tuple[bool, bool]:
    """Whether the left and the right half of a video move."""
    images = [f.image.astype(int) for f in read_frames(path)]
    change = np.max([np.abs(image - images[0]).max(-1) for image in images], axis=0)
    return bool((change[:, :230] > 40).any()), bool((change[:, 340:] > 40).any())


@pytest.mark.parametrize(
    ("face", "moves"),
    [("largest", (False, True)), ("1", (True, False)), ("2", (False, True)), ("all", (True, True))],
)
def test_several_faces_in_the_source(
    face: str, moves: tuple[bool, bool], twins: Path, sentence: Path, tmp_path: Path
) -> None:
    done = animate(twins, sentence, tmp_path / "out.mp4", AnimateOptions(face=face))
    assert moving_sides(done.output) == moves
    if face == "largest":
        (note,) = done.notes
        assert "2 faces; the largest is used, number 2 from the left" in note
        assert "--face" in note


def test_a_face_number_that_is_not_there(run: Run, twins: Path, sentence: Path) -> None:
    assert_refused(run("animate", "-s", twins, "-d", sentence, "--face", "3"), "twins.png")


def test_crop_of_several_faces(run: Run, twins: Path, sentence: Path) -> None:
    assert_refused(run("animate", "-s", twins, "-d", sentence, "--face", "all", "--crop"), "--crop")


@pytest.fixture(scope="module")
def interrupted_view(tmp_path_factory: pytest.TempPathFactory, talking: Path) -> Path:
    """The talking portrait; frames 8 to 11 show only a wall."""
    images = [f.image for f in read_frames(talking)]
    for i in range(8, 12):
        images[i] = np.full_like(images[i], 128)
    return write_video(tmp_path_factory.mktemp("wall") / "view.mp4", images, talking)


def test_missing_hold(interrupted_view: Path, small_portrait: Path, tmp_path: Path) -> None:
    done = animate(small_portrait, interrupted_view, tmp_path / "out.mp4", AnimateOptions(missing="hold"))
    assert (done.missing, done.frames) == (4, 25)
    assert "4 driving frames show no face: the motion was held there." in done.summary()


def test_missing_skip(interrupted_view: Path, small_portrait: Path, tmp_path: Path) -> None:
    done = animate(small_portrait, interrupted_view, tmp_path / "out.mp4", AnimateOptions(missing="skip"))
    times = [float(f.time) for f in read_frames(done.output)]
    wanted = [i / 25 for i in range(25) if not 8 <= i < 12]
    np.testing.assert_allclose(times, wanted, rtol=0, atol=0.001)
    assert (done.missing, done.frames) == (4, 21)


def test_missing_error(run: Run, interrupted_view: Path, small_portrait: Path) -> None:
    result = run("animate", "-s", small_portrait, "-d", interrupted_view, "--missing", "error")
    assert result[0] == 2
    assert "view: 4 of 25 frames show no face, the first is frame 8 at 0.32 s" in result[2]
    assert not list(Path().rglob("*.*"))


def test_a_face_of_40_pixels(small_portrait: Path, sentence: Path, tmp_path: Path) -> None:
    canvas = Image.new("RGB", (640, 480), (60, 70, 90))
    canvas.paste(Image.open(small_portrait).resize((80, 80), Image.Resampling.LANCZOS), (300, 200))
    canvas.save(tmp_path / "far.png")
    done = animate(tmp_path / "far.png", sentence, tmp_path / "out.mp4")
    assert done.frames == 25


def test_a_face_too_small_is_said(run: Run, tmp_path: Path, small_portrait: Path, sentence: Path) -> None:
    canvas = Image.new("RGB", (200, 160), (60, 70, 90))
    canvas.paste(Image.open(small_portrait).resize((36, 36), Image.Resampling.LANCZOS), (80, 60))
    canvas.save(tmp_path / "dot.png")
    assert_refused(run("animate", "-s", tmp_path / "dot.png", "-d", sentence), "dot.png")


def test_a_video_of_one_frame(talking: Path, small_portrait: Path, tmp_path: Path) -> None:
    image = next(iter(read_frames(talking))).image
    one = write_video(tmp_path / "one.mp4", [image])
    done = animate(small_portrait, one, tmp_path / "out.mp4")
    assert len(list(read_frames(done.output))) == 1
    assert any("one has one frame" in note for note in done.notes)


@pytest.mark.slow
def test_a_picture_of_108_megapixels_in_bounded_memory(
    portrait: np.ndarray[Any, Any], sentence: Path, tmp_path: Path
) -> None:
    picture = Image.new("RGB", (12000, 9000), (60, 70, 90))
    picture.paste(Image.fromarray(portrait).resize((8000, 8000), Image.Resampling.BOX), (2000, 500))
    picture.save(tmp_path / "huge.jpg", quality=80)
    del picture
    code = (
        "import sys; from portrayal.cli import main; code = main(sys.argv[1:]);"
        "print([line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line][0]); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "animate", "-s", "huge.jpg", "-d", str(sentence), "-o", "out.mp4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "reduced from 12000 to 1920" in done.stdout
    assert probe(tmp_path / "out.mp4").width == 1920
    assert int(done.stdout.split()[-1]) < 1200 * 1024


def test_disk_full(tmp_path: Path, small_portrait: Path, talking: Path) -> None:
    """A limit on file sizes stands for the full disk: both end a write with an error."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    command = [sys.executable, "-m", "portrayal.cli", "animate", "-s", str(small_portrait), "-d", str(talking)]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, preexec_fn=limit, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "too large" in done.stderr or "exceed the size" in done.stderr
    assert "unexpected" not in done.stderr
    assert not list(tmp_path.rglob("*.mp4"))


@pytest.fixture
def long_motion(tmp_path: Path) -> Path:
    """150 frames, more than one segment of the writer."""
    from portrayal.motion.builtin import builtin_motion
    from portrayal.motion.template import save_template

    path = tmp_path / "long.motion.safetensors"
    save_template(path, builtin_motion("talk", fps=30)[:150], origin="built in", consent="nobody's face")
    return path


def test_interrupted_then_continued(tmp_path: Path, small_portrait: Path, long_motion: Path) -> None:
    options = AnimateOptions(crop=True, size=96)
    output = tmp_path / "out.mp4"
    rendered: list[int] = []

    def stop_at_130(stage: str, done: int, total: int | None) -> None:
        if stage == "animating" and done == 130:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        animate(small_portrait, long_motion, output, options, progress=stop_at_130)
    assert not output.exists()

    def watch(stage: str, done: int, total: int | None) -> None:
        if stage == "animating":
            rendered.append(done)

    animate(small_portrait, long_motion, output, options, progress=watch)
    assert rendered[0] > 100  # continued, not begun again
    assert sorted(p.name for p in tmp_path.iterdir()) == ["long.motion.safetensors", "out.mp4"]

    whole = tmp_path / "whole.mp4"
    animate(small_portrait, long_motion, whole, options)
    for a, b in zip(read_frames(output), read_frames(whole), strict=True):
        assert a.time == b.time
        np.testing.assert_array_equal(a.image, b.image)


def test_tracking_is_not_repeated_after_an_interruption(tmp_path: Path, small_portrait: Path, talking: Path) -> None:
    def stop(stage: str, done: int, total: int | None) -> None:
        if stage == "animating":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        animate(small_portrait, talking, tmp_path / "out.mp4", progress=stop)
    assert not (tmp_path / "out.mp4").exists()
    stages: set[str] = set()
    animate(small_portrait, talking, tmp_path / "out.mp4", progress=lambda stage, *_: stages.add(stage))
    assert stages == {"animating"}
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_ctrl_c_says_so(tmp_path: Path, small_portrait: Path) -> None:
    command = [sys.executable, "-m", "portrayal.cli", "animate", "-s", str(small_portrait), "-d", "builtin:talk"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        waited = 0.0
        while not list(tmp_path.rglob("*.part")) and process.poll() is None and waited < 60:
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                waited += 0.05
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted" in error
    assert "Traceback" not in error
    assert not list(tmp_path.rglob("*.mp4"))


def test_the_result_never_replaces_its_input(run: Run, talking: Path, small_portrait: Path) -> None:
    before = talking.read_bytes()
    code, _, error = run("animate", "-s", small_portrait, "-d", talking, "-o", talking)
    assert code == 2
    assert "talking.mp4" in error
    assert talking.read_bytes() == before


@pytest.mark.parametrize("name", ["out.avi", "out.docx"])
def test_an_output_that_cannot_be_written_is_said_at_once(name: str, run: Run) -> None:
    assert_refused(run("animate", "-o", name), name)


def rewrite(template: Path, path: Path, **metadata: str) -> None:
    """A copy of a template with other metadata."""
    with safe_open(template, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        save_file(tensors, path, dict(file.metadata()) | metadata)


def test_a_template_of_another_version(run: Run, sentence: Path, tmp_path: Path) -> None:
    rewrite(sentence, tmp_path / "new.motion.safetensors", version="99")
    result = run("animate", "-d", tmp_path / "new.motion.safetensors")
    assert_refused(result, "new.motion.safetensors")
    assert "99" in result[2]


def test_a_tampered_template(run: Run, sentence: Path, tmp_path: Path) -> None:
    rewrite(sentence, tmp_path / "other.motion.safetensors", consent="everybody")
    assert_refused(run("animate", "-d", tmp_path / "other.motion.safetensors"), "other.motion.safetensors")


def test_a_damaged_template(run: Run, sentence: Path, tmp_path: Path) -> None:
    content = bytearray(sentence.read_bytes())
    content[-40] ^= 0xFF
    (tmp_path / "bits.motion.safetensors").write_bytes(content)
    assert_refused(run("animate", "-d", tmp_path / "bits.motion.safetensors"), "bits.motion.safetensors")


def test_a_track_file_is_no_template(run: Run, talking: Path, tmp_path: Path) -> None:
    assert main(["track", str(talking), "-o", str(tmp_path / "t.track.safetensors"), "--no-overlay"]) == 0
    assert_refused(run("animate", "-d", tmp_path / "t.track.safetensors"), "t.track.safetensors")
