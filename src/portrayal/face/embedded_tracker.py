"""The embedded networks as a tracker: a detector, then landmarks read in a crop around each face."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from portrayal.face.box import crop_matrix, warp
from portrayal.face.config import Config
from portrayal.face.detect import Detections, detect_faces, suppress
from portrayal.face.morphable import FaceModel, load_face_model
from portrayal.face.networks import TrackerNet, build
from portrayal.face.tracker import FOUND, SMALLEST, FaceReading, Tracker, crop_to_picture
from portrayal.weights.registry import load_embedded

GPU_BATCH = 16
"""Frames that a GPU reads at once; a CPU would read every face twice for nothing."""


class EmbeddedTracker(Tracker):
    """The embedded networks, ready to measure pictures on one device."""

    def __init__(self, net: TrackerNet, config: Config, model: FaceModel, device: torch.device) -> None:
        super().__init__(model)
        self.config, self.device = config, device
        self.batch = 1 if device.type == "cpu" else GPU_BATCH
        self.net = net.eval().to(device).requires_grad_(False)
        _fuse(self.net)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def detect(self, picture: NDArray[np.uint8], *, largest_side: int | None = None) -> Detections:
        """Face boxes of a picture, not yet confirmed by landmarks."""
        limits = {} if largest_side is None else {"largest_side": largest_side}
        return detect_faces(self.net.detector, picture, face_sizes=self.config.face_sizes, **limits)

    @torch.inference_mode()
    def measure(self, pictures: list[NDArray[np.uint8]], boxes: NDArray[np.float64]) -> FaceReading:
        """Landmarks of one face in each picture.

        Args:
            pictures: n pictures (h, w, 3) uint8 RGB (the same one may come several times).
            boxes: (n, 4) x, y, side, roll.
        """
        size, margin = self.config.crop_size, np.array([1, 1, self.config.crop_margin, 1])
        matrices = [crop_matrix(box * margin, size) for box in boxes]
        crops = np.stack([warp(p, m, (size, size)) for p, m in zip(pictures, matrices, strict=True)])
        tensor = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float().div(255)
        found = self.net.landmarks(tensor)
        landmarks = crop_to_picture(found.landmarks.cpu(), torch.from_numpy(np.stack(matrices)), size)
        return FaceReading(landmarks, found.eye_openness.cpu().clamp_min(0), found.confidence.sigmoid().cpu())

    def estimate(self, pictures: Tensor, boxes: NDArray[np.float64]) -> tuple[Tensor, Tensor, Tensor]:
        """`measure` on a batch of tensors, differentiable with respect to the pictures: for training losses.

        Args:
            pictures: (b, 3, h, w) in [0, 1].
            boxes: (b, 4) face boxes x, y, side, roll in pixels.

        Returns:
            landmarks (b, 478, 3) px, eye openness (b, 2), confidence (b,) as a logit.
        """
        h, w = pictures.shape[2:]
        size, margin = self.config.crop_size, np.array([1, 1, self.config.crop_margin, 1])
        matrices = torch.from_numpy(np.stack([crop_matrix(box * margin, size) for box in boxes])).to(pictures)
        square = torch.cat([matrices, matrices.new_tensor([[[0, 0, 1]]]).expand(len(boxes), 1, 3)], 1)
        to_unit = pictures.new_tensor([[2 / w, 0, -1], [0, 2 / h, -1], [0, 0, 1]])
        from_unit = pictures.new_tensor([[size / 2, 0, size / 2], [0, size / 2, size / 2], [0, 0, 1]])
        theta = (to_unit @ torch.linalg.inv(square) @ from_unit)[:, :2]
        grid = F.affine_grid(theta, [len(boxes), 3, size, size], align_corners=False)
        crops = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
        found = self.net.landmarks(crops)
        return crop_to_picture(found.landmarks, matrices, size), found.eye_openness, found.confidence

    def find(self, picture: NDArray[np.uint8], *, largest_side: int | None = None) -> FaceReading:
        """Every face of a picture, largest first: detection, then landmarks read twice, the second time upright."""
        found = self.detect(picture, largest_side=largest_side)
        reading = self.measure([picture] * len(found.boxes), found.boxes) if len(found.boxes) else FaceReading.none()
        good = [i for i, c in enumerate(reading.confidence.tolist()) if c > FOUND / 2]
        if not good:
            return FaceReading.none()
        reading = self.measure([picture] * len(good), reading[good].boxes)
        boxes = reading.boxes
        kept = suppress(Detections(boxes, reading.confidence.double().numpy()))
        order = sorted(
            (i for i in range(len(boxes)) if any((boxes[i] == k).all() for k in kept.boxes)), key=lambda i: -boxes[i, 2]
        )
        confidence = reading.confidence.tolist()
        return reading[[i for i in order if confidence[i] > FOUND and boxes[i, 2] >= SMALLEST]]


@lru_cache(maxsize=4)
def load_embedded_tracker(device: torch.device) -> EmbeddedTracker:
    """The tracker of the package, one for each device."""
    return fresh_embedded_tracker(device)


def fresh_embedded_tracker(device: torch.device) -> EmbeddedTracker:
    """A tracker of the package that nobody else has, for networks that are moved and copied."""
    tensors, config = load_embedded("tracker", Config)
    net = build(config)
    net.load_state_dict(tensors)
    return EmbeddedTracker(net, config, load_face_model(), device)


def _fuse(module: torch.nn.Module) -> None:
    """Fold each batch norm into the convolution before it."""
    for name, child in module.named_children():
        parts = list(child.children()) if isinstance(child, torch.nn.Sequential) else []
        if len(parts) == 2 and isinstance(parts[0], torch.nn.Conv2d) and isinstance(parts[1], torch.nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(parts[0], parts[1]))
        else:
            _fuse(child)
