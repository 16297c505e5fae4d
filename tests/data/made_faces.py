"""A small labelled data folder in the layout of `data.clips`: drawn faces whose landmarks are known exactly."""

from __future__ import annotations

import csv
from pathlib import Path

import av
import cv2
import numpy as np

from portrayal.face.morphable import load_face_model
from portrayal.face.topology import FACE_OVAL, LEFT_EYE, LIPS_OUTER, RIGHT_EYE


def draw_face(size: int, centre: tuple[float, float], scale: float, roll: float) -> tuple[np.ndarray, np.ndarray]:
    """A flat face on grey: (size, size, 3) uint8 and its landmarks (478, 3) px."""
    mean = load_face_model().mean.numpy()
    turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    points = (mean @ turn.T * scale + np.array([*centre, 0])).astype(np.float32)
    picture = np.full((size, size, 3), 120, np.uint8)
    for part, colour in ((FACE_OVAL, (220, 180, 150)), (LIPS_OUTER, (200, 60, 70)), (RIGHT_EYE, 255), (LEFT_EYE, 255)):
        fill = colour if isinstance(colour, tuple) else (colour,) * 3
        cv2.fillPoly(picture, [points[list(part), :2].round().astype(np.int32)], fill)
    for iris in (468, 473):
        cv2.circle(picture, points[iris, :2].round().astype(int).tolist(), max(int(scale * 0.06), 1), (40, 30, 20), -1)
    return picture, points


def make_folder(root: Path, *, frames: int = 8, size: int = 128) -> Path:
    """Two training clips and one validation clip, three photos, two scenes (one without a face)."""
    (root / "clips").mkdir(parents=True)
    (root / "photos").mkdir()
    (root / "scenes").mkdir()
    rows = []
    for name, identity in (("clip000", "id000"), ("clip001", "id001"), ("clip002", "id003")):
        labels = []
        with av.open(str(root / "clips" / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
            for t in range(frames):
                picture, points = draw_face(size, (64 + t, 62), 32 + t, 0.05 * t)
                labels.append(np.round(points * 8).astype(np.int32))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        delta = np.diff(np.stack(labels, 2), axis=2, prepend=0).astype(np.int16)
        np.savez(root / "clips" / f"{name}.npz", landmarks_delta=delta, valid=np.ones(frames, bool))
        rows.append([name, identity, frames])
    _table(root / "clips.csv", ["clip", "identity", "frames"], rows)
    drawn = [draw_face(size, (60 + 3 * i, 64), 36, 0.1 * i) for i in range(3)]
    for i, (picture, _) in enumerate(drawn):
        cv2.imwrite(str(root / "photos" / f"photo{i:03d}.jpg"), picture[..., ::-1])
    np.savez(root / "photos.npz", landmarks=np.stack([np.round(p * 32) for _, p in drawn]).astype(np.int16))
    _table(
        root / "photos.csv", ["photo", "identity", "size"], [[f"photo{i:03d}", f"id{i + 90}", size] for i in range(3)]
    )
    face, points = draw_face(size, (64, 64), 20, 0.0)
    cv2.imwrite(str(root / "scenes" / "scene900.jpg"), face)
    cv2.imwrite(str(root / "scenes" / "scene901.jpg"), np.full((size, size, 3), 90, np.uint8))
    np.savez(root / "scenes_landmarks.npz", scene900=np.round(points * 8).astype(np.int16)[None])
    _table(
        root / "scenes.csv",
        ["scene", "width", "height", "faces"],
        [["scene900", size, size, 1], ["scene901", size, size, 0]],
    )
    return root


def _table(path: Path, head: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
