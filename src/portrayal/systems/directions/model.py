"""The method whole (Fig. 2): encoder, matrix of directions, generator, and the range of p that ties them to faces."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from portrayal.nn.stylegan2 import truncate
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.parts import build_encoder, build_generator, build_matrix
from portrayal.systems.directions.pose import pose_change, rescaling

UNMEASURED = (-1.0, 1.0)


class PoseSpace(nn.Module):
    """The range of each element of p on generated pictures; buffers, so that checkpoints and weights hold it."""

    ranges: Tensor
    """(k, 2) lowest and highest; `UNMEASURED` in the beginning."""

    def __init__(self, attributes: int) -> None:
        super().__init__()
        self.register_buffer("ranges", torch.tensor(UNMEASURED).repeat(attributes, 1))

    @property
    def measured(self) -> bool:
        return not bool((self.ranges == self.ranges.new_tensor(UNMEASURED)).all())

    def change(self, source: Tensor, target: Tensor, *, a: float) -> Tensor:
        """Delta p of equation 2, rescaled to [-a, a]: (b, k) and (b, k) to (b, k)."""
        return pose_change(source, target, self.ranges, a=a)

    def unscaled(self, change: Tensor, *, a: float) -> Tensor:
        """A rescaled Delta p (b, k) in radians and coefficients again."""
        return change / rescaling(self.ranges, a=a)[0]


class Directions(nn.Module):
    """What animates; its state is what the weights files of `mixed` and `paired` hold."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.generator = build_generator(config)
        self.encoder = build_encoder(config)
        self.matrix = build_matrix(config)
        self.poses = PoseSpace(config.directions.attributes)

    def forward(self, source: Tensor, source_pose: Tensor, target_pose: Tensor) -> Tensor:
        """I_r = G(w_s + A (p_t - p_s)), w_s the inverted source (Sec. 3.2).

        Args:
            source: (b, 3, s, s) framed faces in [-1, 1]. source_pose, target_pose: (b, k) p, not rescaled.

        Returns:
            (b, 3, s, s), about [-1, 1].
        """
        change = self.poses.change(source_pose, target_pose, a=self.config.directions.scale)
        return self.generator.synthesis(self.reenacted(self.encoder(source).float(), change))

    def reenacted(self, w_plus: Tensor, change: Tensor) -> Tensor:
        """w_r (b, layers, w_dim) of w_s and the rescaled Delta p (b, k)."""
        return self.centred(self.matrix.move(w_plus, change))

    def centred(self, w_plus: Tensor) -> Tensor:
        """w+ after truncation; with psi = 1, the paper's, w+ itself."""
        psi = self.config.directions.truncation
        return w_plus if psi == 1 else truncate(w_plus, self.generator.mapping.w_mean, psi)
