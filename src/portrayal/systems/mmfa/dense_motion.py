"""Dense motion in 3D (equations 1 and 2) and the occlusion, from the keypoints of source and driving picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from portrayal.nn.blocks import Hourglass, batch_norm, conv, relu_conv
from portrayal.nn.precision import in_float32
from portrayal.nn.volume import coordinate_grid, gaussian_heatmaps, sample_volume
from portrayal.systems.mmfa.config import MotionConfig


@dataclass(frozen=True)
class DenseField:
    """Where each voxel of the driving pose lies in the source."""

    deformation: Tensor
    """(b, d, h, w, 3) T of equation 2, normalised."""
    occlusion: Tensor
    """(b, 1, h, w) in [0, 1]: 1 where the source shows what is needed."""
    mask: Tensor
    """(b, k + 1, d, h, w) M of equation 2, background first; sums to 1."""


@in_float32
def sparse_motions(
    grid: Tensor, driving_keypoints: Tensor, source_keypoints: Tensor, jacobians: Tensor | None
) -> Tensor:
    """Equation 1: A(z) = p_S + J (z - p_D) for every keypoint, after the background, which does not move.

    Args:
        grid: (d, h, w, 3) positions z.
        driving_keypoints: (b, k, 3) p_D. source_keypoints: (b, k, 3) p_S.
        jacobians: J = J_S J_D^-1, (b, 3, 3) for all keypoints or (b, k, 3, 3); None is the identity.

    Returns:
        (b, k + 1, d, h, w, 3).
    """
    offset = grid - driving_keypoints[:, :, None, None, None]
    if jacobians is not None:
        each = jacobians[:, None] if jacobians.ndim == 3 else jacobians
        offset = (each[:, :, None, None, None] @ offset[..., None])[..., 0]
    moved = offset + source_keypoints[:, :, None, None, None]
    background = grid.expand(len(moved), 1, *grid.shape)
    return torch.cat([background, moved], 1)


@in_float32
def combine_motions(mask: Tensor, motions: Tensor) -> Tensor:
    """Equation 2: M (b, k + 1, d, h, w) and the motions of equation 1 to T, (b, d, h, w, 3)."""
    return torch.einsum("bkdhw,bkdhwn->bdhwn", mask, motions)


class DenseMotion(nn.Module):
    """M of equation 2 and the occlusion by a 3D U-Net, which sees the source's features moved by each keypoint."""

    def __init__(
        self, config: MotionConfig, *, keypoints: int, channels: int, depth: int, corners: bool = False
    ) -> None:
        super().__init__()
        self.config, self.corners = config, corners
        self.compress, self.norm = relu_conv(3, channels, config.compress, 1), batch_norm(3, config.compress)
        c_in = (keypoints + 1) * (config.compress + 1)
        self.hourglass = Hourglass(3, c_in, first=config.first, largest=config.largest, levels=config.levels)
        # After the hourglass face-vid2vid has one more block that keeps the size.
        self.mix = relu_conv(3, self.hourglass.channels, self.hourglass.channels, 3)
        self.mix_norm = batch_norm(3, self.hourglass.channels)
        self.mask = conv(3, self.hourglass.channels, keypoints + 1, config.mask_kernel)
        self.occlusion = conv(2, self.hourglass.channels * depth, 1, 7)

    def forward(
        self, volume: Tensor, driving_keypoints: Tensor, source_keypoints: Tensor, jacobians: Tensor | None = None
    ) -> DenseField:
        """
        Args:
            volume: (b, c, d, h, w) features of the source.
            driving_keypoints: (b, k, 3). source_keypoints: (b, k, 3).
            jacobians: as in `sparse_motions`.
        """
        size = volume.shape[2:]
        grid = coordinate_grid(size, corners=self.corners, device=volume.device)
        motions = sparse_motions(grid, driving_keypoints, source_keypoints, jacobians)
        compressed = self.norm(self.compress(volume)).relu()
        x = torch.cat([self._heatmaps(driving_keypoints, source_keypoints, size), _move(compressed, motions)], 2)
        x = self.hourglass(x.flatten(1, 2))
        x = self.mix_norm(self.mix(x)).relu()
        mask = self.mask(x).float().softmax(1)
        deformation = combine_motions(mask, motions)
        occlusion = self.occlusion(rearrange(x, "b c d h w -> b (c d) h w")).sigmoid()
        return DenseField(deformation, occlusion, mask)

    def _heatmaps(self, driving: Tensor, source: Tensor, size: torch.Size) -> Tensor:
        """(b, k + 1, 1, d, h, w): where a keypoint is now minus where it was; zero for the background."""
        now, before = (
            gaussian_heatmaps(points, size, variance=self.config.variance, corners=self.corners)
            for points in (driving, source)
        )
        difference = now - before
        return torch.cat([torch.zeros_like(difference[:, :1]), difference], 1)[:, :, None]


def _move(volume: Tensor, motions: Tensor) -> Tensor:
    """The volume (b, c, d, h, w) by each of k motions (b, k, d, h, w, 3): (b, k, c, d, h, w)."""
    b, k = motions.shape[:2]
    copies = repeat(volume, "b c d h w -> (b k) c d h w", k=k)
    return sample_volume(copies, motions.flatten(0, 1)).unflatten(0, (b, k))
