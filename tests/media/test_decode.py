"""Reading videos: times, orientation, colours, memory, and what cannot be read."""

import threading
from fractions import Fraction as F

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from portrayal.errors import InputError, MissingFileError
from portrayal.media.video import probe, read_frames
from tests.media.made_videos import bar, encode_noise, every, make_video, picture

VARIABLE = [F(k) for k in (0, 3003, 9009, 12012, 30030, 30031, 45000)]
TIMES = {
    "25 fps": (every(F(1, 25), 30), F(1, 90_000)),
    "29.97 fps": (every(F(1001, 30_000), 30), F(1, 30_000)),
    "1350/61 fps": (every(F(61, 1350), 30), F(1, 1350)),
    "variable": ([t / 90_000 for t in VARIABLE], F(1, 90_000)),
    "begins late": (every(F(1, 25), 5, F(3, 10)), F(1, 90_000)),
}


@pytest.mark.parametrize("name", TIMES)
def test_times_are_exact(tmp_path, name):
    times, base = TIMES[name]
    path = make_video(tmp_path / "v.mp4", times, base=base)
    frames = list(read_frames(path))
    assert [f.time for f in frames] == times
    assert [bar(f.image) for f in frames] == [k % 22 for k in range(len(times))]


@pytest.mark.parametrize(
    ("name", "codec", "base"),
    [
        ("v.mkv", "libx264", F(1, 1000)),
        ("v.webm", "libvpx-vp9", F(1, 1000)),
        ("v.mov", "prores_ks", F(1, 25)),
        ("v.avi", "mpeg4", F(1, 25)),
        ("v.mkv", "ffv1", F(1, 1000)),
        ("v.gif", "gif", F(1, 100)),
        ("v.flv", "flv", F(1, 1000)),
        ("v.mp4", "libx265", F(1, 25)),
    ],
)
def test_containers_and_codecs(tmp_path, name, codec, base):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else None
    path = make_video(tmp_path / name, every(F(1, 25), 20), codec=codec, base=base, options=options)
    frames = list(read_frames(path))
    assert [bar(f.image) for f in frames] == list(range(20))
    assert np.allclose([float(f.time - frames[0].time) for f in frames], np.arange(20) / 25, atol=1e-3)
    assert probe(path).frames == 20


def test_b_frames_come_in_order(tmp_path):
    path = make_video(tmp_path / "v.mp4", every(F(1, 25), 40), options={"bf": "3"})
    assert [bar(f.image) for f in read_frames(path)] == [k % 22 for k in range(40)]


