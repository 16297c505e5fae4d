"""From a rendered feature picture to a larger RGB picture with blocks of StyleGAN2 (EG3D, Sec. 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.stylegan2_layers import SynthesisBlock


class SuperResolution(nn.Module):
    """EG3D's super-resolution: the defaults are its 64 to 512 module, `SuperresolutionHybrid8XDC`.

    Args:
        channels: of the feature picture.
        w_dim: of the style vectors.
        input_size: both pictures are brought to this side first, bilinear with antialiasing.
        widths: channels of the blocks; each doubles the size.
        clamp: limit of what a convolution gives, so that half precision does not overflow.
    """

    def __init__(
        self,
        channels: int = 32,
        w_dim: int = 512,
        *,
        input_size: int = 128,
        widths: tuple[int, ...] = (256, 128),
        clamp: float | None = 256.0,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.size = input_size << len(widths)
        """Side of the result."""
        sizes = [input_size << i for i in range(1, len(widths) + 1)]
        wides = zip((channels, *widths[:-1]), widths, sizes, strict=True)
        self.blocks = nn.ModuleList(SynthesisBlock(i, o, w_dim, size=size, clamp=clamp) for i, o, size in wides)

    def forward(self, rgb: Tensor, feature: Tensor, ws: Tensor) -> Tensor:
        """Enlarge a rendering.

        Args:
            rgb: (b, 3, h, w) in [-1, 1], the first three channels of `feature`.
            feature: (b, channels, h, w) in [-1, 1].
            ws: (b, l, w_dim); only the last one is read. The noise of the blocks is left out, as in EG3D's code.

        Returns:
            (b, 3, size, size), about [-1, 1].
        """
        x, image = self._resize(feature), self._resize(rgb)
        for block in self.blocks:
            assert isinstance(block, SynthesisBlock)
            x, image = block(x, image, ws[:, -1:].expand(-1, block.styles, -1), noise="none")
        return image

    def _resize(self, x: Tensor) -> Tensor:
        if x.shape[-2:] == (self.input_size, self.input_size):
            return x
        return F.interpolate(x.float(), size=(self.input_size,) * 2, mode="bilinear", antialias=True).to(x.dtype)


def split_feature(rendered: Tensor, *, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Rays' colours (b, r, c) in [0, 1] to the raw RGB (b, 3, h, w) and the feature picture (b, c, h, w), [-1, 1]."""
    feature = torch.unflatten(rendered.mT, -1, (height, width)) * 2 - 1
    return feature[:, :3], feature
