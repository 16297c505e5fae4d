"""Contrastive Learned Basis Scaling (Sec. 3.1): expression coefficients without the appearance that hides in them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.errors import InputError
from portrayal.nn.precision import in_float32
from portrayal.systems.export3d.config import ClebsConfig, Objective
from portrayal.systems.export3d.layers import SLOPE
from portrayal.types import EXPRESSION_SIZE

GAZE_SIZE = 4
"""(right eye, left eye) x (yaw, pitch)."""
GAZE_UNIT = 0.2
"""Radians that count as much as one standard deviation of an expression coefficient."""
ROUNDS, DAMPING = 4, 1e-2
"""Of `ExpressionEncoder.moved`."""


def input_size(config: ClebsConfig) -> int:
    """Numbers that f_e reads."""
    return EXPRESSION_SIZE + GAZE_SIZE * config.gaze


def code_size(config: ClebsConfig) -> int:
    """Numbers that the generator reads."""
    return input_size(config) if config.encoding == "direct" else config.dimension


class ExpressionEncoder(nn.Module):
    """f_e: b to beta' = lambda_1 v_1 + ... + lambda_n v_n (equation 3, LeBS)."""

    pretrained: Tensor
    """() bool: the stage clebs has trained it."""

    def __init__(self, config: ClebsConfig) -> None:
        super().__init__()
        self.gaze, self.gain = config.gaze, config.gain
        self.layers = nn.Sequential(
            nn.Linear(input_size(config), config.hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(config.hidden, config.coefficients),
        )
        self.weight = nn.Parameter(torch.randn(config.dimension, config.coefficients))
        self.register_buffer("pretrained", torch.tensor(False))

    def forward(self, expression: Tensor, gaze: Tensor | None = None) -> Tensor:
        """beta'.

        Args:
            expression: (..., 64) coefficients b of the linear face model.
            gaze: (..., 2, 2) (right eye, left eye) x (yaw, pitch), radians; only where the configuration has it.

        Returns:
            (..., d).

        Raises:
            InputError: another number of coefficients, or gaze that is missing or not asked for.
        """
        return self.scale_basis(self.coefficients(expression, gaze))

    def coefficients(self, expression: Tensor, gaze: Tensor | None = None) -> Tensor:
        """lambda, (..., n), not limited. Arguments and errors as of `forward`."""
        return self.layers(self.coefficients_and_gaze(expression, gaze))

    def coefficients_and_gaze(self, expression: Tensor, gaze: Tensor | None = None) -> Tensor:
        """What the layers read, (..., 64 or 68). Arguments and errors as of `forward`."""
        if expression.shape[-1] != EXPRESSION_SIZE:
            raise InputError(f"an expression has {EXPRESSION_SIZE} coefficients, got {expression.shape[-1]}")
        if (gaze is not None) != self.gaze:
            raise InputError(
                "clebs.gaze is set: the expression encoder needs the gaze"
                if self.gaze
                else "clebs.gaze is not set: the expression encoder takes no gaze"
            )
        if gaze is not None:
            expression = torch.cat([expression, gaze.flatten(-2) / GAZE_UNIT], -1)
        return expression

    @torch.no_grad()
    def moved(self, expression: Tensor, change: Tensor, gaze: Tensor | None = None) -> Tensor:
        """Expressions near the given ones with another lambda: the shortest way there, by Gauss and Newton.

        Args:
            expression: (t, 64). change: (t, n) of lambda. gaze: as of `forward`, kept.

        Returns:
            (t, 64); lambda comes near what is asked for, as far as there is such an expression.
        """
        goal = self.coefficients(expression, gaze) + change
        looks = expression[:, :0] if gaze is None else gaze.flatten(1) / GAZE_UNIT
        for _ in range(ROUNDS):
            inputs = torch.cat([expression, looks], 1)
            missing = goal - self.layers(inputs)
            slopes = torch.func.vmap(torch.func.jacrev(self.layers))(inputs)[..., :EXPRESSION_SIZE]  # (t, n, 64)
            gram = slopes @ slopes.mT
            damping = DAMPING * gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(len(goal.T)).to(gram)
            expression = expression + (slopes.mT @ torch.linalg.solve(gram + damping, missing[..., None]))[..., 0]
        return expression

    def scale_basis(self, coefficients: Tensor) -> Tensor:
        """lambda (..., n) to beta' (..., d), equation 3."""
        return self.gain * _combine(coefficients, self.weight)

    def basis(self) -> Tensor:
        """V, (n, d): orthonormal rows (equation 2)."""
        return orthonormal_basis(self.weight)


@in_float32
def orthonormal_basis(weight: Tensor) -> Tensor:
    """V of a learnable weight by QR decomposition (S 1.2).

    Args:
        weight: (d, n), n at most d, of rank n.

    Returns:
        (n, d) orthonormal rows; v_i is in the span of the first i columns, on the side of column i. Without that last
        rule (R's diagonal is positive) a decomposition may turn any vector around, and lambda would change its meaning
        from one machine, or one step, to the next.
    """
    q, r = torch.linalg.qr(weight)
    return (q * torch.where(r.diagonal() < 0, -1.0, 1.0)).mT


@in_float32
def _combine(coefficients: Tensor, weight: Tensor) -> Tensor:
    return coefficients @ orthonormal_basis(weight)


class ImageEncoder(nn.Module):
    """f_I: ResNetSE18 and one fully connected layer (S 1.2); used in training alone."""

    def __init__(self, config: ClebsConfig) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, config.stem, 7, 2, 3, bias=False)
        self.norm = nn.BatchNorm2d(config.stem)
        c_in, blocks = config.stem, []
        for stage, (c_out, count) in enumerate(zip(config.widths, config.blocks, strict=True)):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(SqueezeBlock(c_in, c_out, stride=stride, reduction=config.reduction))
                c_in = c_out
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Linear(c_in, config.dimension)

    def forward(self, images: Tensor) -> Tensor:
        """(b, 3, s, s) in [0, 1] to (b, d)."""
        x = F.max_pool2d(self.norm(self.stem(2 * images - 1)).relu(), 3, 2, 1)
        return self.last(self.blocks(x).mean((2, 3)))


class SqueezeBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; each channel weighed by what the whole map shows (SENet, Sec. 3)."""

    def __init__(self, c_in: int, c_out: int, *, stride: int, reduction: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out)
        self.conv2, self.norm2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out)
        squeezed = max(c_out // reduction, 1)
        self.excite = nn.Sequential(nn.Linear(c_out, squeezed), nn.ReLU(), nn.Linear(squeezed, c_out), nn.Sigmoid())
        self.shortcut = (
            nn.Identity()
            if stride == 1 and c_in == c_out
            else nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x)).relu()
        y = self.norm2(self.conv2(y))
        y = y * self.excite(y.mean((2, 3)))[..., None, None]
        return (y + self.shortcut(x)).relu()


def similarities(expressions: Tensor, images: Tensor) -> Tensor:
    """cos(f_I(X_j), f_e(b_k)): f_e (b, n, d) and f_I (b, n, d) of n frames of each clip to (b, k, j)."""
    return F.normalize(expressions, dim=-1) @ F.normalize(images, dim=-1).mT


@in_float32
def contrastive_loss(
    expressions: Tensor, images: Tensor, *, temperature: float = 0.07, objective: Objective = "paper"
) -> Tensor:
    """L_cl (equation 1), every frame of a clip in turn being the positive k and all others the negatives j.

    Args:
        expressions: (b, n, d) f_e of n frames of each clip, n at least 2.
        images: (b, n, d) f_I of the same frames.
        objective: `paper`: as printed, the sum is over j != k, so that the loss goes below zero; `info-nce`: over all
            j, as usual, and the loss is above zero.

    Returns:
        (), the mean over clips and k.
    """
    logits = similarities(expressions, images) / temperature
    positive = logits.diagonal(dim1=-2, dim2=-1)
    if objective == "paper":
        logits = logits.masked_fill(torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device), -torch.inf)
    return (logits.logsumexp(-1) - positive).mean()


@torch.no_grad()
def retrieval_accuracy(expressions: Tensor, images: Tensor) -> Tensor:
    """(), the share of expressions whose own picture is the most similar one of its clip. Arguments as above."""
    best = similarities(expressions.float(), images.float()).argmax(-1)
    return (best == torch.arange(best.shape[-1], device=best.device)).float().mean()
