"""The light renderer: MMFA's dense motion and multi-scale generator, arranged so that a CPU shows 25 frames a second.

As in the paper the source becomes a feature volume, K keypoints with one common head rotation give K sparse motions
(equation 1), masks blend them with the still background into a dense backward flow per depth slice (equation 2), and
a generator with pictures at 64, 128 and 256 decodes the warped volume (A.1). Different from the `volume` renderer:

- The masks start from the keypoints' distances; the network (2D, depth folded into channels) corrects them. So the
  motion is right for the face from the first step, and the network learns hair, neck and background.
- The network sees the source moved by those first masks once, not once for every keypoint.
- Every resolution also warps the source's features, at last the source picture itself, and a mask chooses between
  moved pixels and painted ones. Moved pixels can come from the picture in its own resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.systems.mmfa.keypoints import Pose, relative_jacobian
from portrayal.systems.mmfa.light_config import LightConfig


@dataclass(frozen=True)
class Appearance:
    """What is kept of a source picture."""

    picture: Tensor
    """(b, 3, 256, 256) in [0, 1]."""
    half: Tensor
    """(b, c, 128, 128)."""
    quarter: Tensor
    """(b, c, 64, 64)."""
    volume: Tensor
    """(b, c, d, 64, 64)."""


@dataclass(frozen=True)
class Motion:
    """The dense motion of b pictures."""

    flow: Tensor
    """(b, 64, 64, 2) backward flow: where in the source a pixel comes from, normalised."""
    features: Tensor
    """(b, c, 64, 64)."""
    warped: Tensor
    """(b, c * d, 64, 64) the moved volume, dimmed where the source does not show it."""
    visible: Tensor
    """(b, 1, 64, 64) in [0, 1]."""


class LightRenderer(nn.Module):
    """Source picture and keypoints to a picture at 64, 128 and 256."""

    def __init__(self, config: LightConfig, *, keypoints: int) -> None:
        super().__init__()
        self.appearance = AppearanceEncoder(config)
        self.motion = DenseMotion(config, keypoints=keypoints)
        self.generator = Generator(config)

    def forward(
        self, source: Appearance, source_points: Tensor, points: Tensor, source_pose: Pose, pose: Pose
    ) -> dict[int, Painted]:
        """`source_points` and `points`: (b, k, 3) keypoints of the source and of the driving picture."""
        motion = self.motion(source, source_points, points, source_pose, pose)
        out: dict[int, Painted] = self.generator(source, motion)
        return out


class AppearanceEncoder(nn.Module):
    """Source picture to features at 128 and 64 and the volume."""

    def __init__(self, config: LightConfig) -> None:
        super().__init__()
        half, quarter = config.source_channels
        self.depth = config.depth
        self.stem = nn.Conv2d(3, half, 4, 2, 1)
        self.stem2 = nn.Conv2d(half, half, 3, 1, 1)
        self.down = nn.Conv2d(half, quarter, 4, 2, 1)
        self.blocks = nn.Sequential(Residual(quarter), Residual(quarter))
        self.to_volume = nn.Conv2d(quarter, config.volume_channels * config.depth, 3, padding=1)

    def forward(self, picture: Tensor) -> Appearance:
        half = F.leaky_relu(self.stem(picture * 2 - 1), 0.1)
        half = F.leaky_relu(self.stem2(half), 0.1)
        quarter = self.blocks(F.leaky_relu(self.down(half), 0.1))
        volume = self.to_volume(quarter).unflatten(1, (-1, self.depth))
        return Appearance(picture, half, quarter, volume)


class DenseMotion(nn.Module):
    """Equations 1 and 2 with masks that start from distances."""

    def __init__(self, config: LightConfig, *, keypoints: int) -> None:
        super().__init__()
        c, k, d, guide = config.motion_channels, keypoints, config.depth, 16
        self.near, self.far = config.near, config.far
        self.sharpness = nn.Parameter(torch.full((k,), 3.9))
        self.background = nn.Parameter(torch.tensor(-3.0))
        self.spread = nn.Parameter(torch.full((2 * k,), -2.9))
        self.slices: Tensor
        self.register_buffer("slices", torch.linspace(config.near, config.far, d), persistent=False)
        self.reduce = nn.Conv2d(config.source_channels[1], guide, 1)
        self.enter = Layer(2 * k + 2 * guide + 3, c)
        self.down = nn.ModuleList([Layer(c, 2 * c), Layer(2 * c, 2 * c), Layer(2 * c, 2 * c), Layer(2 * c, 2 * c)])
        self.up = nn.ModuleList([Layer(4 * c, 2 * c), Layer(4 * c, 2 * c), Layer(4 * c, c), Layer(2 * c, c)])
        self.masks = nn.Conv2d(c, (k + 1) * d, 1)
        self.rest = nn.Conv2d(c, d + 1, 3, padding=1)
        for layer in (self.masks, self.rest):
            nn.init.zeros_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(
        self, source: Appearance, source_points: Tensor, points: Tensor, source_pose: Pose, pose: Pose
    ) -> Motion:
        h, w = source.quarter.shape[2:]
        d = len(self.slices)
        grid = pixel_grid(h, w).to(points)
        depth = self.slices[:, None, None, None].expand(-1, h, w, 1)
        voxels = torch.cat([grid.expand(d, -1, -1, -1), depth], -1)
        with torch.autocast(points.device.type, enabled=False):  # half precision would move points by a pixel
            turn, shifts = sparse_motions(source_points, points, source_pose, pose)
            logits = self._first_logits(points, voxels)
            middle = voxels[d // 2 : d // 2 + 1]
            first = blend(self._first_logits(points, middle), turn, shifts, middle)[:, 0, ..., :2]
            maps = self._heatmaps(torch.cat([points, source_points], 1), grid)
        guide = self.reduce(source.quarter)
        small = F.interpolate(source.picture, size=(h, w), mode="area")
        moved = sample(torch.cat([guide, small], 1), first)
        features = self._hourglass(torch.cat([maps.to(guide.dtype), guide, moved.to(guide.dtype)], 1))
        correction = self.masks(features).unflatten(1, (d, -1)).flatten(3).transpose(2, 3)
        rest = self.rest(features).float()
        with torch.autocast(points.device.type, enabled=False):
            flows = blend(logits + correction.float(), turn, shifts, voxels)
            flow = (rest[:, 1:].softmax(1)[..., None] * flows[..., :2]).sum(1)
            visible = (rest[:, :1] + 2).sigmoid()
            slice_number = (flows[..., 2:] - self.near) / (self.far - self.near) * (d - 1)
            place = torch.cat([flows[..., :2], (2 * slice_number + 1) / d - 1], -1)
            warped = F.grid_sample(source.volume.float(), place, padding_mode="border", align_corners=False)
        return Motion(flow, features, warped.flatten(1, 2) * visible, visible)

    def _first_logits(self, points: Tensor, voxels: Tensor) -> Tensor:
        """(b, d, h * w, k + 1) from squared distances to the driving keypoints; the last is the still background."""
        stretch = points.new_tensor([1, 1, 0.5])
        place, points = voxels.flatten(0, 2) * stretch, F.pad(points * stretch, (0, 0, 0, 1))
        cross = place @ points.transpose(1, 2)
        distance = place.square().sum(-1)[:, None] + points.square().sum(-1)[:, None] - 2 * cross
        sharpness = F.pad(self.sharpness.exp(), (0, 1))
        ground = F.pad(self.background[None], (len(self.sharpness), 0))
        return torch.addcmul(ground, distance, -sharpness).unflatten(1, (len(voxels), -1))

    def _heatmaps(self, points: Tensor, grid: Tensor) -> Tensor:
        """(b, 2k, h, w) a bump at every keypoint."""
        inverse = (-self.spread).exp()[None, :, None]
        across = (-((points[..., 0, None] - grid[0, :, 0]) * inverse).square()).exp()
        along = (-((points[..., 1, None] - grid[:, 0, 1]) * inverse).square()).exp()
        return along[..., :, None] * across[..., None, :]

    def _hourglass(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        kept = []
        for layer in self.down:
            kept.append(x)
            x = layer(F.avg_pool2d(x, 2))
        for layer, skip in zip(self.up, reversed(kept), strict=True):
            x = layer(torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1))
        return x


class Generator(nn.Module):
    """A.1: a picture at 64, 128 and 256; each blends painted with moved pixels."""

    def __init__(self, config: LightConfig) -> None:
        super().__init__()
        c64, c128, c256 = config.channels
        half, _ = config.source_channels
        self.enter = nn.Conv2d(config.volume_channels * config.depth + config.motion_channels, c64, 1)
        self.blocks = nn.Sequential(*[Residual(c64) for _ in range(config.blocks)])
        self.paint64 = nn.Conv2d(c64, 4, 3, padding=1)
        self.up128 = nn.Conv2d(c64 + 3, c128, 3, padding=1)
        self.join128 = nn.Conv2d(c128 + half, c128, 3, padding=1)
        self.more128 = nn.Conv2d(c128, c128, 3, padding=1)
        self.paint128 = nn.Conv2d(c128, 4, 3, padding=1)
        self.up256 = nn.Conv2d(c128 + 3, c256, 3, padding=1)
        self.join256 = nn.Conv2d(c256 + 3, c256, 3, padding=1)
        self.more256 = nn.Conv2d(c256, c256, 3, padding=1)
        self.paint256 = nn.Conv2d(c256, 4, 3, padding=1)

    def forward(self, source: Appearance, motion: Motion) -> dict[int, Painted]:
        act = partial(F.leaky_relu, negative_slope=0.1)
        h, w = motion.flow.shape[1:3]
        small, middle, large = (enlarge(motion.flow, (h * n, w * n)) for n in (1, 2, 4))
        x = self.enter(torch.cat([motion.warped, motion.features.to(motion.warped.dtype)], 1))
        x = self.blocks(act(x))
        out64 = paint(self.paint64(x), sample(shrink(source.picture, 4), small))
        x = F.interpolate(act(self.up128(torch.cat([x, out64.picture.to(x.dtype)], 1))), scale_factor=2.0)
        moved = sample(source.half, middle) * resize(motion.visible, (2 * h, 2 * w))
        x = act(self.join128(torch.cat([x, moved.to(x.dtype)], 1)))
        x = x + act(self.more128(x))
        out128 = paint(self.paint128(x), sample(shrink(source.picture, 2), middle))
        x = F.interpolate(act(self.up256(torch.cat([x, out128.picture.to(x.dtype)], 1))), scale_factor=2.0)
        moved = sample(source.picture, large)
        x = act(self.join256(torch.cat([x, moved.to(x.dtype)], 1)))
        x = x + act(self.more256(x))
        return {w: out64, 2 * w: out128, 4 * w: paint(self.paint256(x), moved)}


@dataclass(frozen=True)
class Painted:
    """A picture and what it was blended from: picture = share * moved + (1 - share) * painted."""

    picture: Tensor
    """(b, 3, s, s) in [0, 1]."""
    painted: Tensor
    """(b, 3, s, s)."""
    moved: Tensor
    """(b, 3, s, s)."""
    share: Tensor
    """(b, 1, s, s) of moved pixels."""


class Layer(nn.Module):
    """Convolution, batch norm, leaky ReLU."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), 0.1)


