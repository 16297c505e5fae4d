"""What moves a face: scale and translation, expression, and face-vid2vid's estimator of everything at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.blocks import Bottleneck, batch_norm, conv, relu_conv
from portrayal.nn.hopenet import BINS, bins_to_degrees
from portrayal.systems.mmfa.config import EncoderConfig, ExpressionConfig
from portrayal.systems.mmfa.keypoints import Pose, euler_xyz


class Stem(nn.Module):
    """7x7 convolution with stride 2, batch norm, ReLU and max-pooling: a quarter of the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = relu_conv(2, 3, channels, 7, stride=2), batch_norm(2, channels)

    def forward(self, image: Tensor) -> Tensor:
        return F.max_pool2d(self.norm(self.conv(image)).relu(), 3, 2, 1)


class Stage(nn.Module):
    """1x1 convolution to `channels`, batch norm, ReLU, then bottlenecks, the first with `stride`."""

    def __init__(self, c_in: int, channels: int, *, blocks: int, stride: int) -> None:
        super().__init__()
        self.conv, self.norm = relu_conv(2, c_in, channels, 1), batch_norm(2, channels)
        self.blocks = nn.Sequential(*(Bottleneck(channels, stride=stride if i == 0 else 1) for i in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.norm(self.conv(x)).relu())


def _stages(config: EncoderConfig, strides: list[int]) -> nn.Sequential:
    c_in = [config.stem, *config.widths[:-1]]
    parts = zip(c_in, config.widths, config.blocks, strides, strict=True)
    return nn.Sequential(*(Stage(i, o, blocks=n, stride=s) for i, o, n, s in parts))


class PictureEncoder(nn.Module):
    """A picture to one vector, by the trunk of face-vid2vid's head estimator (its supplement A)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.stem = Stem(config.stem)
        self.stages = _stages(config, [1] + [2] * (len(config.widths) - 1))
        self.channels = config.widths[-1]

    def forward(self, image: Tensor) -> Tensor:
        """(b, 3, h, w) in [0, 1] to (b, c)."""
        return self.stages(self.stem(image)).mean((2, 3))


class AffineEstimator(nn.Module):
    """f and t of equation 5 from a picture (Sec. 3.2): the encoder of face-vid2vid with "a simple decoder", a linear
    layer. Our choice: f is the exponential of its output, so it is positive and 1 in the middle."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = PictureEncoder(config)
        self.scale = nn.Linear(self.encoder.channels, 1)
        self.translation = nn.Linear(self.encoder.channels, 2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 3, h, w) in [0, 1] to f (b,) and t (b, 2)."""
        x = self.encoder(image)
        return self.scale(x)[:, 0].exp(), self.translation(x)


class ExpressionEncoder(nn.Module):
    """E_e of equation 4 (A.1): convolution, ReLU, max-pooling, bottlenecks to a 16 x 4 x 4 map, linear layer."""

    def __init__(self, config: ExpressionConfig) -> None:
        super().__init__()
        encoder = EncoderConfig(config.stem, config.widths, config.blocks)
        self.first = relu_conv(2, 3, config.stem, 7, stride=2)
        self.stages = _stages(encoder, [2] * len(config.widths))
        self.reduce = conv(2, config.widths[-1], config.map_channels, 1)
        self.linear = nn.Linear(config.map_channels * 16, config.feature)

    def forward(self, image: Tensor) -> Tensor:
        """(b, 3, h, w) in [0, 1] to f_delta (b, 256)."""
        x = F.max_pool2d(self.first(image).relu(), 3, 2, 1)
        x = self.reduce(self.stages(x))  # (b, 16, 4, 4)
        return self.linear(x.flatten(1))


class ExpressionDecoder(nn.Module):
    """D_e of equation 4 (A.1): fully connected layers with batch norm and ReLU, the last one plain."""

    def __init__(self, config: ExpressionConfig, *, keypoints: int) -> None:
        super().__init__()
        widths = [config.feature + 3 * keypoints, *config.decoder]
        hidden: list[nn.Module] = []
        for c_in, c_out in pairwise(widths):
            hidden += [nn.Linear(c_in, c_out), nn.BatchNorm1d(c_out), nn.ReLU()]
        self.hidden = nn.Sequential(*hidden)
        self.last = nn.Linear(widths[-1], 3 * keypoints)

    def forward(self, feature: Tensor, canonical: Tensor) -> Tensor:
        """f_delta (b, 256) and p_C (b, k, 3) to delta (b, k, 3)."""
        x = torch.cat([feature, canonical.flatten(1)], 1)
        return self.last(self.hidden(x)).unflatten(1, (-1, 3))


@dataclass(frozen=True)
class HeadMotion:
    """What face-vid2vid's estimator says about b pictures."""

    yaw: Tensor
    """(b, 66) logits of bins of three degrees, as `nn.hopenet`; likewise pitch and roll."""
    pitch: Tensor
    roll: Tensor
    translation: Tensor
    """(b, 3) normalised."""
    deformation: Tensor
    """(b, 3 k) delta of equation 3."""

    def angles_deg(self) -> Tensor:
        """(b, 3) yaw, pitch, roll."""
        return torch.stack([bins_to_degrees(logits) for logits in (self.yaw, self.pitch, self.roll)], 1)

    def pose(self, *, half_turn: float) -> Pose:
        """R and t of equation 3, f = 1; `half_turn` as in `Conventions`."""
        rotation = euler_xyz(self.angles_deg() / 180 * half_turn)
        return Pose(rotation, rotation.new_ones(len(rotation)), self.translation)


class HeadMotionEstimator(nn.Module):
    """R, t and delta of equation 3 by one network, as in face-vid2vid."""

    def __init__(self, config: EncoderConfig, *, keypoints: int) -> None:
        super().__init__()
        self.encoder = PictureEncoder(config)
        c = self.encoder.channels
        self.yaw, self.pitch, self.roll = nn.Linear(c, BINS), nn.Linear(c, BINS), nn.Linear(c, BINS)
        self.translation = nn.Linear(c, 3)
        self.deformation = nn.Linear(c, 3 * keypoints)

    def forward(self, image: Tensor) -> HeadMotion:
        """(b, 3, h, w) in [0, 1]."""
        x = self.encoder(image)
        return HeadMotion(self.yaw(x), self.pitch(x), self.roll(x), self.translation(x), self.deformation(x))
