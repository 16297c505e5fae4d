"""Videos in: what a file holds, and its frames with exact times.

Times are the file's own presentation times, as fractions. Only formats whose clock starts anywhere (MPEG transport and
program streams) are counted from their first packet, picture or sound, so that both keep their distance.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from portrayal.errors import InputError
from portrayal.media.image import UInt8, check_file
from portrayal.types import Frame

_log = logging.getLogger(__name__)

_NO_VIDEO_FORMATS = {"tty", "hls", "dash", "concat", "image2", "lavfi", "ffmetadata"}
"""Demuxers that make pictures of text, or open other files and addresses that the given file names."""
_FREE_CLOCKS = {"mpegts", "mpeg"}
_AHEAD = 4
"""Frames decoded ahead of the reader: 100 MB for 4K."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds."""

    path: Path
    width: int
    height: int
    """Size of the upright frame in square pixels, as `read_frames` gives it."""
    rate: Fraction
    """Mean frames per second."""
    frames: int | None
    """Number of frames as the file says, or estimated from its duration; None if it says neither."""
    duration: Fraction
    """Seconds from the first frame's time to the last frame's end; 0 if the file does not say."""
    end: Fraction | None
    """Time at which the last frame ends; None if the file does not say so of the pictures alone."""
    time_base: Fraction
    """Seconds per tick of the file's frame times: every frame time is a multiple of it."""
    has_sound: bool
    rotation: int
    """Degrees clockwise by which the stored frames were turned to stand upright: 0, 90, 180 or 270."""


def probe(path: str | Path) -> VideoInfo:
    """Read the header and the first frame of a video.

    Raises:
        InputError: missing, empty, cut off or broken file, no media file, or no video in it.
    """
    with open_video(path) as (container, stream):
        first = next(_decode(container, stream, Path(path)), None)
        if first is None:
            raise _no_frames(Path(path))
        matrix = _display_matrix(first)
        width, height = round(first.width * _aspect(stream)), first.height
        if not matrix[0]:
            width, height = height, width
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        duration, end = Fraction(0), None
        if stream.duration and stream.time_base:
            duration = stream.duration * stream.time_base
            end = (stream.start_time or 0) * stream.time_base + duration - clock_origin(container)
        elif container.duration:
            duration = _promised_end(container) - (first.pts or 0) * (first.time_base or Fraction(0))
        frames = stream.frames or round(duration * rate) or None
        return VideoInfo(
            path=Path(path),
            width=width,
            height=height,
            rate=Fraction(rate),
            frames=frames,
            duration=duration,
            end=end,
            time_base=stream.time_base or Fraction(1, 90000),
            has_sound=bool(container.streams.audio),
            rotation=_rotation(matrix),
        )


def read_frames(path: str | Path, *, start: int = 0, max_side: int | None = None) -> Iterator[Frame]:
    """Decode a video in a background thread, a few frames ahead.

    Args:
        path: any file that FFmpeg reads; only this one file is opened.
        start: number of frames to leave out at the beginning.
        max_side: reduce frames to at most this many pixels on the longer side.

    Yields:
        Frames in order of time, upright, in square pixels, 8-bit RGB; their times grow strictly. A damaged frame in
        the middle is left out (logged). High dynamic range is not tone-mapped.

    Raises:
        InputError: as `probe`; also when the file ends before the end that its header promises. Frames up to the cut
            have been yielded then, but a result made of them would be shorter than the user believes.
    """
    path = Path(path)
    done = threading.Event()
    frames: queue.Queue[Frame | BaseException | None] = queue.Queue(maxsize=_AHEAD)

    def put(item: Frame | BaseException | None) -> None:
        while not done.is_set():
            try:
                frames.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for frame in _frames(path, start, max_side, done):
                put(frame)
            put(None)
        except BaseException as error:  # handed to the reader
            put(error)

    thread = threading.Thread(target=work, name="decode", daemon=True)
    thread.start()
    try:
        while (item := frames.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        done.set()
        thread.join()


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file's container and its main video stream (cover pictures of songs do not count).

    Raises:
        InputError: as `probe`.
    """
    path = Path(path)
    with open_media(path) as container:
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams or container.format.name in _NO_VIDEO_FORMATS:
            raise InputError(f"{path}: there is no video in this file; give a video such as MP4, MOV, WebM or GIF")
        best = container.streams.best("video")
        stream = next((s for s in streams if best is not None and s.index == best.index), streams[0])
        if stream.codec_context is None:
            raise InputError(f"{path}: no decoder for this video's codec; convert it to H.264 MP4")
        _check_complete(stream, path)
        yield container, stream


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """Open one media file, nothing that it refers to.

    Raises:
        InputError: missing, empty or unreadable file, or no media file.
    """
    check_file(path)
    try:
        container = av.open(f"file:{path.resolve()}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        message = f"{path}: this is not a video that can be read, or it is cut off; get a complete copy or convert it"
        raise InputError(message) from error
    with container:
        yield container


def clock_origin(container: InputContainer) -> Fraction:
    """Seconds to subtract from the file's times (see the module's docstring)."""
    if container.format.name in _FREE_CLOCKS and container.start_time is not None:
        return Fraction(container.start_time, av.time_base)
    return Fraction(0)


def _frames(path: Path, start: int, max_side: int | None, done: threading.Event) -> Iterator[Frame]:
    """The work of `read_frames` without the thread."""
    reformatter = VideoReformatter()
    with open_video(path) as (container, stream):
        origin, ratio = clock_origin(container), _aspect(stream)
        step = 1 / Fraction(stream.average_rate or stream.guessed_rate or 25)
        index, dropped, time, size = 0, 0, Fraction(0), None
        for frame in _decode(container, stream, path):
            if done.is_set():
                return
            base = frame.time_base or stream.time_base
            previous, time = time, (time + step if frame.pts is None or base is None else frame.pts * base - origin)
            if index and time <= previous:
                time, dropped = previous, dropped + 1
                continue
            size = size or _fitted(frame, ratio, max_side)  # later frames may have another resolution
            if index >= start:
                duration = frame.duration * base if frame.duration and base else None
                yield Frame(_to_rgb(frame, reformatter, size), time, duration)
            index += 1
        if not index:
            raise _no_frames(path)
        if dropped:
            _log.warning("%s: %d frames share their time with another and were left out", path, dropped)


def _decode(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[VideoFrame]:
    """Decode one stream; every packet of the file is seen, so that a missing end is noticed."""
    stream.codec_context.thread_type = "AUTO"
    stream.codec_context.thread_count = min(4, os.cpu_count() or 1)
    reached, seen, damaged = 0.0, 0, 0
    try:
        for packet in container.demux():
            if packet.dts is not None and packet.time_base is not None:
                reached = max(reached, float((packet.dts + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index != stream.index:
                continue
            seen += 1
            try:
                yield from packet.decode()  # type: ignore[misc]
            except av.error.InvalidDataError:
                damaged += 1
    except av.FFmpegError as error:
        raise _cut_off(path) from error
    if damaged:
        _log.warning("%s: %d damaged frames were left out", path, damaged)
    end = float(_promised_end(container))
    promised = 0 if "mp4" in container.format.name else stream.frames  # MP4's edits may leave frames out
    if reached < 0.98 * end - 0.5 or seen < 0.9 * promised:
        raise _cut_off(path)


def _promised_end(container: InputContainer) -> Fraction:
    """Seconds on the file's clock at which it ends by its header; 0 if that does not say."""
    counted_from_zero = "matroska" in container.format.name
    start = 0 if counted_from_zero else container.start_time or 0
    return Fraction(start + container.duration, av.time_base) if container.duration else Fraction(0)


