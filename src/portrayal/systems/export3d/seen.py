"""What a model has seen in training, kept with its weights: how far expressions and cameras may go at inference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from portrayal.face.camera import split_camera
from portrayal.face.pose import rotation_to_angles

BEYOND = 0.25
"""How far outside its range a coefficient may go, as a share of that range, where it bends."""


class Seen(nn.Module):
    """Running ranges. Nothing is limited before the first batch."""

    expression: Tensor
    """(2, 64) smallest and largest coefficient b."""
    coefficients: Tensor
    """(2, n) smallest and largest lambda."""
    angles: Tensor
    """(2, 2) smallest and largest (yaw, pitch) of the driving camera, radians."""

    def __init__(self, expressions: int, coefficients: int) -> None:
        super().__init__()
        for name, size in (("expression", expressions), ("coefficients", coefficients), ("angles", 2)):
            self.register_buffer(name, torch.stack([torch.full((size,), torch.inf), torch.full((size,), -torch.inf)]))

    @torch.no_grad()
    def add(self, expression: Tensor, coefficients: Tensor, camera: Tensor) -> None:
        """One batch: (b, 64), (b, n), (b, 25)."""
        for range_, values in (
            (self.expression, expression),
            (self.coefficients, coefficients),
            (self.angles, camera_angles(camera)),
        ):
            low, high = values.float().aminmax(dim=0)
            range_.copy_(torch.stack([range_[0].minimum(low), range_[1].maximum(high)]))

    @property
    def known(self) -> bool:
        """Whether anything was seen."""
        return bool(self.expression.isfinite().all())

    def limited(self, expression: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (t, 64) that bend where they leave the range, and (t,) bool where any did."""
        if not self.known:
            return expression, torch.zeros(len(expression), dtype=torch.bool, device=expression.device)
        low, high = self.expression
        inside = expression.maximum(low).minimum(high)
        room = BEYOND * (high - low) + 1e-6
        over = expression - inside
        return inside + room * (over / room).tanh(), (over.abs() > room).any(-1)

    def outside(self, camera: Tensor) -> Tensor:
        """(t,) bool: cameras (t, 25) from where no head was seen."""
        if not self.known:
            return torch.zeros(len(camera), dtype=torch.bool, device=camera.device)
        low, high = self.angles
        angles = camera_angles(camera)
        return ((angles < low) | (angles > high)).any(-1)


def camera_angles(camera: Tensor) -> Tensor:
    """(t, 2) yaw and pitch in radians of the head that a camera (t, 25) of `face.camera` sees."""
    to_world = split_camera(camera)[0][:, :3, :3]
    rotation = (camera.new_tensor([1, -1, -1])[:, None] * to_world).mT  # of the head in the picture
    return rotation_to_angles(rotation)[:, :2]
