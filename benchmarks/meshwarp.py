"""The mesh warp in numbers and pictures: reconstruction and speed for docs/results.md, contact sheets for docs/images.

    python benchmarks/meshwarp.py --data ../shared/data

Reconstruction: the first frame of each validation clip, moved by the labelled landmarks of random other frames of that
clip, against those frames at 128 x 128; beside it the first frame itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from portrayal.data.clips import Clip, clip_table, load_clip_landmarks, load_photo_landmarks, photo_table
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.tracker import load_tracker
from portrayal.media.crop import Crop, apply_crop, crop_around, params_to_crop
from portrayal.media.image import read_image, to_tensor, to_uint8
from portrayal.media.paste import Paster
from portrayal.media.video import read_frames
from portrayal.motion.builtin import builtin_motion
from portrayal.motion.retarget import retarget
from portrayal.systems import meshwarp
from portrayal.tracking import follow_faces
from portrayal.types import Driving, FaceParams, Portrait

UInt8 = NDArray[np.uint8]
COLUMNS = 7


@dataclass(frozen=True)
class Options:
    data: Path = Path("../shared/data")
    """Folder of labelled faces."""
    images: Path = Path("docs/images")
    """Where the contact sheets go."""
    frames_per_clip: int = 6
    threads: int = 1


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    console = Console()
    warped, copied = reconstruction(options.data, options.frames_per_clip)
    console.print(f"reconstruction, {len(warped)} frames: {np.mean(warped):.2f} dB; copied {np.mean(copied):.2f} dB")
    console.print(f"speed at 512 x 512, {options.threads} thread(s): {speed(options.data):.1f} ms per frame")
    options.images.mkdir(parents=True, exist_ok=True)
    for name, rows in (("meshwarp_validation", validation_sheet), ("meshwarp_raw", raw_sheet)):
        path = options.images / f"{name}.jpg"
        Image.fromarray(np.concatenate(list(rows(options.data)))).save(path, quality=85)
        console.print(f"{path}: {path.stat().st_size // 1000} kB")


def reconstruction(root: Path, frames_per_clip: int) -> tuple[list[float], list[float]]:
    """Peak signal-to-noise ratio in dB per frame: of the mesh warp, and of the first frame."""
    rng = np.random.default_rng(0)
    model = meshwarp.build(meshwarp.Config.compact())
    warped: list[float] = []
    copied: list[float] = []
    for clip in track(clip_table(root, "validation"), "clips"):
        labels, valid = load_clip_landmarks(root, clip)
        seen = np.flatnonzero(valid)
        picked = rng.choice(seen[1:], frames_per_clip, replace=False)
        images = [frame.image for frame in read_frames(clip.video)]
        params = fit(labels[np.concatenate([seen[:1], picked])], images[0])
        source = meshwarp.encode_source(model, Portrait(to_tensor(images[seen[0]]), params[0]))
        motion = Driving(params[1:], tuple(builtin_motion("talk").times[:frames_per_clip]))
        frames = np.concatenate([to_uint8(batch) for batch in meshwarp.render(model, source, motion)])
        for frame, index in zip(frames, picked, strict=True):
            warped.append(psnr(frame, images[index]))
            copied.append(psnr(images[seen[0]], images[index]))
    return warped, copied


def speed(root: Path) -> float:
    """Milliseconds per frame of `render` for a talking face."""
    model = meshwarp.build(meshwarp.Config.compact())
    row = photo_table(root, "validation")[0]
    portrait = portrait_of(read_image(row.picture), load_photo_landmarks(root)[row.row])
    source = meshwarp.encode_source(model, portrait)
    motion = retarget(portrait.params, builtin_motion("talk"))
    started = time.perf_counter()
    count = sum(len(batch) for batch in meshwarp.render(model, source, motion))
    return (time.perf_counter() - started) / count * 1000


def validation_sheet(root: Path) -> Iterator[UInt8]:
    """Rows of pictures: a driving video, then the most frontal frame of each validation identity."""
    best: dict[str, tuple[float, Clip, int]] = {}
    for clip in clip_table(root, "validation"):
        turn = head_turn(*load_clip_landmarks(root, clip))
        index = int(turn.argmin())
        best[clip.identity] = min(
            best.get(clip.identity, (np.inf, clip, 0)), (float(turn[index]), clip, index), key=lambda found: found[0]
        )
    sitters = []
    for _, clip, index in best.values():
        image = next(islice(read_frames(clip.video), index, None)).image
        sitters.append((image, fit(load_clip_landmarks(root, clip)[0][index][None], image)))
    yield from sheet(root / "raw" / "driving_a.mp4", sitters, side=128)


def head_turn(landmarks: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    """(t,) radians between each frame's head and one that looks into the camera; infinite where eyes are not open."""
    rotation = fit(landmarks, np.zeros((256, 256, 3), np.uint8)).rotation.numpy()
    angle = np.arccos(np.clip((np.trace(rotation, axis1=1, axis2=2) - 1) / 2, -1, 1))
    eyes = landmarks[:, [145, 374], 1].sum(1) - landmarks[:, [159, 386], 1].sum(1)
    return np.asarray(np.where(valid & (eyes >= np.median(eyes)), angle, np.inf))


