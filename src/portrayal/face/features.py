"""The embedded tracker's maps as features of pictures: what it has learned about faces, without a download."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.face.config import Config
from portrayal.face.networks import build
from portrayal.weights.registry import load_embedded

SIDE = 256
"""Pixels of the pictures that the maps are made of."""


class TrackerMaps(nn.Module):
    """The maps of the embedded landmark network at 1/4, 1/8, 1/16 and 1/32 of its input.

    Pictures are resized to `side`; at `SIDE` a portrait's face is about as large as those it was trained on.
    """

    def __init__(self, side: int = SIDE) -> None:
        super().__init__()
        self.side = side
        tensors, config = load_embedded("tracker", Config)
        net = build(config)
        net.load_state_dict(tensors)
        self.net = net.landmarks.eval().requires_grad_(False)
        self.channels = sum(config.landmark_channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """
        Args:
            images: (b, 3, h, w) in [0, 1].
        """
        x = F.interpolate(images, (self.side, self.side), mode="bilinear", align_corners=False, antialias=True)
        maps = [self.net.stage4(F.relu(self.net.stem((x - 0.45) * 4)))]
        for stage in (self.net.stage8, self.net.stage16, self.net.stage32):
            maps.append(stage(maps[-1]))
        return maps
