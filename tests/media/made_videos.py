"""Videos made by the tests with PyAV directly, so that what is read back has another writer than ours."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def picture(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A smooth picture with a bright bar whose place tells its number."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(30, 220, width)
    image[..., 1] = np.linspace(40, 200, height)[:, None]
    image[..., 2] = 40
    left = number * 4 % (width - 8)
    image[:, left : left + 8] = 235
    return image


def bar(image: np.ndarray) -> int:
    """The number of a `picture`, modulo 22 for the default width."""
    columns = np.asarray(image, float).min(2).mean(0)
    return round((np.flatnonzero(columns > 160).mean() - 3.5) / 4)


def make_video(
    path: Path,
    times: list[Fraction],
    *,
    base: Fraction = Fraction(1, 90_000),
    codec: str = "libx264",
    size: tuple[int, int] = (96, 64),
    sound: str | None = None,
    sound_seconds: float = 1.0,
    sound_start: Fraction = Fraction(0),
    rotation: int | None = None,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write `picture(0)`, `picture(1)`, ... at the given times, and a noise as sound."""
    width, height = size
    pixels = {"gif": "rgb8", "ffv1": "bgr0", "prores_ks": "yuv422p10le"}.get(codec, "yuv420p")
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        video = container.add_stream(codec, rate=25, options=options or {})
        video.width, video.height, video.pix_fmt = width, height, pixels
        video.time_base = video.codec_context.time_base = base
        if rotation is not None:
            video.set_display_rotation(rotation)
        if aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        audio = container.add_stream(sound, rate=48_000, layout="stereo") if sound else None
        packets = []
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number, width, height), format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = round(time / base), base
            packets += video.encode(frame)
        packets += video.encode(None)
        if audio is not None:
            packets += encode_noise(audio, round(sound_seconds * 48_000), sound_start)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)
    return path


def encode_noise(stream, samples: int, start: Fraction = Fraction(0)) -> list:
    """Reproducible noise, whose samples tell whether a decoder gave the same ones."""
    values = np.random.default_rng(0).normal(0, 4000, (1, samples * 2)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(values, format="s16", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, round(start * 48_000), Fraction(1, 48_000)
    kind = stream.codec_context.format.name
    resampler = av.AudioResampler(format=kind, layout="stereo", rate=48_000, frame_size=960)
    parts = resampler.resample(frame) + resampler.resample(None)
    return [p for part in [*parts, None] for p in stream.encode(part)]


def decode_sound(path: Path) -> tuple[float, np.ndarray]:
    """Time of the first played sample and all samples, (channels, n), as FFmpeg plays them."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    channels = len(frames[0].layout.channels)
    arrays = [f.to_ndarray() for f in frames]
    if not frames[0].format.is_planar:
        arrays = [a.reshape(-1, channels).T for a in arrays]
    return float(frames[0].time), np.concatenate(arrays, 1)


def every(step: Fraction, count: int, start: Fraction = Fraction(0)) -> list[Fraction]:
    return [start + step * k for k in range(count)]
