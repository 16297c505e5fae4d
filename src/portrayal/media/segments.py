"""Videos that can be continued: an interrupted run leaves its finished stretches, the next one starts after them."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from portrayal.errors import PortrayalError
from portrayal.media.atomic import complete_or_absent, make_parent, remove
from portrayal.media.decode import open_video, read_frames
from portrayal.media.encode import VideoWriter, like, output_kind
from portrayal.media.image import UInt8
from portrayal.media.movie import Movie

_VERSION = 1


class SegmentedWriter:
    """Like `VideoWriter`, but what was written survives an interruption.

    Frames go into closed segments in the folder `<path>.part`. When the `with` block ends normally they are joined
    without encoding them again (GIF and PNG: from lossless segments), the output appears and the folder vanishes. On an
    exception the unfinished segment is dropped and the folder stays. A later writer with the same path, key and size
    finds it: the caller leaves out the first `frames_done` frames and writes the rest.

        with SegmentedWriter(path, key=key, width=w, height=h, sound_from=driving) as writer:
            for image, time in render(start=writer.frames_done):
                writer.write(image, time)

    Args:
        key: says which frames these are, such as a hash over all inputs and options; a folder with another key, size or
            version is thrown away.
        segment_frames: frames per segment, at most that many are lost.
        path, width, height, sound_from, time_base, quality: as of `VideoWriter`, with its errors.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        key: str,
        width: int,
        height: int,
        sound_from: str | Path | None = None,
        time_base: Fraction | None = None,
        quality: int = 18,
        segment_frames: int = 120,
    ) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        """What the user should know about the sound, as sentences; complete at the end."""
        self._kind = output_kind(path)
        self._sound_from = Path(sound_from) if sound_from else None
        info = like(self._sound_from)
        self._base = time_base or (info.time_base if info else Fraction(1, 90_000))
        self._end = info.end if info else None
        self._size, self._quality, self._segment_frames = (width, height), quality, segment_frames
        name = self.path.name if "%" not in self.path.name else self.path.parent.name
        place = self.path.parent if "%" not in self.path.name else self.path.parent.parent
        self.folder = place / f"{name}.part"
        """Where segments wait."""
        state = [_VERSION, key, width, height, str(self._base), quality, self._kind]
        self._open_folder(json.dumps(state))
        self._segments = _segments(self.folder)
        self._writer: VideoWriter | None = None
        self._in_segment = 0

    @property
    def frames_done(self) -> int:
        """Frames that finished segments hold: those of earlier runs, and those of this one so far."""
        return sum(count for _, count in self._segments)

    def write(self, image: UInt8, time: Fraction, duration: Fraction | None = None) -> None:
        """Append a frame, as `VideoWriter.write`."""
        if self._in_segment == self._segment_frames:
            self._close_segment()
        if self._writer is None:
            self._writer = self._new_segment()
        self._writer.write(image, time, duration)
        self._in_segment += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            if self._writer is not None:
                self._writer.__exit__(kind, error, trace)
            if not self._segments:
                remove(self.folder)
            return
        if self._writer is not None:
            self._writer.end = self._end
            self._close_segment()
        if not self._segments:
            remove(self.folder)
            raise ValueError(f"{self.path}: no frame was written")
        self._publish()
        remove(self.folder)

    def _open_folder(self, state: str) -> None:
        """Keep the folder of an earlier run with the same state, else begin an empty one."""
        note = self.folder / "state.json"
        try:
            if note.is_file() and note.read_text() == state:
                return
        except (OSError, UnicodeDecodeError):
            pass
        remove(self.folder)
        make_parent(note)
        with complete_or_absent(note) as temporary:
            temporary.write_text(state)

    def _new_segment(self) -> VideoWriter:
        width, height = self._size
        kind, quality = (self._kind, self._quality) if self._kind in ("mp4", "mov", "webm") else ("mp4", None)
        path = self.folder / f"current.{kind}"
        return VideoWriter(path, width=width, height=height, time_base=self._base, quality=quality)

    def _close_segment(self) -> None:
        assert self._writer is not None
        writer, self._writer = self._writer, None
        writer.__exit__(None, None, None)
        place = self.folder / f"{self.frames_done:08d}-{self._in_segment}{writer.path.suffix}"
        writer.path.rename(place)
        self._segments.append((place, self._in_segment))
        self._in_segment = 0

    def _publish(self) -> None:
        """Join the segments into the output."""
        paths = [path for path, _ in self._segments]
        if self._kind in ("gif", "png"):
            width, height = self._size
            with VideoWriter(self.path, width=width, height=height, time_base=self._base) as writer:
                for path in paths:
                    for frame in read_frames(path):
                        writer.write(frame.image, frame.time, frame.duration)
            return
        with complete_or_absent(self.path) as temporary:
            try:
                self.notes += join(paths, temporary, self._kind, self._sound_from)
            except av.FFmpegError as error:
                if isinstance(error, OSError):
                    raise
                message = f"{self.path}: the parts in {self.folder} cannot be joined; delete that folder and run again"
                raise PortrayalError(message) from error


def join(paths: list[Path], output: Path, kind: str, sound_from: Path | None) -> list[str]:
    """Put videos of the same encoder one after the other by copying their packets; their times stay.

    Returns:
        What the user should know about the sound, as sentences.
    """
    with ExitStack() as stack:
        _, template = stack.enter_context(open_video(paths[0]))
        assert template.time_base is not None
        movie = Movie(output, kind, template.time_base, sound_from)
        try:
            stream = movie.container.add_stream_from_template(template)
            stream.codec_context.framerate = template.average_rate or Fraction(25)  # WebM needs it for durations
            movie.start()
            for path in paths:
                with open_video(path) as (container, part):
                    for packet in container.demux(part):
                        if packet.size:
                            packet.stream = stream
                            movie.mux([packet])
            movie.finish()
        except BaseException:
            movie.abort()
            raise
    return movie.notes


def _segments(folder: Path) -> list[tuple[Path, int]]:
    """Finished segments without a gap, in order, with their numbers of frames; what else lies there is deleted."""
    found: list[tuple[Path, int]] = []
    done = 0
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(r"(\d{8})-(\d+)\.\w+", path.name)
        if match and int(match[1]) == done:
            found.append((path, int(match[2])))
            done += int(match[2])
        elif path.name != "state.json":
            remove(path)
    return found
