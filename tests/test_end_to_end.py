"""From a picture and a motion to a file: what comes out, on data that the tests make themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import portrayal
from portrayal.animation import Animation, animate, preflight, template, track
from portrayal.cli import main
from portrayal.face.measure import mouth_openness
from portrayal.media.video import probe, read_frames
from portrayal.motion.builtin import builtin_motion
from portrayal.motion.template import save_template
from portrayal.options import AnimateOptions, TemplateOptions, TrackOptions
from portrayal.tracking import load_track


def read(path: Path) -> tuple[list[np.ndarray[Any, Any]], list[float]]:
    frames = list(read_frames(path))
    return [f.image for f in frames], [float(f.time) for f in frames]


def sound_samples(path: Path) -> np.ndarray[Any, Any]:
    with av.open(str(path)) as container:
        return np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)


def difference(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def assert_in_sync(output: Path, driving: Path) -> None:
    """Same frames, same times to within 1 ms, same sound samples."""
    images, times = read(output)
    _, wanted = read(driving)
    assert len(images) == len(wanted)
    np.testing.assert_allclose(times, wanted, rtol=0, atol=0.001)
    assert probe(output).has_sound == probe(driving).has_sound
    if probe(driving).has_sound:
        np.testing.assert_array_equal(sound_samples(output), sound_samples(driving))


@pytest.fixture(scope="module")
def spoken(quick_auto: str, small_portrait: Path, talking: Path, tmp_path_factory: pytest.TempPathFactory) -> Animation:
    """The small portrait says by the best system what it says in `talking`; alone in its folder."""
    output = tmp_path_factory.mktemp("spoken") / "out.mp4"
    return animate(small_portrait, talking, output, AnimateOptions(system=quick_auto))


def test_a_video_drives_a_picture_in_sync(spoken: Animation, talking: Path) -> None:
    assert_in_sync(spoken.output, talking)
    images, _ = read(spoken.output)
    assert images[0].shape == (256, 256, 3)
    assert spoken.frames == len(images) == 25
    assert spoken.missing == 0
    assert max(difference(image, images[0]) for image in images) > 0.5
    assert [p.name for p in spoken.output.parent.iterdir()] == ["out.mp4"]


def test_the_same_twice_bit_for_bit(
    best: str, spoken: Animation, small_portrait: Path, talking: Path, tmp_path: Path
) -> None:
    """And the best system is what `auto` takes."""
    first, _ = read(spoken.output)
    second, _ = read(animate(small_portrait, talking, tmp_path / "again.mp4").output)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_mouth_follows_the_driving_mouth(spoken: Animation, talking: Path, tmp_path: Path) -> None:
    opened = []
    for path in (talking, spoken.output):
        tracked = track(path, tmp_path / "x.track.safetensors", TrackOptions(overlay=False)).tracks[0]
        opened.append(mouth_openness(tracked.params.landmarks).numpy())
    assert np.corrcoef(opened)[0, 1] > 0.7


def test_without_arguments_the_built_in_portrait_talks(
    best: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["animate"]) == 0
    (file,) = (tmp_path / "animations").iterdir()
    assert file.name == "astronaut--talk.mp4"
    images, times = read(file)
    assert images[0].shape == (512, 512, 3)
    assert len(images) == 130
    assert times[-1] == pytest.approx(129 / 25, abs=0.001)
    assert max(difference(image, images[0]) for image in images) > 0.5


def test_pixels_outside_the_mask_stay(best: str, portrait: np.ndarray[Any, Any], tmp_path: Path) -> None:
    save_template(tmp_path / "x.motion.safetensors", builtin_motion("talk")[10:35:4], origin="built in", consent="none")
    canvas = np.full((512, 900, 3), 90, np.uint8)
    canvas[:, :512] = portrait
    Image.fromarray(canvas).save(tmp_path / "wide.png")
    done = animate(tmp_path / "wide.png", tmp_path / "x.motion.safetensors", tmp_path / "frames")
    pictures = [np.asarray(Image.open(p)) for p in sorted(done.output.glob("*.png"))]
    assert len(pictures) == done.frames
    for picture in pictures:
        np.testing.assert_array_equal(picture[:, 600:], canvas[:, 600:])


def test_crop_size_and_compare(small_portrait: Path, talking: Path, tmp_path: Path) -> None:
    options = AnimateOptions(crop=True, size=160, compare=True)
    done = animate(small_portrait, talking, tmp_path / "out.mp4", options)
    assert (probe(done.output).width, probe(done.output).height) == (160, 160)
    assert done.compared == tmp_path / "out--compare.mp4"
    assert (probe(done.compared).width, probe(done.compared).height) == (480, 160)
    assert_in_sync(done.compared, talking)


def test_size_enlarges_and_reduces(small_portrait: Path, sentence: Path, tmp_path: Path) -> None:
    for size in (200, 300):
        done = animate(small_portrait, sentence, tmp_path / f"{size}.mp4", AnimateOptions(size=size))
        assert probe(done.output).width == size


@pytest.mark.parametrize("name", ["out.webm", "out.gif", "out.mov"])
def test_other_kinds_of_output(name: str, small_portrait: Path, sentence: Path, tmp_path: Path) -> None:
    done = animate(small_portrait, sentence, tmp_path / name)
    images, times = read(done.output)
    assert len(images) == done.frames
    assert times[-1] - times[0] == pytest.approx(24 / 25, abs=0.02)


def test_regions_and_strength(small_portrait: Path, sentence: Path, tmp_path: Path) -> None:
    def moved(**options: Any) -> np.ndarray[Any, Any]:
        images, _ = read(animate(small_portrait, sentence, tmp_path / "out.mp4", AnimateOptions(**options)).output)
        return np.mean([np.abs(i.astype(int) - images[0].astype(int)) for i in images], axis=(0, 3))

    everything, lips, nothing = moved(), moved(region="lips"), moved(strength=0)
    assert nothing.mean() < 0.2 * everything.mean()
    assert lips[:110].mean() < 0.3 * everything[:110].mean()  # eyes and hair
    assert lips[130:200].mean() > 0.3 * everything[130:200].mean()  # mouth and chin


def test_a_picture_drives_a_picture(small_portrait: Path, talking: Path, tmp_path: Path) -> None:
    images, _ = read(talking)
    Image.fromarray(images[12]).save(tmp_path / "look.jpg", quality=95)
    done = animate(small_portrait, tmp_path / "look.jpg", tmp_path / "out.png")
    assert done.frames == 1
    assert Image.open(done.output).size == (256, 256)
    assert any("no motion" in note for note in done.notes)


def test_a_video_as_source_keeps_its_own_frames(talking: Path, sentence: Path, tmp_path: Path) -> None:
    done = animate(talking, sentence, tmp_path / "out.mp4", AnimateOptions(region="lips"))
    images, _ = read(done.output)
    own, _ = read(talking)
    assert len(images) == 25
    corner = (slice(0, 12), slice(0, 12))
    assert all(difference(i[corner], o[corner]) < 6 for i, o in zip(images, own, strict=False))


def test_a_template_does_what_its_video_does(small_portrait: Path, talking: Path, tmp_path: Path) -> None:
    made = template(talking, tmp_path / "t.motion.safetensors", TemplateOptions(consent="made by the test"))
    assert made.frames == 25
    from_video = animate(small_portrait, talking, tmp_path / "a").output
    from_template = animate(small_portrait, made.output, tmp_path / "b").output
    assert len(list(from_video.glob("*.png"))) == 25
    for picture in sorted(from_video.glob("*.png")):
        assert np.array_equal(np.asarray(Image.open(picture)), np.asarray(Image.open(from_template / picture.name)))


def test_track_writes_a_file_and_an_overlay(talking: Path, tmp_path: Path) -> None:
    done = track(talking, tmp_path / "me.track.safetensors")
    again, _ = load_track(done.files[0])
    assert len(again) == 25
    assert bool(again.found.all())
    assert (again.width, again.height) == (256, 256)
    assert done.overlay == tmp_path / "me--track.mp4"
    assert_in_sync(done.overlay, talking)


def test_track_a_picture(small_portrait: Path, tmp_path: Path) -> None:
    done = track(small_portrait, tmp_path / "me.track.safetensors", TrackOptions(overlay=False))
    assert done.overlay is None
    assert len(done.tracks) == 1
    points = done.tracks[0].params.landmarks[0, :, :2]
    assert float(points.min()) > 30
    assert float(points.max()) < 250


def test_preflight_names_the_reference(small_portrait: Path, talking: Path) -> None:
    findings = [str(finding) for finding in preflight(small_portrait, talking)]
    assert any("reference" in finding for finding in findings)


def test_the_command_line_says_what_came_out(
    small_portrait: Path, sentence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.mp4"
    assert main(["animate", "-s", str(small_portrait), "-d", str(sentence), "-o", str(output)]) == 0
    said = capsys.readouterr().out
    for word in ("25 frames", "Jitter", "Reference frame", str(output)):
        assert word in said


def test_three_lines_of_python(small_portrait: Path, sentence: Path, tmp_path: Path) -> None:
    done = portrayal.animate(small_portrait, sentence, tmp_path / "out.mp4")
    assert done.output.is_file()


RAW = ["driving_a.mp4", "driving_b.mp4", "driving_c.mp4", "driving_d.mp4"]


@pytest.mark.slow
@pytest.mark.parametrize("driving", RAW)
def test_real_videos_stay_in_sync(driving: str, data_root: Path, small_portrait: Path, tmp_path: Path) -> None:
    path = data_root / "raw" / driving
    done = animate(small_portrait, path, tmp_path / "out.mp4", AnimateOptions(crop=True, size=128))
    assert_in_sync(done.output, path)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["portrait_a.jpg", "portrait_b.jpg", "portrait_c.jpg", "portrait_painting.jpg"])
def test_real_portraits(source: str, data_root: Path, sentence: Path, tmp_path: Path) -> None:
    done = animate(data_root / "raw" / source, sentence, tmp_path / "out.mp4")
    images, _ = read(done.output)
    assert len(images) == 25
    assert max(difference(image, images[0]) for image in images) > 0.05


@pytest.mark.slow
def test_both_faces_of_a_couple(data_root: Path, sentence: Path, tmp_path: Path) -> None:
    done = animate(data_root / "raw" / "two_faces.jpg", sentence, tmp_path / "out.mp4", AnimateOptions(face="all"))
    images, _ = read(done.output)
    moved = np.max([np.abs(i.astype(int) - images[0].astype(int)).mean(-1) for i in images], axis=0)
    columns = np.flatnonzero(moved.max(0) > 30)
    middle = (columns[0] + columns[-1]) // 2
    assert moved[:, :middle].max() > 30
    assert moved[:, middle:].max() > 30
