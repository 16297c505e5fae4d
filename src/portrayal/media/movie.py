"""MP4, MOV and WebM files: pictures encoded or copied, and sound muxed in step with them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from portrayal.media.decode import open_media
from portrayal.media.image import UInt8
from portrayal.media.sound import Sound

_SOUND_AHEAD = Fraction(1, 2)
"""Seconds by which sound is muxed ahead of the pictures, so that players need not seek."""


class Movie:
    """A container being written, to which one stream of pictures and maybe sound belong.

    Args:
        path: where; the name need not fit the kind.
        kind: "mp4", "mov" or "webm".
        time_base: of the pictures.
        sound_from: a media file, or None.
    """

    def __init__(self, path: Path, kind: str, time_base: Fraction, sound_from: Path | None) -> None:
        options = {}
        if kind in ("mp4", "mov"):
            # Empty edits, which delay a track that does not begin at 0, are counted in ticks of the movie's time scale.
            options = {"movflags": "+faststart", "movie_timescale": str(_movie_timescale(time_base, sound_from))}
        self.container = av.open(f"file:{path.resolve()}", "w", format=kind, container_options=options)
        self.notes: list[str] = []
        self._kind, self._sound_from = kind, sound_from
        self._sound: Sound | None = None

    def start(self) -> None:
        """Add the sound; the stream of pictures must have been added before."""
        if self._sound_from is not None:
            self._sound = Sound(self._sound_from, self.container, self._kind)

    def mux(self, packets: Iterable[Packet[VideoStream]]) -> None:
        for packet in packets:
            if self._sound is not None and packet.dts is not None:
                self._sound.mux_until(packet.dts * packet.time_base + _SOUND_AHEAD)
            self.container.mux_one(packet)

    def finish(self) -> None:
        if self._sound is not None:
            self._sound.mux_until(None)
            self.notes += [self._sound.note] if self._sound.note else []
            self._sound.close()
        self.container.close()

    def abort(self) -> None:
        """Close what will be thrown away; its disk may be full."""
        if self._sound is not None:
            self._sound.close()
        with suppress(av.FFmpegError, OSError, ValueError):
            self.container.close()


class MovieSink:
    """Encodes pictures into a `Movie`: H.264 in MP4 and MOV, VP9 in WebM.

    Args:
        size: (width, height) of the pictures.
        rate: nominal frames per second, for the level that the stream declares.
        quality: on x264's scale; None encodes H.264 RGB without loss, which few players show.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        size: tuple[int, int],
        time_base: Fraction,
        *,
        rate: Fraction = Fraction(25),
        quality: int | None,
        sound_from: Path | None = None,
    ) -> None:
        self._movie = Movie(path, kind, time_base, sound_from)
        self._time_base, self._lossless = time_base, quality is None
        self._reformatter = VideoReformatter()
        try:
            self._stream = self._add_stream(kind, size, rate, quality)
            self._movie.start()
        except BaseException:
            self.abort()
            raise

    @property
    def notes(self) -> list[str]:
        return self._movie.notes

    def _add_stream(self, kind: str, size: tuple[int, int], rate: Fraction, quality: int | None) -> VideoStream:
        width, height = size
        threads = max(1, min(4, os.cpu_count() or 1, 1 + width * height // 600_000))
        if quality is None:
            codec, options = "libx264rgb", {"preset": "ultrafast", "qp": "0"}
        elif kind == "webm":
            codec = "libvpx-vp9"
            options = {"crf": str(quality + 8), "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"}
        else:
            # Without B-frames the last sample's duration, and with it the end of the track, is exact.
            # x264's vector code for macroblock trees gives one file in a hundred other bytes; resuming needs the same.
            exact = {"x264-params": "cpu-independent=1"}
            codec, options = "libx264", {"crf": str(quality), "preset": "veryfast", "bf": "0", "g": "120", **exact}
            width, height = width + width % 2, height + height % 2
        stream = self._movie.container.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb24" if quality is None else "yuv420p"
        stream.time_base = context.time_base = self._time_base
        context.thread_count = threads
        context.flags |= av.codec.context.Flags.frame_duration
        if quality is not None:
            context.colorspace, context.color_range = 1, ColorRange.MPEG  # 1: BT.709
            context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return stream

    def add(self, image: UInt8, time: int, duration: int) -> None:
        bottom, right = self._stream.height - image.shape[0], self._stream.width - image.shape[1]
        if bottom or right:
            image = np.asarray(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE), np.uint8)
        frame = VideoFrame.from_ndarray(image, format="rgb24")
        if not self._lossless:
            frame = self._reformatter.reformat(
                frame,
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.MPEG,
                threads=1,
            )
            frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        frame.pts, frame.duration, frame.time_base = time, duration, self._time_base
        self._movie.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._movie.mux(self._stream.encode(None))
        self._movie.finish()

    def abort(self) -> None:
        self._movie.abort()


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
