"""The matrix of directions A, the method's only trainable part (section 3.1, equation 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DirectionMatrix(nn.Module):
    """Delta w = A Delta p, a shift of the first layers of w+.

    Differs: the released matrices have a bias, so a zero Delta p moves the picture; `bias` is for them only.
    """

    def __init__(
        self, attributes: int = 15, *, w_dim: int = 512, layers: int = 8, deviation: float = 0.03, bias: bool = False
    ) -> None:
        """`attributes`: d_in = 3 + m_e; `layers`: how many of w+ are shifted, from the first; `deviation`: of the
        initial weights."""
        super().__init__()
        self.layers, self.w_dim = layers, w_dim
        self.linear = nn.Linear(attributes, layers * w_dim, bias=bias)
        nn.init.normal_(self.linear.weight, std=deviation)

    def forward(self, change: Tensor) -> Tensor:
        """Delta p (b, attributes) to Delta w (b, layers, w_dim)."""
        return self.linear(change).unflatten(1, (self.layers, self.w_dim))

    def move(self, w_plus: Tensor, change: Tensor) -> Tensor:
        """w_r = w_s + Delta w: (b, l, w_dim) and (b, attributes) to (b, l, w_dim).

        Raises:
            ValueError: w+ has fewer layers than the matrix shifts, or another width.
        """
        if w_plus.shape[1] < self.layers or w_plus.shape[2] != self.w_dim:
            raise ValueError(
                f"this matrix shifts the first {self.layers} of w+ (b, l, {self.w_dim}), got {tuple(w_plus.shape)}; "
                "generator and directions belong to different models"
            )
        shift = self(change)
        return torch.cat([w_plus[:, : self.layers] + shift, w_plus[:, self.layers :]], 1)