def _check_complete(stream: VideoStream, path: Path) -> None:
    """MP4 and MOV list where each frame lies: the last one must lie inside the file."""
    entries = stream.index_entries
    if len(entries) and entries[-1].pos + entries[-1].size > path.stat().st_size:
        raise _cut_off(path)


def _fitted(frame: VideoFrame, ratio: Fraction, max_side: int | None) -> tuple[int, int]:
    """(width, height) of the stored frame in square pixels, at most `max_side`."""
    width, height = max(1, round(frame.width * ratio)), frame.height
    scale = 1.0 if max_side is None else min(1.0, max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _to_rgb(frame: VideoFrame, reformatter: VideoReformatter, size: tuple[int, int]) -> UInt8:
    """An upright 8-bit RGB picture. Unlabelled colours are BT.709 from 720 lines on, else BT.601, as players assume."""
    full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    unlabelled = Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
    rgb = reformatter.reformat(
        frame,
        *size,
        "rgb24",
        src_colorspace=None if frame.format.is_rgb else _COLORSPACES.get(frame.colorspace, unlabelled),
        src_color_range=ColorRange.JPEG if full or frame.format.is_rgb else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation="AREA" if size != (frame.width, frame.height) else None,
        threads=1,
    )
    return _upright(np.asarray(rgb.to_ndarray(), np.uint8), _display_matrix(frame))


_COLORSPACES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""ISO/IEC 23091-2 matrix coefficients to swscale's names."""


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """(a, b, c, d), each -1, 0 or 1: a stored pixel (x, y) is shown at (a x + c y, b x + d y), up to a shift."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(data, SideData):
        return 1, 0, 0, 1
    m = np.frombuffer(bytes(data), "<i4")[[0, 1, 3, 4]].astype(float)
    if abs(m[0]) + abs(m[3]) >= abs(m[1]) + abs(m[2]):
        return (-1 if m[0] < 0 else 1), 0, 0, (-1 if m[3] < 0 else 1)
    return 0, (-1 if m[1] < 0 else 1), (-1 if m[2] < 0 else 1), 0


def _upright(image: UInt8, matrix: tuple[int, int, int, int]) -> UInt8:
    """Turn and mirror by the display matrix."""
    a, b, c, d = matrix
    if not a:
        image = image.transpose(1, 0, 2)
    image = image[:: b + d, :: a + c]
    return np.ascontiguousarray(image)


def _rotation(matrix: tuple[int, int, int, int]) -> int:
    """Degrees clockwise; mirroring is not part of it."""
    return {(1, 0): 0, (0, 1): 90, (-1, 0): 180, (0, -1): 270}[matrix[:2]]


def _aspect(stream: VideoStream) -> Fraction:
    """Width of a stored pixel / its height; 1 where the file says nothing or nonsense."""
    ratio = stream.sample_aspect_ratio
    return Fraction(ratio) if ratio and Fraction(1, 8) <= ratio <= 8 else Fraction(1)


def _no_frames(path: Path) -> InputError:
    return InputError(f"{path}: the video has no frame that can be decoded; get a complete copy or convert it")


def _cut_off(path: Path) -> InputError:
    return InputError(f"{path}: the video is cut off or damaged; get a complete copy or convert what is left of it")
