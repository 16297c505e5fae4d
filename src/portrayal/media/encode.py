"""Videos out: MP4, MOV, WebM, GIF or a folder of PNGs, encoded in a background thread.

Files appear only when complete; sound is copied from the driving video; each frame keeps its time.
"""

from __future__ import annotations

import os
import queue
import re
import threading
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from portrayal.errors import InputError, PortrayalError
from portrayal.media.atomic import make_parent, remove, temporary_beside, writing_error
from portrayal.media.decode import VideoInfo, probe
from portrayal.media.image import UInt8
from portrayal.media.movie import MovieSink
from portrayal.media.sinks import GifSink, PngSink, Sink, check_png_folder, png_folder

_BEHIND = 4
"""Frames waiting for the encoder."""

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".webm": "webm", ".gif": "gif"}
"""Extension to kind of output. A folder of PNGs is asked for by a pattern or by a name without extension."""

Item = tuple[UInt8, int, int]
"""A frame, its time and its duration in ticks."""


def output_kind(path: str | Path) -> str:
    """The kind of output that a path asks for: one of the values of `FORMATS`, or "png".

    Raises:
        InputError: an extension that cannot be written.
    """
    path = Path(path)
    if not path.suffix or re.fullmatch(r"[^%]*%0?\d?d[^%]*\.png", path.name):
        return "png"
    if kind := FORMATS.get(path.suffix.lower()):
        return kind
    known = ", ".join(FORMATS)
    raise InputError(f"{path}: videos are written as {known}, or as PNGs into FOLDER/%06d.png; choose one of these")