def test_transport_stream_counts_from_its_first_packet(tmp_path):
    path = make_video(tmp_path / "v.ts", every(F(1, 25), 20, F(100)), sound="ac3", sound_start=F(100) - F(1, 5))
    with av.open(str(path)) as container:
        assert container.start_time > 90 * av.time_base
        priming = F(container.streams.video[0].start_time, 90_000) - F(container.start_time, av.time_base) - F(1, 5)
    assert abs(priming) < F(1, 50)
    assert next(iter(read_frames(path))).time == pytest.approx(float(F(1, 5) + priming), abs=1e-4)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_rotation_is_applied(tmp_path, degrees):
    path = make_video(tmp_path / "v.mp4", every(F(1, 25), 3), rotation=degrees)
    want = np.rot90(picture(0), degrees // 90)  # PyAV counts counter-clockwise, as rot90
    image = next(iter(read_frames(path))).image
    assert image.shape == want.shape
    assert np.abs(image.astype(int) - want).mean() < 3
    info = probe(path)
    assert (info.height, info.width) == want.shape[:2]
    assert info.rotation == -degrees % 360


def test_pixels_become_square(tmp_path):
    path = make_video(tmp_path / "v.mkv", every(F(1, 25), 3), base=F(1, 1000), aspect=F(3, 2))
    assert next(iter(read_frames(path))).image.shape == (64, 144, 3)
    assert (probe(path).width, probe(path).height) == (144, 64)


def test_probe(tmp_path):
    info = probe(make_video(tmp_path / "v.mp4", every(F(1, 25), 30), sound="aac"))
    assert (info.width, info.height, info.rate, info.frames) == (96, 64, F(25), 30)
    assert info.duration == F(30, 25)
    assert info.has_sound
    late = make_video(tmp_path / "v.webm", every(F(1, 25), 30, F(1, 5)), codec="libvpx-vp9", base=F(1, 1000))
    assert float(probe(late).duration) == pytest.approx(1.2, abs=2e-3)
    assert info.rotation == 0
    assert not probe(make_video(tmp_path / "w.mp4", every(F(1, 25), 3))).has_sound


def test_start_and_size(tmp_path):
    path = make_video(tmp_path / "v.mp4", every(F(1, 25), 30))
    frames = list(read_frames(path, start=12, max_side=48))
    assert [f.time for f in frames] == every(F(1, 25), 18, F(12, 25))
    assert frames[0].image.shape == (32, 48, 3)
    assert list(read_frames(path, start=40)) == []


def test_stopping_early_ends_the_thread(tmp_path):
    path = make_video(tmp_path / "v.mp4", every(F(1, 25), 200))
    before = threading.active_count()
    frames = read_frames(path)
    next(frames)
    frames.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("name", ["fast.mp4", "end.mp4", "v.mkv", "v.avi", "v.webm"])
def test_a_truncated_video_is_refused(tmp_path, name):
    times = every(F(1, 25), 100)
    codec = {"v.avi": "mpeg4", "v.webm": "libvpx-vp9"}.get(name, "libx264")
    flags = {"movflags": "faststart"} if name == "fast.mp4" else None
    base = F(1, 90_000) if "mp4" in name else F(1, 25)
    path = make_video(tmp_path / name, times, codec=codec, base=base, sound="aac" if "mp4" in name else None,
                      sound_seconds=4, container_options=flags)  # fmt: skip
    data = path.read_bytes()
    for share in (0.01, 0.4, 0.7):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(InputError, match=name) as caught:
            list(read_frames(path))
        assert "\n" not in str(caught.value)


def bad_files(folder):
    """Name to content; none holds a video."""
    files = {
        "empty.mp4": b"",
        "text.mp4": b"no video, only words\n" * 50,
        "notes.txt": b"FFmpeg would paint this text as a video\n" * 50,
        "noise.mp4": np.random.default_rng(0).bytes(20_000),
        "list.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.ts\n#EXT-X-ENDLIST\n",
        "list.ffconcat": b"ffconcat version 1.0\nfile 'other.ts'\n",
        "archive.zip": b"PK\x03\x04" + bytes(3000),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    make_video(folder / "other.ts", every(F(1, 25), 5))
    with av.open(str(folder / "sound.m4a"), "w", format="mp4") as container:
        container.mux(encode_noise(container.add_stream("aac", rate=48_000, layout="stereo"), 9600))
    (folder / "folder.mp4").mkdir()
    return [*files, "sound.m4a", "folder.mp4", "absent.mp4"]


def test_bad_files_give_one_sentence(tmp_path):
    for name in bad_files(tmp_path):
        for read in (probe, lambda p: list(read_frames(p))):
            with pytest.raises(InputError) as caught:
                read(tmp_path / name)
            message = str(caught.value)
            assert name in message, message
            assert "\n" not in message
            assert message.endswith(tuple("abcdefghijklmnopqrstuvwxyzFG4"))
    with pytest.raises(MissingFileError):
        probe(tmp_path / "absent.mp4")


def test_a_cover_picture_is_no_video(tmp_path):
    path = tmp_path / "song.mp4"
    cover = cv2.imencode(".jpg", picture(0))[1].tobytes()
    make_video(path, every(F(1, 25), 5), sound="aac")
    with av.open(str(path)) as source, av.open(str(tmp_path / "song.mka"), "w", format="matroska") as song:
        sound = song.add_stream_from_template(source.streams.audio[0])
        song.add_attachment("cover.jpg", "image/jpeg", cover)
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = sound
                song.mux(packet)
    with pytest.raises(InputError, match="no video"):
        probe(tmp_path / "song.mka")


def test_damage_in_the_middle_loses_few_frames(tmp_path, caplog):
    path = make_video(tmp_path / "v.mp4", every(F(1, 25), 60), options={"g": "10", "bf": "0"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = np.random.default_rng(1).bytes(200)
    path.write_bytes(data)
    assert len(list(read_frames(path))) >= 50


def test_colours_follow_their_label(tmp_path):
    """BT.709 and BT.601, full and limited range, give the same RGB picture."""
    for label, space in ((1, Colorspace.ITU709), (6, Colorspace.ITU601)):
        for span in (ColorRange.MPEG, ColorRange.JPEG):
            path = tmp_path / f"{label}{span}.mp4"
            with av.open(str(path), "w") as container:
                stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
                stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
                stream.codec_context.colorspace, stream.codec_context.color_range = label, span
                frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=space, src_color_range=ColorRange.JPEG, dst_color_range=span
                )
                container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            image = next(iter(read_frames(path))).image.astype(int)
            difference = image[8:56, 12:] - picture(0)[8:56, 12:]
            assert np.abs(difference).mean() < 2, (label, span)


def test_development_videos(raw):
    for name, count, last in [("a", 183, F(182, 25)), ("b", 175, F(174, 25)), ("c", 200, F(199, 25))]:
        frames = [f.time for f in read_frames(raw / f"driving_{name}.mp4", max_side=64)]
        assert (len(frames), frames[-1]) == (count, last)
    frames = [f.time for f in read_frames(raw / "driving_d.mp4", max_side=64)]
    assert (len(frames), frames[0], frames[-1]) == (135, F(507, 15360), F(93691, 15360))


def test_a_change_of_resolution_keeps_the_first_size(tmp_path):
    path = tmp_path / "v.ts"
    parts = [
        make_video(tmp_path / f"{k}.ts", every(F(1, 25), 10, F(k)), size=size, options={"bf": "0"})
        for k, size in enumerate([(96, 64), (192, 128)])
    ]
    path.write_bytes(b"".join(p.read_bytes() for p in parts))
    frames = list(read_frames(path))
    assert len(frames) == 20
    assert {f.image.shape for f in frames} == {(64, 96, 3)}


@pytest.mark.parametrize("name", ["a:b %d #1?.mp4", "-v.mp4", "ü 視.mp4"])
def test_names_are_only_names(tmp_path, name):
    made = make_video(tmp_path / "v.mp4", every(F(1, 25), 5))
    assert len(list(read_frames(made.rename(tmp_path / name)))) == 5
