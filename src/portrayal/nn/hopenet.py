"""Hopenet, head pose from a picture by binned angles (Ruiz et al. 2018, arXiv 1710.00925).

Convention: degrees, in the order yaw, pitch, roll of 300W-LP's labels. The network's own angles are not those of
`face.pose`; differences of angles may be compared, signs may not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from portrayal.nn.imagenet import normalise
from portrayal.nn.resnet import ResNet

BINS = 66
BIN_DEG = 3
LOWEST_DEG = -99
INPUT_SIDE = 224


class Hopenet(ResNet):
    """ResNet-50 with one classifier of 66 bins of three degrees per angle."""

    def __init__(self) -> None:
        super().__init__()
        self.fc_yaw = nn.Linear(2048, BINS)
        self.fc_pitch = nn.Linear(2048, BINS)
        self.fc_roll = nn.Linear(2048, BINS)
        self.fc_finetune = nn.Linear(2048 + 3, 3)  # in the checkpoint, not used

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        Args:
            images: (b, 3, 224, 224) RGB in [0, 1], normalised here.

        Returns:
            logits of yaw, pitch and roll, (b, 66) each.
        """
        x = self.features(normalise(images))
        return self.fc_yaw(x), self.fc_pitch(x), self.fc_roll(x)

    def angles_deg(self, images: Tensor) -> Tensor:
        """(b, 3) yaw, pitch, roll in degrees; see `bins_to_degrees`."""
        return torch.stack([bins_to_degrees(logits) for logits in self(images)], 1)


def bins_to_degrees(logits: Tensor) -> Tensor:
    """(..., 66) logits to (...,) degrees: three times the expected bin, minus 99.

    A sharp distribution gives the lower edge of its bin, as in the released code; it cancels in differences.
    """
    index = torch.arange(logits.shape[-1], dtype=logits.dtype, device=logits.device)
    return (logits.softmax(-1) * index).sum(-1) * BIN_DEG + LOWEST_DEG
