"""Writing videos: times, sizes, colours, sound, and nothing left when it fails."""

import signal
import subprocess
import sys
import textwrap
from fractions import Fraction as F

import av
import numpy as np
import pytest

from portrayal.errors import InputError, PortrayalError
from portrayal.media.encode import VideoWriter, output_kind
from portrayal.media.video import probe, read_frames
from tests.media.made_videos import bar, decode_sound, every, make_video, picture

VARIABLE = [F(k, 90_000) for k in (3003, 6006, 9009, 30_030, 30_100, 45_000)]


def write(path, times, *, size=(96, 64), duration=None, **options):
    with VideoWriter(path, width=size[0], height=size[1], **options) as writer:
        for number, time in enumerate(times):
            writer.write(picture(number, *size), time, duration)
    return writer


@pytest.mark.parametrize("extension", ["mp4", "mov", "webm"])
@pytest.mark.parametrize(
    ("times", "base"),
    [(every(F(1, 25), 30), None), (every(F(1001, 30_000), 30), F(1, 30_000)), (VARIABLE, None),
     (every(F(61, 1350), 30, F(507, 15_360)), F(1, 15_360 * 1350))],
    ids=["25", "29.97", "variable", "1350/61 from 0.033 s"],
)  # fmt: skip
def test_every_frame_keeps_its_time(tmp_path, extension, times, base):
    write(tmp_path / f"v.{extension}", times, time_base=base)
    frames = list(read_frames(tmp_path / f"v.{extension}"))
    assert [bar(f.image) for f in frames] == [k % 22 for k in range(len(times))]
    tolerance = F(1, 1000) if extension == "webm" else 0
    assert all(abs(f.time - t) <= tolerance for f, t in zip(frames, times, strict=True))


def test_the_last_frame_keeps_its_duration(tmp_path):
    write(tmp_path / "v.mp4", VARIABLE, duration=F(3, 10))
    frames = list(read_frames(tmp_path / "v.mp4"))
    assert frames[-1].duration == F(3, 10)
    assert probe(tmp_path / "v.mp4").duration == VARIABLE[-1] + F(3, 10) - VARIABLE[0]
    write(tmp_path / "w.mp4", every(F(1, 10), 5))
    assert list(read_frames(tmp_path / "w.mp4"))[-1].duration == F(1, 10)