class Residual(nn.Module):
    """x + conv(act(norm(conv(x)))), the second convolution small at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Layer(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


def sparse_motions(source_points: Tensor, points: Tensor, source_pose: Pose, pose: Pose) -> tuple[Tensor, Tensor]:
    """Equation 1 for all keypoints: A_k(z) = J z + c_k with the one J = f_S R_S (f_D R_D)^-1 of rigid heads.

    Returns:
        J (b, 3, 3) and c_k = p_S^k - J p_D^k (b, k, 3).
    """
    turn = relative_jacobian(source_pose, pose)
    return turn, source_points - points @ turn.mT


def blend(logits: Tensor, turn: Tensor, shifts: Tensor, voxels: Tensor) -> Tensor:
    """Equation 2: T(z) = M_0 z + sum_k M_k A_k(z).

    Args:
        logits: (b, d, h * w, k + 1) of the masks, background last. turn, shifts: as of `sparse_motions`.
        voxels: (d, h, w, 3) places z.

    Returns:
        (b, d, h, w, 3) places in the source.
    """
    flat = voxels.flatten(1, 2)
    still = F.pad(shifts.new_ones(1, 1), (3, 0)).expand(len(shifts), 1, 4)
    columns = torch.cat([F.pad(shifts, (0, 1)), still], 1)  # (b, k + 1, 4): c_k, and 1 for the background
    moved, ground = (logits.softmax(-1).flatten(1, 2) @ columns).unflatten(1, flat.shape[:2]).split((3, 1), -1)
    turned = torch.einsum("bij,dnj->bdni", turn, flat)
    flows: Tensor = torch.lerp(turned, flat.expand_as(turned), ground) + moved
    return flows.unflatten(2, voxels.shape[1:3])


def paint(x: Tensor, moved: Tensor) -> Painted:
    """Four channels (colour, share) and moved pixels to a picture."""
    x = x.float()
    painted, share = x[:, :3] + 0.5, (4 * (x[:, 3:] / 4).tanh()).sigmoid()  # never so sure that it cannot learn
    return Painted(painted + share * (moved - painted), painted, moved, share)


def sample(features: Tensor, flow: Tensor) -> Tensor:
    """(b, c, h, w) read at `flow` (b, h', w', 2); beyond the border its pixels go on."""
    read = F.grid_sample(features.float(), flow, padding_mode="border", align_corners=False)
    return read.contiguous(memory_format=torch.channels_last)


def enlarge(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """(b, h, w, 2) flow at another size (height, width)."""
    if flow.shape[1:3] == size:
        return flow
    step = (flow - pixel_grid(*flow.shape[1:3]).to(flow)).permute(0, 3, 1, 2)  # a place would stop at the border
    return resize(step, size).permute(0, 2, 3, 1) + pixel_grid(*size).to(flow)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(b, c, h, w) at another size, bilinearly."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def shrink(picture: Tensor, factor: int) -> Tensor:
    return F.avg_pool2d(picture, factor)


def pixel_grid(height: int, width: int) -> Tensor:
    """(h, w, 2) normalised x, y of the pixel centres."""
    y, x = torch.meshgrid(
        (torch.arange(height) * 2 + 1) / height - 1, (torch.arange(width) * 2 + 1) / width - 1, indexing="ij"
    )
    return torch.stack([x, y], -1)
