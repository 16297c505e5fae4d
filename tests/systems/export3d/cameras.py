"""Cameras around a head, for the tests."""

from __future__ import annotations

import torch
from torch import Tensor

from portrayal.face.camera import camera_label, fov_to_intrinsics, look_at


def camera(azimuth: float = 0.0, b: int = 1) -> Tensor:
    """(b, 25): 4 world units from the head, which fills the picture as in a portrait."""
    a = torch.tensor(azimuth)
    origin = 4 * torch.stack([a.sin(), torch.tensor(0.0), a.cos()])[None].expand(b, 3)
    return camera_label(look_at(origin, torch.zeros(3)), fov_to_intrinsics(18.837))