def test_the_default_plays_everywhere(tmp_path):
    write(tmp_path / "v.mp4", every(F(1, 25), 10))
    with av.open(str(tmp_path / "v.mp4")) as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p")
        context = video.codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
    data = (tmp_path / "v.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("extension", ["mp4", "webm"])
def test_colours_survive(tmp_path, extension):
    image = np.zeros((64, 96, 3), np.uint8)
    for k, colour in enumerate([(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 180, 160), (128,) * 3, (16,) * 3]):
        image[:, k * 16 : k * 16 + 16] = colour
    with VideoWriter(tmp_path / f"v.{extension}", width=96, height=64) as writer:
        writer.write(image, F(0))
    decoded = next(iter(read_frames(tmp_path / f"v.{extension}"))).image
    difference = decoded.astype(int) - image
    assert np.abs(difference[:, 4::16]).max() <= 4
    assert np.abs(difference[:, 8::16]).max() <= 4


@pytest.mark.parametrize(("extension", "size"), [("mp4", (98, 66)), ("webm", (97, 65)), ("gif", (97, 65))])
def test_odd_sizes(tmp_path, extension, size):
    path = tmp_path / f"v.{extension}"
    write(path, every(F(1, 25), 5), size=(97, 65))
    frame = next(iter(read_frames(path)))
    assert frame.image.shape[1::-1] == size
    assert np.abs(frame.image[:65, :97].astype(int) - picture(0, 97, 65)).mean() < 6


@pytest.mark.parametrize("extension", ["mp4", "webm", "gif"])
def test_one_frame(tmp_path, extension):
    write(tmp_path / f"v.{extension}", [F(0)])
    assert len(list(read_frames(tmp_path / f"v.{extension}"))) == 1


def test_lossless(tmp_path):
    write(tmp_path / "v.mp4", every(F(1, 25), 5), quality=None)
    for number, frame in enumerate(read_frames(tmp_path / "v.mp4")):
        assert np.array_equal(frame.image, picture(number))


def test_gif(tmp_path):
    write(tmp_path / "v.gif", every(F(1, 30), 30, F(2)))
    frames = list(read_frames(tmp_path / "v.gif"))
    assert [bar(f.image) for f in frames] == [k % 22 for k in range(30)]
    assert all(abs(f.time - F(k, 30)) <= F(1, 200) for k, f in enumerate(frames))
    assert np.abs(frames[3].image.astype(int) - picture(3)).mean() < 5
    assert [p.name for p in tmp_path.iterdir()] == ["v.gif"]


def test_gif_leaves_out_what_viewers_would_slow_down(tmp_path):
    write(tmp_path / "v.gif", every(F(1, 100), 40))
    times = [f.time for f in read_frames(tmp_path / "v.gif")]
    assert times == every(F(1, 50), 20)


@pytest.mark.parametrize(("path", "names"), [("frames", "{:06d}.png"), ("frames/a%03d.png", "a{:03d}.png")])
def test_pngs(tmp_path, path, names):
    for _ in range(2):  # a later run replaces an earlier one
        write(tmp_path / path, every(F(1, 25), 4))
    folder = tmp_path / "frames"
    assert sorted(p.name for p in folder.iterdir()) == [*(names.format(k) for k in range(4)), "times.csv"]
    assert (folder / "times.csv").read_text().splitlines()[2] == f"{names.format(1)},0.040000,0.040000"
    assert np.array_equal(next(iter(read_frames(folder / names.format(2)))).image, picture(2))


def test_pngs_never_replace_other_things(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other things"):
        write(tmp_path / "frames", [F(0)])
    assert [p.name for p in tmp_path.rglob("*")] == ["frames", "thesis.txt"]


def test_a_folder_is_never_replaced_by_a_video(tmp_path):
    (tmp_path / "v.mp4").mkdir()
    (tmp_path / "v.mp4" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is a folder"):
        write(tmp_path / "v.mp4", [F(0)])
    assert (tmp_path / "v.mp4" / "thesis.txt").read_text() == "mine"


def test_ctrl_c_in_a_process(tmp_path):
    script = f"""
        import numpy as np, sys
        from fractions import Fraction as F
        from portrayal.media.encode import VideoWriter
        with VideoWriter({str(tmp_path / "v.mp4")!r}, width=160, height=128) as writer:
            for k in range(10**9):
                writer.write(np.full((128, 160, 3), k % 250, np.uint8), F(k, 25))
                if k == 50:
                    print("going", flush=True)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "going\n"
    try:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a:b %d #1?.mp4", "-v.webm", "ü 視.gif"])
def test_names_are_only_names(tmp_path, name):
    write(tmp_path / name, every(F(1, 25), 3))
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_unknown_extension(tmp_path):
    with pytest.raises(InputError, match=r"\.mp4"):
        write(tmp_path / "v.docx", [F(0)])
    assert output_kind("a/b.MP4") == "mp4"
    assert not list(tmp_path.iterdir())


def test_wrong_frames_are_refused(tmp_path):
    with pytest.raises(ValueError, match="64, 96, 3"), VideoWriter(tmp_path / "v.mp4", width=96, height=64) as writer:
        writer.write(picture(0, 97, 64), F(0))
    with pytest.raises(ValueError, match="grow"):
        write(tmp_path / "v.mp4", [F(0), F(1), F(1)])
    with pytest.raises(ValueError, match="no frame"):
        write(tmp_path / "v.mp4", [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["v.mp4", "v.webm", "v.gif", "frames"])
@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_nothing(tmp_path, name, failure):
    def times():
        yield from every(F(1, 25), 30)
        raise failure

    with pytest.raises(failure):
        write(tmp_path / name, times())
    assert not list(tmp_path.iterdir())


def test_an_earlier_output_survives_a_failure(tmp_path):
    write(tmp_path / "v.mp4", every(F(1, 25), 3))
    before = (tmp_path / "v.mp4").read_bytes()
    with pytest.raises(ValueError, match="grow"):
        write(tmp_path / "v.mp4", [F(0), F(0)])
    assert (tmp_path / "v.mp4").read_bytes() == before


@pytest.mark.parametrize("name", ["v.mp4", "v.webm", "v.gif", "frames"])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, name):
    """The operating system refuses to write more than 40 kB into a file, as it would on a full disk."""
    script = f"""
        import resource, numpy as np
        from fractions import Fraction as F
        from portrayal.errors import PortrayalError
        from portrayal.media.encode import VideoWriter
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
        noise = np.random.default_rng(0)
        try:
            with VideoWriter({str(tmp_path / name)!r}, width=160, height=128) as writer:
                for k in range(60):
                    writer.write(noise.integers(0, 256, (128, 160, 3), np.uint8), F(k, 25))
        except PortrayalError as error:
            print(error)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert name in run.stdout
    assert run.stdout.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        write(tmp_path / "file" / "v.mp4", [F(0)])


def test_an_encoder_error_reaches_the_writer(tmp_path, monkeypatch):
    from portrayal.media.movie import MovieSink

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MovieSink, "add", fail)
    with pytest.raises(PortrayalError, match="disk is full"):
        write(tmp_path / "v.mp4", every(F(1, 25), 50))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "codec", "sound", "base"),
    [
        ("v.mp4", "libx264", "aac", F(1, 90_000)),
        ("v.mkv", "libx264", "aac", F(1, 1000)),
        ("v.ts", "libx264", "aac", F(1, 90_000)),
        ("v.mp4", "libx264", "flac", F(1, 90_000)),
        ("v.avi", "mpeg4", "ac3", F(1, 25)),
        ("v.flv", "flv", "libmp3lame", F(1, 1000)),
    ],
)
def test_sound_is_copied_sample_by_sample(tmp_path, name, codec, sound, base):
    driving = make_video(tmp_path / name, every(F(1, 25), 25, F(2, 25)), codec=codec, sound=sound, base=base)
    frames = list(read_frames(driving))
    with VideoWriter(tmp_path / "out.mp4", width=96, height=64, sound_from=driving) as writer:
        for frame in frames:
            writer.write(frame.image, frame.time, frame.duration)
    assert writer.notes == []
    start, samples = decode_sound(driving)
    copied_start, copied = decode_sound(tmp_path / "out.mp4")
    assert np.array_equal(samples, copied)
    with av.open(str(driving)) as container:
        origin = container.start_time / av.time_base if name == "v.ts" else 0.0
    assert copied_start == pytest.approx(start - origin, abs=1.1e-3)
    assert [f.time for f in read_frames(tmp_path / "out.mp4")] == [f.time for f in frames]


