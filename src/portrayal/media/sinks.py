"""What `VideoWriter` writes into: movies (see `movie`), GIF, and folders of PNGs."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol, cast

import av
import cv2
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

from portrayal.errors import InputError
from portrayal.media.atomic import remove, temporary_beside
from portrayal.media.decode import open_video
from portrayal.media.image import UInt8
from portrayal.media.movie import MovieSink


class Sink(Protocol):
    """One output being written at a temporary place."""

    @property
    def notes(self) -> list[str]:
        """What the user should know, as sentences; complete after `finish`."""
        ...

    def add(self, image: UInt8, time: int, duration: int) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...


class GifSink:
    """GIF with one palette made from all frames, which are kept losslessly in a file beside until the end."""

    def __init__(self, path: Path, size: tuple[int, int], time_base: Fraction) -> None:
        self.notes: list[str] = []
        self._path, self._time_base, self._size = path, time_base, size
        self._kept_path = temporary_beside(path)
        self._kept = MovieSink(self._kept_path, "mp4", size, Fraction(1, 100), quality=None)
        self._first: int | None = None
        self._last = self._end = -2

    def add(self, image: UInt8, time: int, duration: int) -> None:
        self._first = time if self._first is None else self._first
        start = round((time - self._first) * self._time_base * 100)
        self._end = round((time - self._first + duration) * self._time_base * 100)
        if start >= self._last + 2:  # viewers slow down what is shown for less than 20 ms
            self._kept.add(image, start, 2)
            self._last = start

    def finish(self) -> None:
        self._kept.finish()
        palette = self._palette()
        options = {"loop": "0", "final_delay": str(max(2, self._end - self._last))}
        with av.open(f"file:{self._path.resolve()}", "w", format="gif", container_options=options) as container:
            stream = container.add_stream("gif", rate=100)
            stream.width, stream.height = self._size
            stream.pix_fmt = "pal8"
            stream.time_base = stream.codec_context.time_base = Fraction(1, 100)
            for frame in self._with_palette(palette):
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        remove(self._kept_path)

    def abort(self) -> None:
        self._kept.abort()
        remove(self._kept_path)

    def _frames(self) -> Iterator[VideoFrame]:
        with open_video(self._kept_path) as (container, stream):
            yield from container.decode(stream)

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
                use = graph.add("paletteuse", "dither=bayer:bayer_scale=4:diff_mode=rectangle")
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
        check_png_folder(folder)
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


def check_png_folder(folder: Path) -> None:
    """Raise InputError if `folder` exists and holds anything but PNGs of an earlier run, which may be replaced."""
    if folder.exists() and not (folder.is_dir() and all(_is_ours(p) for p in folder.iterdir())):
        raise InputError(f"{folder}: exists and holds other things; choose a new folder for the PNGs")


def _is_ours(path: Path) -> bool:
    return path.name == "times.csv" or re.fullmatch(r"\D*\d+\D*\.png", path.name) is not None
