"""Interrupted videos continue where their last finished segment ends."""

from fractions import Fraction as F

import numpy as np
import pytest

from portrayal.media.segments import SegmentedWriter
from portrayal.media.video import read_frames
from tests.media.made_videos import bar, decode_sound, every, make_video, picture

TIMES = [F(507, 15_360) + F(k * 61, 1350) + (F(1, 50) if k > 17 else 0) for k in range(50)]


def write(path, *, stop=None, key="same", size=(96, 64), times=TIMES, duration=F(1, 10), **options):
    """Write what is missing; returns how many frames an earlier run had done."""
    with SegmentedWriter(path, key=key, width=size[0], height=size[1], segment_frames=8, **options) as writer:
        done = writer.frames_done
        for number in range(done, len(times)):
            if number == stop:
                raise KeyboardInterrupt
            writer.write(picture(number, *size), times[number], duration)
    return done


@pytest.mark.parametrize("extension", ["mp4", "mov", "webm", "gif"])
def test_resume(tmp_path, extension):
    path = tmp_path / f"v.{extension}"
    for stop in (20, 21):
        with pytest.raises(KeyboardInterrupt):
            write(path, stop=stop)
        assert not path.exists()
    assert write(path) == 16
    frames = list(read_frames(path))
    assert [bar(f.image) for f in frames] == [k % 22 for k in range(50)]
    start, tolerance = (TIMES[0], F(1, 200)) if extension == "gif" else (F(0), F(1, 1000))
    assert all(abs(f.time - t + start) <= tolerance for f, t in zip(frames, TIMES, strict=True))
    assert abs(frames[-1].duration - F(1, 10)) < F(1, 500)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_resumed_equals_uninterrupted(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.mp4", stop=30)
    write(tmp_path / "a.mp4")
    write(tmp_path / "b.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_pngs(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "frames" / "%04d.png", stop=20)
    assert write(tmp_path / "frames" / "%04d.png") == 16
    assert len(list((tmp_path / "frames").glob("*.png"))) == 50
    assert np.array_equal(next(iter(read_frames(tmp_path / "frames" / "0003.png"))).image, picture(3))
    assert [p.name for p in tmp_path.iterdir()] == ["frames"]


def test_sound_and_time_base_of_the_driving_video(tmp_path):
    ntsc = every(F(1001, 30_000), 40, F(1001, 30_000))
    driving = make_video(tmp_path / "d.mp4", ntsc, base=F(1, 30_000), sound="aac", sound_seconds=1.5)
    times = [f.time for f in read_frames(driving)]
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "v.mp4", stop=20, times=times, duration=None, sound_from=driving)
    write(tmp_path / "v.mp4", times=times, duration=None, sound_from=driving)
    frames = list(read_frames(tmp_path / "v.mp4"))
    assert [f.time for f in frames] == times
    assert frames[-1].duration == list(read_frames(driving))[-1].duration == F(1, 25)
    assert decode_sound(driving)[0] == decode_sound(tmp_path / "v.mp4")[0]
    assert np.array_equal(decode_sound(driving)[1], decode_sound(tmp_path / "v.mp4")[1])


@pytest.mark.parametrize("change", [{"key": "other"}, {"size": (98, 64)}, {"quality": 30}])
def test_other_frames_begin_anew(tmp_path, change):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "v.mp4", stop=20)
    assert write(tmp_path / "v.mp4", **change) == 0
    assert len(list(read_frames(tmp_path / "v.mp4"))) == 50


def test_damaged_leftovers(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "v.mp4", stop=30)
    folder = tmp_path / "v.mp4.part"
    (folder / "00000008-8.mp4").unlink()
    (folder / "current.mp4").write_bytes(b"half")
    assert write(tmp_path / "v.mp4") == 8
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "v.mp4", stop=30)
    (folder / "state.json").write_bytes(b"\xff{")
    assert write(tmp_path / "v.mp4") == 0


def test_an_interruption_before_the_first_segment_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "v.mp4", stop=5)
    assert not list(tmp_path.iterdir())