@pytest.mark.parametrize(
    ("name", "sound", "out", "said"),
    [("v.mov", "pcm_s16le", "out.mp4", "pcm_s16le to aac"), ("v.mp4", "aac", "out.webm", "aac to opus")],
)
def test_sound_that_the_container_cannot_hold_is_encoded_and_said(tmp_path, name, sound, out, said):
    driving = make_video(tmp_path / name, every(F(1, 25), 50), sound=sound, sound_seconds=2)
    writer = write(tmp_path / out, every(F(1, 25), 50), sound_from=driving)
    assert len(writer.notes) == 1
    assert said in writer.notes[0]
    (start, samples), (_, original) = decode_sound(tmp_path / out), decode_sound(driving)
    encoded, wanted = samples[0, 4800:48_000].astype(float), original[0, 4800:48_000].astype(float)
    similarity = encoded @ wanted / np.linalg.norm(encoded) / np.linalg.norm(wanted)
    assert similarity > 0.5  # in step: white noise shifted by one sample correlates to nothing
    assert abs(start) < 1e-3


def test_sound_without_video_or_without_sound(tmp_path):
    silent = make_video(tmp_path / "silent.mp4", every(F(1, 25), 5))
    write(tmp_path / "v.mp4", every(F(1, 25), 5), sound_from=silent)
    assert not probe(tmp_path / "v.mp4").has_sound


@pytest.mark.parametrize("letter", "abcd")
def test_development_videos_keep_times_and_samples(tmp_path, raw, letter):
    driving = raw / f"driving_{letter}.mp4"
    with VideoWriter(tmp_path / "v.mp4", width=64, height=64, sound_from=driving) as writer:
        for frame in read_frames(driving):
            writer.write(np.ascontiguousarray(frame.image[:64, :64]), frame.time)
    before, after = (list(read_frames(p, max_side=32)) for p in (driving, tmp_path / "v.mp4"))
    assert [(f.time, f.duration) for f in before] == [(f.time, f.duration) for f in after]
    assert decode_sound(driving)[0] == decode_sound(tmp_path / "v.mp4")[0]
    assert np.array_equal(decode_sound(driving)[1], decode_sound(tmp_path / "v.mp4")[1])


def test_edit_lists_keep_their_meaning(tmp_path):
    """What a trimmed video hides before time 0, pictures and sound, stays hidden."""
    driving = make_video(
        tmp_path / "trimmed.mp4", every(F(1, 25), 60, -F(13, 25)), sound="aac", sound_start=-F(1, 2), sound_seconds=3
    )
    frames = list(read_frames(driving))
    assert [bar(f.image) for f in frames] == [k % 22 for k in range(13, 60)]
    with VideoWriter(tmp_path / "out.mp4", width=96, height=64, sound_from=driving) as writer:
        for frame in frames:
            writer.write(frame.image, frame.time)
    assert [f.time for f in read_frames(tmp_path / "out.mp4")] == [f.time for f in frames] == every(F(1, 25), 47)
    (start, samples), (copied_start, copied) = decode_sound(driving), decode_sound(tmp_path / "out.mp4")
    assert start == copied_start == 0
    assert np.array_equal(samples, copied)
