"""SPADE residual block (Park et al. 2019, arXiv 1903.07291): a map says, place by place, how features are scaled."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.blocks import conv


def spectral_norm(module: nn.Module) -> nn.Module:
    """The module with its weight divided by the weight's largest singular value (Miyato et al. 2018)."""
    return nn.utils.parametrizations.spectral_norm(module)


class Spade(nn.Module):
    """Instance norm, then scale and shift from the label map, which is resized (nearest) to the features."""

    def __init__(self, channels: int, *, label: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels)
        self.shared = conv(2, label, hidden, 3)
        self.gamma, self.beta = conv(2, hidden, channels, 3), conv(2, hidden, channels, 3)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """x (b, c, h, w), label (b, l, h', w') to (b, c, h, w)."""
        code = self.shared(F.interpolate(label, x.shape[2:])).relu()
        return self.norm(x) * (1 + self.gamma(code)) + self.beta(code)


class SpadeResBlock(nn.Module):
    """Two times (SPADE, leaky ReLU, convolution with spectral norm) beside a shortcut, learned where widths differ."""

    def __init__(self, c_in: int, c_out: int, *, label: int, hidden: int) -> None:
        super().__init__()
        inner = min(c_in, c_out)
        self.norm1, self.conv1 = Spade(c_in, label=label, hidden=hidden), spectral_norm(conv(2, c_in, inner, 3))
        self.norm2, self.conv2 = Spade(inner, label=label, hidden=hidden), spectral_norm(conv(2, inner, c_out, 3))
        self.shortcut_norm = Spade(c_in, label=label, hidden=hidden) if c_in != c_out else None
        self.shortcut = spectral_norm(nn.Conv2d(c_in, c_out, 1, bias=False)) if c_in != c_out else None

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """x (b, c_in, h, w), label (b, l, h', w') to (b, c_out, h, w)."""
        y = self.conv1(F.leaky_relu(self.norm1(x, label), 0.2))
        y = self.conv2(F.leaky_relu(self.norm2(y, label), 0.2))
        if self.shortcut is not None and self.shortcut_norm is not None:
            x = self.shortcut(self.shortcut_norm(x, label))
        return x + y
