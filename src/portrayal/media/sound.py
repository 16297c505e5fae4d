"""The sound of a video carried over into another: copied packet by packet, so every sample stays as it is.

Packets keep their distance to the pictures, also those before time 0 that a player decodes but does not play (encoder
priming); MP4 writes an edit list for them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from portrayal.media.decode import clock_origin, open_media

SoundPacket: TypeAlias = "Packet[AudioStream]"

COPIED: dict[str, frozenset[str]] = {
    "mp4": frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"}),
    "mov": frozenset({"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le", "pcm_s16be", "pcm_s24be"}),
    "webm": frozenset({"opus", "vorbis"}),
}
"""Codecs that players expect in a container; others are encoded anew."""
_ENCODERS = {"mp4": ("aac", 192_000), "mov": ("aac", 192_000), "webm": ("libopus", 128_000)}


class Sound:
    """The main sound track of a file, to be muxed in step with new pictures.

    Args:
        path: a media file.
        container: where it goes; not yet started.
        format_name: a key of `COPIED`.

    Raises:
        InputError: the file cannot be opened.
    """

    def __init__(self, path: Path, container: OutputContainer, format_name: str) -> None:
        self.note: str | None = None
        """What the user should know, as a sentence; None if the sound was copied or there is none."""
        self._container, self._path = container, path
        self._stack = ExitStack()
        self._source = self._stack.enter_context(open_media(path))
        self._packets: Iterator[SoundPacket] = iter(())
        self._next: SoundPacket | None = None
        stream = self._source.streams.best("audio")
        if not isinstance(stream, AudioStream):
            return
        self._origin = clock_origin(self._source)
        if stream.codec_context is None or not stream.codec_context.sample_rate:
            self.note = f"the sound of {path} is in a format that cannot be read, and was left out"
            return
        if _codec(stream) in COPIED[format_name]:
            self._packets = self._copied(stream)
        else:
            encoder, bit_rate = _ENCODERS[format_name]
            self.note = f"the sound was encoded anew ({_codec(stream)} to {encoder.removeprefix('lib')})"
            self._packets = self._encoded(stream, encoder, bit_rate)
        self._next = next(self._packets, None)

    def mux_until(self, time: Fraction | None) -> None:
        """Mux what starts before `time` in seconds, or all that is left."""
        while (packet := self._next) is not None:
            if time is not None and packet.dts is not None and packet.dts * packet.time_base > time:
                return
            self._container.mux_one(packet)
            self._next = next(self._packets, None)

    def close(self) -> None:
        self._packets = iter(())
        self._stack.close()

    def _copied(self, stream: AudioStream) -> Iterator[SoundPacket]:
        """The packets with times counted in samples, so that coarse clocks (Matroska: 1 ms) leave no gaps."""
        rate = stream.codec_context.sample_rate
        output = self._container.add_stream_from_template(stream)
        output.time_base = Fraction(1, rate)
        frame_size = stream.codec_context.frame_size
        expected: int | None = None
        for packet in self._demuxed(stream):
            base = packet.time_base
            length = frame_size or round((packet.duration or 0) * base * rate)
            if packet.pts is None:
                start = expected or 0
            else:
                start = round((packet.pts * base - self._origin) * rate)
                likely = -_skipped(packet) if expected is None else expected
                if abs(start - likely) <= max(float(base * rate), 1):
                    start = likely
            expected = start + length
            packet.time_base = Fraction(1, rate)
            packet.pts = packet.dts = start
            packet.duration = length
            packet.stream = output
            yield packet

    def _encoded(self, stream: AudioStream, encoder: str, bit_rate: int) -> Iterator[SoundPacket]:
        context = stream.codec_context
        rate = 48_000 if encoder == "libopus" else min(context.sample_rate, 96_000)
        layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        output = self._container.add_stream(encoder, rate=rate, layout=layout)
        assert isinstance(output, AudioStream)
        output.bit_rate = bit_rate
        sample_format = output.codec_context.format.name
        output.codec_context.open()
        resampler = AudioResampler(
            format=sample_format, layout=layout, rate=rate, frame_size=output.codec_context.frame_size
        )
        for frame in self._decoded(stream):
            for part in resampler.resample(frame):
                yield from output.encode(part)
        for part in resampler.resample(None):
            yield from output.encode(part)
        yield from output.encode(None)

    def _decoded(self, stream: AudioStream) -> Iterator[AudioFrame]:
        for packet in self._demuxed(stream):
            try:
                for frame in packet.decode():
                    if isinstance(frame, AudioFrame):
                        if frame.pts is not None and frame.time_base:
                            frame.pts -= round(self._origin / frame.time_base)
                        yield frame
            except av.error.InvalidDataError:
                continue

    def _demuxed(self, stream: AudioStream) -> Iterator[SoundPacket]:
        """Packets with content; a damaged end of the sound ends it."""
        try:
            for packet in self._source.demux(stream):
                if packet.size:
                    yield packet
        except av.FFmpegError:
            self.note = f"the sound of {self._path} is damaged and was cut short"


def _codec(stream: AudioStream) -> str:
    """The codec's name, whichever decoder is used for it."""
    return stream.codec_context.codec.canonical_name


def _skipped(packet: SoundPacket) -> int:
    """Samples at the packet's beginning that are decoded but not played."""
    if not packet.has_sidedata("skip_samples"):
        return 0
    return int.from_bytes(bytes(packet.get_sidedata("skip_samples"))[:4], "little")
