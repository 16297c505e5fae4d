"""What `VideoWriter` writes into: movies (MP4, MOV, WebM), GIF, and folders of PNGs."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Protocol, cast

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter import Graph
from av.filter.context import FilterContext
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from portrayal.errors import InputError
from portrayal.media.atomic import remove, temporary_beside
from portrayal.media.decode import open_media
from portrayal.media.image import UInt8
from portrayal.media.sound import Sound

_SOUND_AHEAD = Fraction(1, 2)


class Sink(Protocol):
    """One output being written at a temporary place."""

    notes: list[str]

    def add(self, image: UInt8, time: int, duration: int) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...


class MovieSink:
    """H.264 in MP4 or MOV, VP9 in WebM, with sound."""

    def __init__(
        self,
        path: Path,
        kind: str,
        size: tuple[int, int],
        time_base: Fraction,
        *,
        quality: int,
        sound_from: Path | None,
    ) -> None:
        self.notes: list[str] = []
        self._container = open_output(path, kind, time_base, sound_from)
        self._sound = None
        try:
            self._stream = self._add_stream(kind, size, time_base, quality)
            self._sound = Sound(sound_from, self._container, kind) if sound_from else None
        except BaseException:
            self.abort()
            raise
        self._time_base = time_base
        self._reformatter = VideoReformatter()

    def _add_stream(self, kind: str, size: tuple[int, int], time_base: Fraction, quality: int) -> VideoStream:
        width, height = size
        threads = max(1, min(4, os.cpu_count() or 1, 1 + width * height // 600_000))
        if kind == "webm":
            options = {"crf": str(quality + 8), "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"}
            stream = self._container.add_stream("libvpx-vp9", rate=25, options=options)
        else:
            # Without B-frames the last sample's duration, and with it the end of the track, is exact.
            options = {"crf": str(quality), "preset": "veryfast", "bf": "0", "g": "120"}
            stream = self._container.add_stream("libx264", rate=25, options=options)
            width, height = width + width % 2, height + height % 2
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = context.time_base = time_base
        context.thread_count = threads
        context.flags |= av.codec.context.Flags.frame_duration
        context.colorspace, context.color_range = 1, ColorRange.MPEG  # 1: BT.709
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return stream

    def add(self, image: UInt8, time: int, duration: int) -> None:
        bottom, right = self._stream.height - image.shape[0], self._stream.width - image.shape[1]
        if bottom or right:
            image = np.asarray(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE), np.uint8)
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(image, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        frame.pts, frame.duration, frame.time_base = time, duration, self._time_base
        frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        self._mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.mux_until(None)
            self.notes += [self._sound.note] if self._sound.note else []
            self._sound.close()
        self._container.close()

    def abort(self) -> None:
        if self._sound is not None:
            self._sound.close()
        close_quietly(self._container)

    def _mux(self, packets: Iterable[Packet[VideoStream]]) -> None:
        for packet in packets:
            if self._sound is not None and packet.dts is not None:
                self._sound.mux_until(packet.dts * packet.time_base + _SOUND_AHEAD)
            self._container.mux_one(packet)


def open_output(path: Path, kind: str, time_base: Fraction, sound_from: Path | None) -> OutputContainer:
    """A container to be written at `path`, whose name need not fit the kind."""
    options = {}
    if kind in ("mp4", "mov"):
        # Empty edits, which delay a track that does not begin at 0, are counted in ticks of the movie's time scale.
        options = {"movflags": "+faststart", "movie_timescale": str(_movie_timescale(time_base, sound_from))}
    return av.open(f"file:{path.resolve()}", "w", format=kind, container_options=options)


def close_quietly(container: OutputContainer) -> None:
    """Close what will be thrown away; its disk may be full."""
    with suppress(av.FFmpegError, OSError, ValueError):
        container.close()


def _movie_timescale(time_base: Fraction, sound_from: Path | None) -> int:
    """Ticks per second in which the starts of the pictures and of the sound are both whole numbers, if that fits."""
    rate = 1
    if sound_from is not None:
        with open_media(sound_from) as container:
            sound = container.streams.best("audio")
            if isinstance(sound, AudioStream) and sound.codec_context is not None:
                rate = sound.codec_context.sample_rate or 1
    both = math.lcm(time_base.denominator, rate)
    return both if both < 2**31 else time_base.denominator


class GifSink:
    """GIF with one palette made from all frames, which are kept losslessly in a file beside until the end."""

    def __init__(self, path: Path, size: tuple[int, int], time_base: Fraction) -> None:
        self.notes: list[str] = []
        self._path, self._time_base, self._size = path, time_base, size
        self._spool_path = temporary_beside(path)
        self._spool = av.open(f"file:{self._spool_path.resolve()}", "w", format="nut")
        self._stream = self._spool.add_stream("libx264rgb", rate=100, options={"preset": "ultrafast", "qp": "0"})
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "rgb24"
        self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, 100)
        self._stream.codec_context.thread_count = 2
        self._first: int | None = None
        self._last = self._end = -2

    def add(self, image: UInt8, time: int, duration: int) -> None:
        self._first = time if self._first is None else self._first
        centiseconds = round((time - self._first) * self._time_base * 100)
        self._end = round((time - self._first + duration) * self._time_base * 100)
        if centiseconds < self._last + 2:  # viewers slow down frames shorter than 20 ms
            return
        frame = VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = centiseconds, Fraction(1, 100)
        self._last = centiseconds
        self._spool.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._spool.mux(self._stream.encode(None))
        self._spool.close()
        palette = self._palette()
        with av.open(f"file:{self._path.resolve()}", "w", format="gif", container_options=self._delay()) as container:
            stream = container.add_stream("gif", rate=100)
            stream.width, stream.height = self._size
            stream.pix_fmt = "pal8"
            stream.time_base = stream.codec_context.time_base = Fraction(1, 100)
            for frame in self._with_palette(palette):
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        remove(self._spool_path)

    def abort(self) -> None:
        close_quietly(self._spool)
        remove(self._spool_path)

    def _delay(self) -> dict[str, str]:
        return {"loop": "0", "final_delay": str(max(2, self._end - self._last))}

    def _frames(self) -> Iterator[VideoFrame]:
        with av.open(f"file:{self._spool_path.resolve()}") as spool:
            yield from spool.decode(video=0)

    def _palette(self) -> VideoFrame:
        """256 colours for all frames, as a 16 x 16 picture."""
        graph = Graph()
        source, end = None, graph.add("buffersink")
        for frame in self._frames():
            if source is None:
                source = _source(graph, frame)
                generate = graph.add("palettegen", "stats_mode=full:reserve_transparent=1")
                source.link_to(generate)
                generate.link_to(end)
                graph.configure()
            source.push(frame)
        assert source is not None
        source.push(None)
        return cast(VideoFrame, end.pull())

    def _with_palette(self, palette: VideoFrame) -> Iterator[VideoFrame]:
        graph = Graph()
        source, end = None, graph.add("buffersink")
        for frame in self._frames():
            if source is None:
                source, colours = _source(graph, frame), _source(graph, palette)
                use = graph.add("paletteuse", "dither=sierra2_4a:diff_mode=rectangle")
                source.link_to(use, 0, 0)
                colours.link_to(use, 0, 1)
                use.link_to(end)
                graph.configure()
                palette.pts, palette.time_base = 0, Fraction(1, 100)
                colours.push(palette)
                colours.push(None)
            source.push(frame)
            yield from _pulled(end)
        assert source is not None
        source.push(None)
        yield from _pulled(end)


def _source(graph: Graph, frame: VideoFrame) -> FilterContext:
    base = frame.time_base or Fraction(1, 100)
    return graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)


def _pulled(end: FilterContext) -> Iterator[VideoFrame]:
    """Frames that have come out of a filter graph so far."""
    while True:
        try:
            yield cast(VideoFrame, end.pull())
        except (BlockingIOError, EOFError):
            return


class PngSink:
    """A folder of PNGs and `times.csv`: file, time and duration in seconds.

    Raises:
        InputError: the folder holds other things.
    """

    def __init__(self, temporary: Path, path: Path, time_base: Fraction) -> None:
        self.notes: list[str] = []
        folder = png_folder(path)
        pattern = path.name if path.suffix else "%06d.png"
        if folder.exists() and not (folder.is_dir() and all(_is_ours(p) for p in folder.iterdir())):
            raise InputError(f"{folder}: exists and holds other things; choose a new folder for the PNGs")
        self._folder, self._pattern, self._time_base = temporary, pattern, time_base
        self._rows: list[tuple[str, str, str]] = []
        temporary.mkdir()

    def add(self, image: UInt8, time: int, duration: int) -> None:
        name = self._pattern % len(self._rows)
        _, png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 2])
        (self._folder / name).write_bytes(png.tobytes())
        self._rows.append((name, f"{float(time * self._time_base):.6f}", f"{float(duration * self._time_base):.6f}"))

    def finish(self) -> None:
        with (self._folder / "times.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("file", "time", "duration"), *self._rows])

    def abort(self) -> None:
        remove(self._folder)


def png_folder(path: Path) -> Path:
    """The folder that a path for PNGs names: itself, or that of `folder/%06d.png`."""
    return path.parent if path.suffix else path


def _is_ours(path: Path) -> bool:
    return path.name == "times.csv" or re.fullmatch(r"\D*\d+\D*\.png", path.name) is not None
