"""Decoded frames of clips, kept on disk as they are, so that any frame costs one read."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.data.bad import BadSample
from portrayal.data.clip_labels import mark
from portrayal.data.clips import Clip
from portrayal.errors import InputError, PortrayalError
from portrayal.media.atomic import complete_or_absent, make_parent
from portrayal.media.video import read_frames

Picture = NDArray[np.uint8]

RESERVE = 2 << 30
"""Bytes of the disk that the cache leaves free, for checkpoints."""
_log = logging.getLogger(__name__)


class FrameCache:
    """Frames of clips at one size.

    The first read of a clip decodes all of it into `<cache>/<clip>-<mark>.npy`, uint8 (t, size, size, 3); the mark
    changes with the video file and the size. Where the cache is None, cannot be written or is full, every read decodes.

    Args:
        cache: folder, made when needed.
        size: side in pixels; clips of another size are resized.
    """

    def __init__(self, cache: Path | None, size: int) -> None:
        self.cache, self.size = cache, size

    def read(self, clip: Clip, frames: Sequence[int]) -> list[Picture]:
        """Some frames of a clip, (size, size, 3) uint8 RGB each.

        Raises:
            BadSample: a video that cannot be read, is not square or has another number of frames than `clips.csv`.
        """
        try:
            path = self._file(clip)
            if path is not None:
                try:
                    stored = np.load(path, mmap_mode="r", allow_pickle=False)
                except ValueError:  # cut off when the machine stopped
                    path.unlink(missing_ok=True)
                    return self.read(clip, frames)
                return [np.array(stored[i]) for i in frames]
            return self._decode_some(clip, frames)
        except BadSample:
            raise
        except (InputError, OSError) as error:
            raise BadSample(clip.name, str(error)) from error

    def _file(self, clip: Clip) -> Path | None:
        """The clip's frames on disk, decoded now if need be; None where nothing can be written."""
        if self.cache is None:
            return None
        if not clip.video.is_file():
            raise BadSample(clip.name, f"{clip.video} does not exist, but clips.csv lists it; copy it again")
        path = self.cache / f"{clip.name}-{mark(clip.video, self.size)}.npy"
        if path.is_file():
            return path
        needed = clip.frames * self.size**2 * 3
        try:
            make_parent(path)
            if shutil.disk_usage(self.cache).free < needed + RESERVE:
                raise PortrayalError(f"{self.cache}: the disk is nearly full.")
            with complete_or_absent(path) as temporary:
                self._write(clip, temporary)
        except BadSample:
            raise
        except PortrayalError as error:
            _log.warning("%s Frames that are not in the cache yet are decoded each time, which is slower.", error)
            self.cache = None
            return None
        return path

    def _write(self, clip: Clip, path: Path) -> None:
        # Plain writes: a full disk is an error here, writing through a memory map would end the process.
        header = {"descr": "|u1", "fortran_order": False, "shape": (clip.frames, self.size, self.size, 3)}
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for picture in self._decode(clip):
                file.write(picture.tobytes())

    def _decode(self, clip: Clip) -> Iterator[Picture]:
        """Every frame, resized; there are exactly `clip.frames`."""
        count = 0
        try:
            for frame in read_frames(clip.video):
                count += 1
                if count <= clip.frames:
                    yield self._fit(clip, frame.image)
        except InputError as error:  # of this clip alone: the cache goes on
            raise BadSample(clip.name, str(error)) from error
        if count != clip.frames:
            sentence = f"{clip.video}: {count} frames, but clips.csv has frames = {clip.frames} for {clip.name}"
            raise BadSample(clip.name, f"{sentence}; prepare the clip again")

    def _decode_some(self, clip: Clip, frames: Sequence[int]) -> list[Picture]:
        wanted: dict[int, Picture] = {}
        for index, frame in enumerate(read_frames(clip.video)):
            if index in frames:
                wanted[index] = self._fit(clip, frame.image)
            if index >= max(frames):
                break
        if len(wanted) < len(set(frames)):
            sentence = f"{clip.video}: frame {max(frames)} is missing, clips.csv has frames = {clip.frames}"
            raise BadSample(clip.name, f"{sentence}; prepare the clip again")
        return [wanted[i] for i in frames]

    def _fit(self, clip: Clip, image: Picture) -> Picture:
        h, w = image.shape[:2]
        if h != w:
            raise BadSample(clip.name, f"{clip.video}: frames are {w}x{h}, clips must be square; prepare it again")
        if h == self.size:
            return image
        method = cv2.INTER_AREA if h > self.size else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(image, (self.size, self.size), interpolation=method), np.uint8)
