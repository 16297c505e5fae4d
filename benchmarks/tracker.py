"""How well the embedded face tracker works: the tracker table of docs/results.md.

    python benchmarks/tracker.py --data ../shared/data

Measured on the validation identities and the held-out scenes (`data.tracker_faces.HELD_OUT_SCENES`) only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from portrayal.data.clips import clip_table, load_clip_landmarks
from portrayal.data.tracker_faces import FacePool, load_pool
from portrayal.face.box import box_of_landmarks, crop_matrix, overlaps, warp
from portrayal.face.embedded_tracker import EmbeddedTracker
from portrayal.face.pose import rotation_to_angles
from portrayal.face.smooth import OneEuro
from portrayal.face.tracker import load_tracker
from portrayal.media.image import read_image
from portrayal.media.video import read_frames
from portrayal.tracking import track_video

IRISES = [468, 473]


@dataclass(frozen=True)
class Options:
    data: Path = Path("../shared/data")
    """Folder of labelled faces."""
    device: str = "cpu"
    threads: int = 2


def interocular_px(label: NDArray[np.floating]) -> float:
    return float(np.linalg.norm(label[33] - label[263]))


def errors(points: NDArray[np.floating], label: NDArray[np.floating]) -> tuple[float, float]:
    """Mean landmark and iris error in percent of the inter-ocular distance, in the picture plane."""
    distance = np.linalg.norm(points[:, :2] - label[:, :2], axis=1) / interocular_px(label) * 100
    return float(distance.mean()), float(distance[IRISES].mean())


def clips_table(tracker: EmbeddedTracker, root: Path) -> dict[str, str]:
    """The streaming tracker through every validation clip."""
    rows, missed, total = [], 0, 0
    for clip in track(clip_table(root, "validation"), "clips"):
        labels, valid = load_clip_landmarks(root, clip)
        found = track_video(clip.video, tracker=tracker)[0]
        total += int(valid.sum())
        missed += int((valid[: len(found)] & ~found.found.numpy()).sum())
        for t in np.flatnonzero(valid[: len(found)] & found.found.numpy()):
            rows.append(errors(found.params.landmarks[t].numpy(), labels[t]))
    landmark, iris = np.mean(rows, 0)
    return {
        "landmark error, clips (% of inter-ocular)": f"{landmark:.2f} (median {np.median(rows, 0)[0]:.2f})",
        "iris error, clips (%)": f"{iris:.2f}",
        "clip frames with the face followed": f"{total - missed} of {total}",
    }


def photos_table(tracker: EmbeddedTracker, pool: FacePool) -> dict[str, str]:
    rows = []
    for photo in pool.photos:
        found = tracker.find(photo.picture)
        rows.append(errors(found.landmarks[0].numpy(), photo.landmarks[0]) if len(found) else (np.nan, np.nan))
    landmark, iris = np.nanmean(rows, 0)
    seen = int(np.isfinite(np.array(rows)[:, 0]).sum())
    return {
        "landmark error, photos (%)": f"{landmark:.2f} ({seen} of {len(rows)} found)",
        "iris error, photos (%)": f"{iris:.2f}",
    }


def scenes_table(tracker: EmbeddedTracker, pool: FacePool) -> dict[str, str]:
    """Recall, false positives and landmark error on uncropped pictures."""
    hits = total = extra = 0
    rows = []
    for scene in track(pool.scenes, "scenes"):
        found = tracker.find(scene.picture)
        truth = np.array([box_of_landmarks(points) for points in scene.landmarks])
        iou = overlaps(truth, found.boxes)
        total += len(truth)
        extra += int((iou.max(0, initial=0) < 0.3).sum())
        for i, points in enumerate(scene.landmarks):
            if iou[i].max(initial=0) > 0.4:
                hits += 1
                rows.append(errors(found.landmarks[int(iou[i].argmax())].numpy(), points))
    wrong = sum(len(tracker.find(picture)) for picture in pool.faceless)
    return {
        "faces found in scenes": f"{hits} of {total}",
        "further boxes in these scenes": str(extra),
        "landmark error, scenes (%)": f"{np.mean(rows, 0)[0]:.2f}",
        "false positives, held-out faceless scenes": f"{wrong} in {len(pool.faceless)}",
    }


def rotation_table(tracker: EmbeddedTracker, pool: FacePool) -> dict[str, str]:
    """Turn a frame in the picture plane by a known angle: the roll must change by it, yaw and pitch must not."""
    rng = np.random.default_rng(0)
    roll, rest = [], []
    for clip in track(pool.clips, "rotated"):
        for face in clip[:: max(len(clip) // 6, 1)][:6]:
            size = face.picture.shape[0]
            still = tracker.track_picture(face.picture)
            angle = rng.uniform(-np.pi / 4, np.pi / 4)
            matrix = crop_matrix(np.array([size / 2, size / 2, size, angle]), size)
            turned = tracker.track_picture(warp(face.picture, matrix, (size, size)))
            if still and turned:
                change = (rotation_to_angles(turned[0].rotation) - rotation_to_angles(still[0].rotation))[0].numpy()
                wrapped = (change[2] + angle + np.pi) % (2 * np.pi) - np.pi
                roll.append(abs(np.degrees(wrapped)))
                rest.append(np.abs(np.degrees(change[:2])).max())
    spread = f"median {np.median(roll):.2f}, 90 % below {np.quantile(roll, 0.9):.2f}"
    return {
        "roll error, frames turned by up to 45 degrees": spread,
        "yaw or pitch change by turning (degrees)": f"median {np.median(rest):.2f}",
    }


def jitter_table(tracker: EmbeddedTracker, pool: FacePool) -> dict[str, str]:
    """Still frames with camera noise (sigma 3 of 255): standard deviation of the landmarks over 25 frames."""
    rng = np.random.default_rng(0)
    raw, smooth = [], []
    for clip in pool.clips[:10]:
        picture = clip[0].picture
        stream, one_euro = tracker.stream(), OneEuro()
        plain, filtered = [], []
        for t in range(30):
            noisy = (picture + rng.normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)
            faces = stream.step(noisy)
            if faces:
                plain.append(faces[0].params.landmarks[0].numpy())
                filtered.append(one_euro.step(faces[0].params, Fraction(t, 25)).landmarks[0].numpy())
        unit = interocular_px(clip[0].landmarks[0])
        raw.append(np.std(plain[5:], 0)[:, :2].mean() / unit * 100)
        smooth.append(np.std(filtered[5:], 0)[:, :2].mean() / unit * 100)
    return {
        "jitter on still frames (% of inter-ocular)": f"{np.mean(raw):.3f}",
        "the same, One-Euro smoothed": f"{np.mean(smooth):.3f}",
    }


def speed_table(tracker: EmbeddedTracker, root: Path) -> dict[str, str]:
    frames = [f.image for f in read_frames(root / "raw" / "driving_a.mp4")][:150]
    stream = tracker.stream()
    stream.step(frames[0])
    start = time.perf_counter()
    for frame in frames:
        stream.step(frame)
    streaming = len(frames) / (time.perf_counter() - start)
    box = tracker.find(frames[0]).boxes[:1]
    start = time.perf_counter()
    for i in range(0, 128, 16):
        tracker.measure(frames[i : i + 16], box.repeat(16, 0))
    batched = 128 / (time.perf_counter() - start)
    picture = read_image(root / "raw" / "two_faces.jpg")
    start = time.perf_counter()
    tracker.track_picture(picture)
    single = time.perf_counter() - start
    return {
        "streaming, 512 x 512, one face (frames per second)": f"{streaming:.0f}",
        "landmarks alone, batch 16 (faces per second)": f"{batched:.0f}",
        "one picture of 2280 x 1588, two faces (ms)": f"{single * 1000:.0f}",
    }


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    tracker = load_tracker(options.device)
    pool = load_pool(options.data, "validation", every=10)
    rows = clips_table(tracker, options.data) | photos_table(tracker, pool) | scenes_table(tracker, pool)
    rows |= rotation_table(tracker, pool) | jitter_table(tracker, pool) | speed_table(tracker, options.data)
    table = Table("measure", "value")
    for name, value in rows.items():
        table.add_row(name, value)
    Console(width=110).print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
