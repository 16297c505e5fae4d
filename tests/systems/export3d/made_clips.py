"""A folder of labelled clips whose drawn faces open and shut mouth and eyes, with their landmarks."""

from __future__ import annotations

import csv
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from portrayal.face.morphable import load_face_model
from portrayal.face.topology import FACE_OVAL, LEFT_EYE, LIPS_INNER, LIPS_OUTER, RIGHT_EYE

SIZE = 64


def make_clips(root: Path, *, frames: int = 12) -> Path:
    """Two training clips and one of a validation identity; expressions differ from frame to frame."""
    (root / "clips").mkdir(parents=True)
    rows = []
    for i, split in enumerate(("train", "train", "validation")):
        name = f"clip{i:03d}"
        points = _landmarks(frames, seed=i)
        with av.open(str(root / "clips" / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"crf": "5"})
            stream.width = stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            for shape in points:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(_draw(shape, 60 * i), format="rgb24")))
            container.mux(stream.encode(None))
        stored = np.stack([np.round(shape * 8).astype(np.int32) for shape in points], 2)
        delta = np.diff(stored, axis=2, prepend=0).astype(np.int16)
        np.savez(root / "clips" / f"{name}.npz", landmarks_delta=delta, valid=np.ones(frames, bool))
        rows.append([name, f"person{i}", frames, split])
    with (root / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["clip", "identity", "frames", "split"], *rows])
    return root


def _landmarks(frames: int, *, seed: int) -> np.ndarray:
    """(t, 478, 3) pixels: random expressions, a head that turns a little."""
    rng = np.random.default_rng(seed)
    expression = torch.zeros(frames, 64)
    expression[:, :4] = torch.from_numpy(rng.normal(0, 1.5, (frames, 4)))
    shape = load_face_model().shape(torch.zeros(frames, 80), expression).numpy()
    yaw = rng.uniform(-0.4, 0.4, frames)
    zero, one = np.zeros(frames), np.ones(frames)
    turn = np.array([[np.cos(yaw), zero, np.sin(yaw)], [zero, one, zero], [-np.sin(yaw), zero, np.cos(yaw)]])
    return np.einsum("ijt,tnj->tni", turn, shape) * 17 + np.array([32, 33, 0])


def _draw(points: np.ndarray, shade: int) -> np.ndarray:
    picture = np.full((SIZE, SIZE, 3), 90 + shade, np.uint8)
    parts = (
        (FACE_OVAL, (220, 180, 150)),
        (LIPS_OUTER, (200, 60, 70)),
        (LIPS_INNER, (40, 10, 10)),
        (RIGHT_EYE, (255, 255, 255)),
        (LEFT_EYE, (255, 255, 255)),
    )
    for part, colour in parts:
        outline = np.round(points[list(part), :2] * 16 - 8).astype(np.int32)
        cv2.fillPoly(picture, [outline], colour, cv2.LINE_AA, 4)
    return picture
