"""How alike two pictures are: PSNR, SSIM, MS-SSIM, L1, LPIPS and a perceptual distance on the tracker's features.

Pictures are RGB in [0, 1]; each number is of one frame, and the metric is the mean over frames (as the papers' scripts
do it), not a number of the pooled pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio

from portrayal.errors import InputError
from portrayal.evaluate.metrics_base import FrameMetric
from portrayal.evaluate.ssim import SMALLEST, WINDOW, ms_ssim, ssim
from portrayal.evaluate.view import View, require_alike
from portrayal.nn.lpips import Lpips, unit_length


class Psnr(FrameMetric):
    """Peak signal-to-noise ratio in dB, over all pixels and channels of a frame; a perfect frame counts 100 dB."""

    higher_is_better = True
    perfect_db = 100.0

    def per_frame(self, generated: View, reference: View) -> Tensor:
        a, b = _pictures(generated, reference)
        values = peak_signal_noise_ratio(a, b, data_range=1.0, dim=(1, 2, 3), reduction="none")
        return values.clamp_max(self.perfect_db)


class Ssim(FrameMetric):
    """Structural similarity (`evaluate.ssim`): Gaussian window of 11 with sigma 1.5, mean over channels."""

    higher_is_better = True

    def per_frame(self, generated: View, reference: View) -> Tensor:
        _require_side(generated, WINDOW, "SSIM")
        return ssim(*_pictures(generated, reference))


class MsSsim(FrameMetric):
    """Multi-scale structural similarity (`evaluate.ssim`)."""

    higher_is_better = True

    def per_frame(self, generated: View, reference: View) -> Tensor:
        _require_side(generated, SMALLEST, "MS-SSIM")
        return ms_ssim(*_pictures(generated, reference))


class L1(FrameMetric):
    """Mean absolute difference of the pixels, x 1 on the scale [0, 1]."""

    higher_is_better = False

    def per_frame(self, generated: View, reference: View) -> Tensor:
        a, b = _pictures(generated, reference)
        return (a - b).abs().mean((1, 2, 3))


class LpipsDistance(FrameMetric):
    """LPIPS 0.1 with the given network (`nn.lpips`), pictures not resized."""

    higher_is_better = False

    def __init__(self, net: Lpips) -> None:
        super().__init__()
        self.net = net

    def per_frame(self, generated: View, reference: View) -> Tensor:
        a, b = _pictures(generated, reference)
        return self.net(a, b)


class TrackerPerceptual(FrameMetric):
    """A perceptual distance that needs no download: the features of the embedded landmark network.

    Pictures are resized to its input; the maps of its four scales are made unit length at each position, and the
    squared differences summed over channels, averaged over positions and summed over scales, as LPIPS does without its
    learned weights. Not comparable with LPIPS.
    """

    higher_is_better = False

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def per_frame(self, generated: View, reference: View) -> Tensor:
        a, b = _pictures(generated, reference)
        pairs = zip(self.features(a), self.features(b), strict=True)
        return torch.stack([_unit_difference(x, y) for x, y in pairs]).sum(0)


def _unit_difference(a: Tensor, b: Tensor) -> Tensor:
    return (unit_length(a) - unit_length(b)).square().sum(1).mean((1, 2))


def _require_side(view: View, pixels: int, metric: str) -> None:
    """
    Raises:
        InputError: the frames are smaller.
    """
    if min(view.size) < pixels:
        h, w = view.size
        raise InputError(f"{view.clip}: {metric} needs {pixels} pixels a side or more, its frames are {w}x{h}")


def _pictures(generated: View, reference: View) -> tuple[Tensor, Tensor]:
    """Both as float32 of the same shape.

    Raises:
        InputError: as `require_alike`.
    """
    require_alike(generated, reference)
    return generated.images.float(), reference.images.float().expand_as(generated.images)
