"""One picture with its face, as training pairs hold it, and what may be done to both at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portrayal.face.topology import MIRROR
from portrayal.types import FaceParams

_FLIP = np.array([-1, 1, 1], np.float32)


@dataclass(frozen=True)
class Shot:
    """A square picture and the pose of its face, x_px = scale * R @ S + translation (`types.FaceParams`)."""

    picture: NDArray[np.uint8]
    """(s, s, 3) RGB."""
    landmarks: NDArray[np.float32]
    """(478, 3) pixels of the picture."""
    rotation: NDArray[np.float32]
    """(3, 3) head to picture."""
    translation: NDArray[np.float32]
    """(3,) pixels."""
    scale: float
    """Pixels per head unit."""

    @classmethod
    def of(cls, picture: NDArray[np.uint8], params: FaceParams, frame: int, *, side: int) -> Shot:
        """One frame of `params`, which are in pixels of a picture of `side`, shown in `picture` of any side."""
        k = np.float32(picture.shape[0] / side)
        return cls(
            picture=picture,
            landmarks=params.landmarks[frame].numpy() * k,
            rotation=params.rotation[frame].numpy(),
            translation=params.translation[frame].numpy() * k,
            scale=float(params.scale[frame]) * float(k),
        )

    def mirrored(self) -> Shot:
        """As a mirror shows it: left and right of the picture, of the points and of the head change places."""
        side = np.array([self.picture.shape[1], 0, 0], np.float32)
        return Shot(
            picture=self.picture[:, ::-1],
            landmarks=self.landmarks[list(MIRROR)] * _FLIP + side,
            rotation=self.rotation * _FLIP[:, None] * _FLIP,
            translation=self.translation * _FLIP + side,
            scale=self.scale,
        )

    def showing(self, picture: NDArray[np.uint8]) -> Shot:
        """The same face in another picture of the same size."""
        return replace(self, picture=picture)

    def tensors(self, role: str) -> dict[str, Tensor]:
        """`role` -> picture (3, s, s) uint8, and `role`_landmarks, _rotation, _translation, _scale, float32."""
        fields = {"landmarks": self.landmarks, "rotation": self.rotation, "translation": self.translation}
        tensors = {f"{role}_{k}": torch.from_numpy(np.ascontiguousarray(v, np.float32)) for k, v in fields.items()}
        tensors[f"{role}_scale"] = torch.tensor(self.scale)
        return tensors | {role: torch.from_numpy(np.ascontiguousarray(self.picture.transpose(2, 0, 1)))}
