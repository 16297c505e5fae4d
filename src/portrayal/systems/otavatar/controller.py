"""The motion controller C (supplement, Sec. 1.4 and Fig. 4): coefficients of 27 frames to a motion code.

Parameter names are our own; `weights.convert.otavatar` knows the official ones.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.stylegan2_layers import full_precision
from portrayal.systems.otavatar.config import ControllerConfig

SLOPE = 0.1
"""Leaky ReLU's."""
LAYERS = 5
"""Of the MLP."""
LAST_GAIN = 0.02
"""Of the initial weights of the last layer (code)."""


class TemporalFilter(nn.Module):
    """FT: convolutions over time that take the noise out of tracked coefficients.

    Kernel 7 first, then three residual units of kernel 3 and dilation 3, none padded: 27 frames become 21, 15, 9, 3,
    and their mean is the result.
    """

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(rows, width, 7)
        self.units = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=3) for _ in range(3))

    def forward(self, window: Tensor) -> Tensor:
        """(b, rows, 27) to (b, width)."""
        x = self.first(window)
        for unit in self.units:
            x = unit(F.leaky_relu(x, SLOPE)) + x[..., 3:-3]
        return x.mean(-1)


class MagnitudeMlp(nn.Module):
    """The filtered coefficients to scalars: five layers (paper), or one five times and another (code)."""

    def __init__(self, width: int, scalars: int, *, shared: bool) -> None:
        super().__init__()
        self.shared = shared
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(1 if shared else LAYERS - 1))
        self.last = nn.Linear(width, scalars)

    def forward(self, x: Tensor) -> Tensor:
        """(b, width) to (b, scalars)."""
        y = x
        for i in range(LAYERS if self.shared else LAYERS - 1):
            y = self.hidden[0 if self.shared else i](y if i == 0 else F.leaky_relu(y, SLOPE))
        if self.shared:
            y = y + x
        return self.last(F.leaky_relu(y, SLOPE))


class Controller(nn.Module):
    """C: a window of coefficients to the motion code w_x.

    Args:
        layers: latent vectors of the generator, 14 at planes of 256.
        w_dim: length of one.
    """

    def __init__(self, config: ControllerConfig, *, layers: int, w_dim: int) -> None:
        super().__init__()
        self.config, self.layers = config, layers
        self.rows_of_scalars = 1 + layers if config.motion_space == "w+" else 1
        self.filter = TemporalFilter(config.rows, config.width)
        scalars = self.rows_of_scalars * config.bases
        self.mlp = MagnitudeMlp(config.width, scalars, shared=config.mlp == "shared")
        self.book = nn.Parameter(torch.randn(w_dim, config.bases))
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                gain = LAST_GAIN if module is self.mlp.last else config.hidden_gain
                nn.init.xavier_normal_(module.weight, gain=gain)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, window: Tensor) -> Tensor:
        """
        Args:
            window: (b, rows, 27), `coefficients.windows`.

        Returns:
            (b, layers, w_dim), to be added to w_id.

        Raises:
            ValueError: a window of another shape.
        """
        with full_precision(window):  # a latent in half precision moves the face
            return self.magnitudes(window.float()) @ self.basis().T

    def magnitudes(self, window: Tensor) -> Tensor:
        """(b, layers, bases): the first of the 15 rows of scalars is added to each of the others."""
        if window.shape[1:] != (self.config.rows, self.config.frames):
            expected = (self.config.rows, self.config.frames)
            raise ValueError(f"expected windows (b, {expected[0]}, {expected[1]}), got {tuple(window.shape)}")
        scalars = rearrange(
            self.mlp(self.filter(window)), "b (row base) -> b row base", row=self.rows_of_scalars
        )  # (b, 15, 20)
        if self.config.motion_space == "w":
            return scalars.expand(-1, self.layers, -1)
        return scalars[:, 1:] + scalars[:, :1]

    def basis(self) -> Tensor:
        """(w_dim, bases): the code book D, orthonormal columns by QR; or free ones.

        The signs of the columns are LAPACK's (Householder), which trained weights rely on.
        """
        if self.config.code_book == "linear":
            return self.book
        return torch.linalg.qr(self.book.float() + 1e-8)[0]