class VideoWriter:
    """Write frames with their times; use it as a context manager.

    MP4 and MOV: H.264 yuv420p, index at the front, BT.709, an odd width or height is padded by one repeated pixel.
    WebM: VP9. GIF: one palette for all frames, times in steps of 10 ms from 0, at most 50 frames per second (more are
    left out). `folder/%06d.png`, or a name without extension for `%06d.png` in that folder: PNGs and `times.csv`; the
    folder must be new, empty or of an earlier run. Times are exact to a tick of `time_base` (WebM: 1 ms, GIF: 10 ms).
    When the `with` block ends normally the file appears in its place; on any exception nothing is left.

    Args:
        path: the output; its extension decides.
        width, height: of every frame, pixels.
        sound_from: a media file whose sound is taken over; may have none.
        time_base: seconds per tick; None takes that of the video in `sound_from`, else 1/90000.
        quality: constant quality of H.264 and VP9 on x264's scale; smaller is better, 18 shows no difference. None
            keeps every pixel as it is (MP4 and MOV only; few players show that).

    Raises:
        InputError: an extension or a place that cannot be written, an unreadable `sound_from`.
        PortrayalError: the disk is full (from `write` or at the end).
    """

    def __init__(
        self,
        path: str | Path,
        *,
        width: int,
        height: int,
        sound_from: str | Path | None = None,
        time_base: Fraction | None = None,
        quality: int | None = 18,
    ) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        """What the user should know about the sound, as sentences."""
        self._kind = kind = output_kind(path)
        sound = Path(sound_from) if sound_from else None
        self.end: Fraction | None = None
        """Time at which the last frame ends, if `write` is not told its duration; None repeats the last distance."""
        info = like(sound)
        if info is not None:
            self.end = info.end
        self._shape = (height, width, 3)
        self._base = Fraction(1, 1000) if kind == "webm" else _fine(time_base or _time_base(info))
        self._time: Fraction | None = None
        self._pending: tuple[UInt8, int, int | None] | None = None
        self._step = round(Fraction(1, 25) / self._base)
        self._target = png_folder(self.path) if kind == "png" else self.path
        if kind != "png" and self._target.is_dir():
            raise InputError(f"{self.path}: is a folder; choose another output")
        make_parent(self._target)
        self._temporary = temporary_beside(self._target)
        self._queue: queue.Queue[Item | None] = queue.Queue(maxsize=_BEHIND)
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._sink: Sink
        try:
            if kind == "png":
                self._sink = PngSink(self._temporary, self.path, self._base)
            elif kind == "gif":
                self._sink = GifSink(self._temporary, (width, height), self._base)
            else:
                self._sink = MovieSink(
                    self._temporary,
                    kind,
                    (width, height),
                    self._base,
                    rate=info.rate if info else Fraction(25),
                    quality=quality,
                    sound_from=sound,
                )
        except BaseException as error:
            remove(self._temporary)
            if isinstance(error, OSError) and not isinstance(error, PortrayalError):
                raise writing_error(error, self.path) from error
            raise
        self._thread = threading.Thread(target=self._work, name="encode", daemon=True)
        self._thread.start()

    def write(self, image: UInt8, time: Fraction, duration: Fraction | None = None) -> None:
        """Append a frame.

        Args:
            image: (height, width, 3) uint8 RGB; copied, so it may be reused at once.
            time: presentation time in seconds, later than the previous frame's.
            duration: seconds; only the last frame's matters. None lasts to the end of the pictures in `sound_from`,
                or repeats the previous distance.

        Raises:
            ValueError: another size or type, or a time that does not grow.
            PortrayalError: the disk is full or the encoder failed, maybe at an earlier frame.
        """
        if image.shape != self._shape or image.dtype != "uint8":
            raise ValueError(f"frames must be {self._shape} uint8, got {image.shape} {image.dtype}")
        if self._time is not None and time <= self._time:
            raise ValueError(f"frame times must grow, but {time} s follows {self._time} s")
        self._time, pts = time, round(time / self._base)
        if self._pending is not None:
            previous, start, _ = self._pending
            pts = max(pts, start + 1)  # two frames within one tick
            self._step = pts - start
            self._put((previous, start, self._step))
        self._pending = image.copy(), pts, None if duration is None else max(1, round(duration / self._base))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        else:
            self._abort()

    def _finish(self) -> None:
        try:
            if self._pending is None:
                raise ValueError(f"{self.path}: no frame was written")
            image, start, duration = self._pending
            if duration is None:
                rest = 0 if self.end is None else round(self.end / self._base) - start
                duration = rest if rest > 0 else self._step
            self._put((image, start, duration))
            self._put(None)
            self._thread.join()
            self._raise()
            if self._kind == "png":
                check_png_folder(self._target)
                remove(self._target)
            os.replace(self._temporary, self._target)
        except OSError as error:
            self._abort()
            raise error if isinstance(error, PortrayalError) else writing_error(error, self.path) from error
        except BaseException:
            self._abort()
            raise
        self.notes += self._sink.notes

    def _abort(self) -> None:
        self._stop.set()
        self._thread.join()
        self._sink.abort()
        remove(self._temporary)

    def _put(self, item: Item | None) -> None:
        while True:
            self._raise()
            try:
                return self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue

    def _raise(self) -> None:
        if isinstance(self._error, PortrayalError):
            raise self._error
        if isinstance(self._error, OSError):
            raise writing_error(self._error, self.path) from self._error
        if isinstance(self._error, av.FFmpegError):
            raise PortrayalError(f"{self.path}: the encoder failed ({self._error.strerror})") from self._error
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        """The encoder's thread."""
        try:
            while not self._stop.is_set():
                try:
                    item = self._queue.get(timeout=0.1)
                except queue.Empty:
                    continue
                if item is None:
                    return self._sink.finish()
                self._sink.add(*item)
        except BaseException as error:  # handed to the writer
            self._error = error


def like(path: Path | None) -> VideoInfo | None:
    """The video in `path` whose clock an output follows; None for a pure sound file or none."""
    try:
        return probe(path) if path else None
    except InputError:
        return None


def _time_base(info: VideoInfo | None) -> Fraction:
    return info.time_base if info else Fraction(1, 90_000)


def _fine(base: Fraction) -> Fraction:
    """One over a whole number of at least 10,000 ticks per second, of which `base` is a multiple."""
    ticks = base.denominator
    while ticks < 10_000:
        ticks *= 2
    return Fraction(1, ticks) if ticks < 2**31 else Fraction(1, 90_000)
