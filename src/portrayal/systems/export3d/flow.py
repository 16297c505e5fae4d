"""Where the face model's expression moves what the source shows (`RendererConfig.flow`).

Beyond the paper. The rays give the source's pixels a place on the head's surface, and the planes must learn how an
expression moves that surface; a mouth is five rays wide, and they learn it slowly. The linear face model, whose
coefficients are what drives the system, knows it: its mesh with the driving expression, seen from the front, says for
each point of the head where the same skin is with the source's expression. What the planes add is a correction. The
irises go where the gaze looks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.face.camera import WORLD_UNITS_PER_HEAD_UNIT
from portrayal.face.morphable import load_face_model
from portrayal.face.topology import FACE_OVAL, LEFT_EYE, LEFT_IRIS, LIPS_INNER, RIGHT_EYE, RIGHT_IRIS
from portrayal.nn.precision import in_float32
from portrayal.systems.meshwarp.layers import Box, polygon_mask
from portrayal.systems.meshwarp.raster import backward_displacement

SIDE = 128
"""Cells along a side of the field."""
EXTENT = 1.3
"""Half of its side in head units, around the head's origin."""
MARGIN = 1.4
"""Where the motion of the face's border has faded, in distances of the border from the middle."""
FRONT = 0.1
"""World units before and behind the head's origin between which the field fades."""
OPENINGS = 2
"""Channels: the mouth, the eyes."""
_WHOLE = Box(0, 0, SIDE, SIDE)
_CENTRES = np.stack(np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5), -1)
"""(SIDE, SIDE, 2) x and y of the cells' centres."""


@dataclass(frozen=True)
class Look:
    """What a face does."""

    expression: Tensor
    """(b, 64) coefficients b."""
    gaze: Tensor
    """(b, 2, 2) as in `FaceParams`."""


class ExpressionFlow(nn.Module):
    """The field of a source and a driving expression, and what it does to points. Nothing is learned."""

    def __init__(self) -> None:
        super().__init__()
        model = load_face_model()
        holes = torch.cat([model.triangles_mouth, model.triangles_eyes])
        self.holes = len(holes)
        self.triangles = np.concatenate([holes, model.triangles_skin, _ring(first=len(model.mean))])

    @torch.no_grad()
    @in_float32
    def forward(self, identity: Tensor, source: Look, driving: Look) -> Tensor:
        """
        Args:
            identity: (b, 80) of the source.

        Returns:
            (b, 4, SIDE, SIDE), the head from the front: how far in head units (x right, y down) what lies there is
            from where the source has it; and where the mouth and the eyes open, in [0, 1].
        """
        face = load_face_model(identity.device)
        border = face.shape(identity, torch.zeros_like(driving.expression))[:, list(FACE_OVAL)]
        outer = border.mean(1, keepdim=True) + MARGIN * (border - border.mean(1, keepdim=True))
        shapes = (face.shape(identity, look.expression, look.gaze) for look in (source, driving))
        moved = (torch.cat([shape, outer], 1) for shape in shapes)
        cells = (((x + EXTENT) * (SIDE / (2 * EXTENT))).double().cpu().numpy() for x in moved)
        fields = [self._field(*pair) for pair in zip(*cells, strict=True)]
        return torch.from_numpy(np.stack(fields)).to(identity)

    def _field(self, source: NDArray[np.float64], driving: NDArray[np.float64]) -> NDArray[np.float32]:
        """Vertices (n, 3) in cells to (4, SIDE, SIDE)."""
        moved = backward_displacement(
            source, driving, self.triangles, behind=self.holes, width=SIDE, height=SIDE, step=1
        )
        contours = (LIPS_INNER, RIGHT_EYE, LEFT_EYE)
        mouth, *eyes = (polygon_mask(driving[list(contour), :2], _WHOLE) for contour in contours)
        for eye, iris in zip(eyes, (RIGHT_IRIS, LEFT_IRIS), strict=True):
            middle, rim = driving[iris[0], :2], driving[list(iris[1:]), :2]
            radius = np.linalg.norm(rim - middle, axis=1).mean()
            away = np.linalg.norm(_CENTRES - middle, axis=-1) / radius
            weight = (eye * np.clip(2 - away, 0, 1))[..., None]  # 1 on the iris, less around it
            moved += weight * (source[iris[0], :2] - middle - moved)
        openings = np.stack([mouth, np.maximum(*eyes)])
        return np.concatenate([moved.transpose(2, 0, 1) * (2 * EXTENT / SIDE), openings]).astype(np.float32)

    @in_float32
    def move(self, points: Tensor, field: Tensor) -> tuple[Tensor, Tensor]:
        """Points of a view to where they are with the source's expression.

        Args:
            points: (b, n, 3) world. field: as `forward` gives it.

        Returns:
            (b, n, 3) world; (b, n, 2) where the mouth and the eyes open, in [0, 1].
        """
        unit = WORLD_UNITS_PER_HEAD_UNIT
        grid = (points[..., :2] * points.new_tensor([1, -1]))[:, :, None] / (unit * EXTENT)
        found = F.grid_sample(field, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[..., 0].mT
        found = found * (points[..., 2:] / (2 * FRONT) + 0.5).clamp(0, 1)
        shift, openings = found.split([2, OPENINGS], -1)
        shift = F.pad(shift * shift.new_tensor([1, -1]), (0, 1))
        return points + unit * shift, openings


def _ring(*, first: int) -> NDArray[np.int64]:
    """(72, 3) triangles between the face's border and as many points around it, which count from `first` on."""
    inner = np.array(FACE_OVAL)
    outer = first + np.arange(len(inner))
    after = np.roll(inner, -1), np.roll(outer, -1)
    return np.concatenate([np.stack([inner, after[0], outer], 1), np.stack([outer, after[0], after[1]], 1)])