def raw_sheet(root: Path) -> Iterator[UInt8]:
    """Rows of pictures: a driving video, then the uncropped portraits as the tracker finds them."""
    tracker = load_tracker("cpu")
    sitters = []
    for path in [*sorted((root / "raw").glob("portrait_*.jpg")), root / "raw" / "two_faces.jpg"]:
        image = read_image(path)
        faces = tracker.track_picture(image)[: 2 if path.stem == "two_faces" else 1]
        sitters += [(image, params) for params in faces]
    yield from sheet(root / "raw" / "driving_a.mp4", sitters, side=160)


def sheet(driving: Path, sitters: list[tuple[UInt8, FaceParams]], *, side: int) -> Iterator[UInt8]:
    """One row of the driving video, then a row per picture: the picture around the face and its frames, pasted back."""
    model = meshwarp.build(meshwarp.Config.compact())
    frames = list(islice(read_frames(driving), 200))
    followed = follow_faces(frames, tracker=load_tracker("cpu"))[0]
    picked = np.linspace(8, len(frames) - 1, COLUMNS).astype(int).tolist()
    crop = crop_around(followed.params.landmarks)
    blank = np.full_like(frames[0].image, 255)
    yield tiles([blank, *(frames[i].image for i in picked)], crop, side)
    for image, params in sitters:
        crop = crop_around(params.landmarks)
        portrait = Portrait(to_tensor(apply_crop(image, crop)), params_to_crop(params, crop))
        motion = retarget(portrait.params, Driving(followed.params, followed.times))
        motion = Driving(motion.params[picked], tuple(motion.times[i] for i in picked))
        source = meshwarp.encode_source(model, portrait)
        moved = np.concatenate([to_uint8(batch) for batch in meshwarp.render(model, source, motion)])
        paster = Paster(image, crop)
        yield tiles([image, *(paster.paste(frame) for frame in moved)], crop, side)


def tiles(pictures: list[UInt8], crop: Crop, side: int) -> UInt8:
    """The part of each picture that the crop covers, side by side, centred on white squares."""
    height, width = pictures[0].shape[:2]
    corner, reach = crop.inverse[:, 2], crop.size / crop.scale
    left, top = np.maximum(corner, 0).astype(int)
    right, bottom = np.minimum(corner + reach, (width, height)).astype(int)
    scale = side / max(right - left, bottom - top)
    size = (round((right - left) * scale), round((bottom - top) * scale))
    out = np.full((side, side * len(pictures), 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        small = cv2.resize(picture[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
        y, x = (side - size[1]) // 2, i * side + (side - size[0]) // 2
        out[y : y + size[1], x : x + size[0]] = small
    return out


def portrait_of(image: UInt8, landmarks: NDArray[Any]) -> Portrait:
    """The usual crop around a labelled face."""
    params = fit(landmarks[None], image)
    crop = crop_around(params.landmarks)
    return Portrait(to_tensor(apply_crop(image, crop)), params_to_crop(params, crop))


def fit(landmarks: NDArray[Any], image: UInt8) -> FaceParams:
    points = torch.from_numpy(landmarks.astype(np.float32))
    return fit_params(load_face_model(), points, width=image.shape[1], height=image.shape[0])


def psnr(picture: UInt8, truth: UInt8) -> float:
    """dB at 128 x 128."""
    a, b = (cv2.resize(x.astype(np.float32), (128, 128), interpolation=cv2.INTER_AREA) for x in (picture, truth))
    return float(10 * np.log10(255**2 / np.square(a - b).mean()))


if __name__ == "__main__":
    main(tyro.cli(Options))
