"""ViT blocks of the tri-plane generator: SegFormer's tokens and Mix-FFN, normalised as the expression says (Fig. 3).

Tokens keep their place: they travel as (b, n, c) with n = height * width, width fastest. No positional code; the
zero-padded depthwise convolution of the Mix-FFN tells where a token is (SegFormer, Sec. 3.1).
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class OverlapPatchMerge(nn.Module):
    """A map to tokens of half its height and width; neighbouring patches overlap (SegFormer, Sec. 3.1)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.merge = nn.Conv2d(c_in, c_out, 3, 2, 1)
        self.norm = nn.LayerNorm(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c_in, h, w) to (b, h w / 4, c_out)."""
        return self.norm(rearrange(self.merge(x), "b c h w -> b (h w) c"))


class ExpressionNorm(nn.Module):
    """EAdaLN(x, beta') = sigma(beta') LN(x) + mu(beta') (equation 5).

    sigma and mu are one linear layer; it begins near sigma = 1 and mu = 0, a plain layer norm.
    """

    def __init__(self, channels: int, dimension: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, elementwise_affine=False)
        self.scale_shift = nn.Linear(dimension, 2 * channels)
        nn.init.normal_(self.scale_shift.weight, std=0.01)
        with torch.no_grad():
            self.scale_shift.bias.copy_(torch.cat([torch.ones(channels), torch.zeros(channels)]))

    def forward(self, x: Tensor, expression: Tensor) -> Tensor:
        """
        Args:
            x: (b, n, c). expression: (b, d) beta'.
        """
        scale, shift = self.scale_shift(expression)[:, None].chunk(2, -1)
        return scale * self.norm(x) + shift


class SelfAttention(nn.Module):
    """Multi-head self-attention over all tokens."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, c) to the same."""
        parts = rearrange(self.query_key_value(x), "b n (part m c) -> part b m n c", part=3, m=self.heads)
        query, key, value = parts.unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value)
        return self.out(rearrange(seen, "b m n c -> b n (m c)"))


class MixFfn(nn.Module):
    """Linear, 3 x 3 depthwise convolution, GELU, linear (SegFormer, equation 3)."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.widen = nn.Linear(channels, inner)
        self.mix = nn.Conv2d(inner, inner, 3, 1, 1, groups=inner)
        self.narrow = nn.Linear(inner, channels)

    def forward(self, x: Tensor, height: int) -> Tensor:
        """(b, n, c) of a map of `height` to the same."""
        wide = rearrange(self.widen(x), "b (h w) c -> b c h w", h=height)
        return self.narrow(rearrange(F.gelu(self.mix(wide)), "b c h w -> b (h w) c"))


class VitBlock(nn.Module):
    """Self-attention and Mix-FFN, each on normalised tokens and added to them."""

    def __init__(self, channels: int, *, heads: int, expansion: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(channels), SelfAttention(channels, heads)
        self.norm2, self.ffn = nn.LayerNorm(channels), MixFfn(channels, expansion)

    def forward(self, x: Tensor, height: int) -> Tensor:
        """(b, n, c) of a map of `height` to the same."""
        x = x + self.attention(self.norm1(x))
        return x + self.ffn(self.norm2(x), height)


class EAdaLnVitBlock(nn.Module):
    """`VitBlock` whose two norms are EAdaLN (Fig. 3)."""

    def __init__(self, channels: int, dimension: int, *, heads: int, expansion: int) -> None:
        super().__init__()
        self.norm1, self.attention = ExpressionNorm(channels, dimension), SelfAttention(channels, heads)
        self.norm2, self.ffn = ExpressionNorm(channels, dimension), MixFfn(channels, expansion)

    def forward(self, x: Tensor, expression: Tensor, height: int) -> Tensor:
        """(b, n, c) of a map of `height` and beta' (b, d) to the same."""
        x = x + self.attention(self.norm1(x, expression))
        return x + self.ffn(self.norm2(x, expression), height)


class ShuffleUp(nn.Module):
    """Tokens to a map of twice the height and width and a quarter of the channels: pixel shuffle, then a Gaussian
    low-pass filter over the grid that it leaves (Sec. 3.2)."""

    kernel: Tensor
    """(5, 5), sums to 1."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.register_buffer("kernel", gaussian_kernel(sigma), persistent=False)

    def forward(self, x: Tensor, height: int) -> Tensor:
        """(b, n, c) of a map of `height` to (b, c / 4, 2 height, 2 n / height)."""
        fine = F.pixel_shuffle(rearrange(x, "b (h w) c -> b c h w", h=height), 2)
        channels, reach = fine.shape[1], self.kernel.shape[0] // 2
        # The border goes on, so that it is not darkened.
        padded = F.pad(fine, (reach,) * 4, mode="replicate")
        return F.conv2d(padded, self.kernel.to(fine).expand(channels, 1, -1, -1), groups=channels)


def gaussian_kernel(sigma: float) -> Tensor:
    """(5, 5) Gaussian of `sigma` pixels, sums to 1."""
    line = (-0.5 * (torch.arange(-2.0, 3.0) / sigma).square()).exp()
    line = line / line.sum()
    return line[:, None] * line
