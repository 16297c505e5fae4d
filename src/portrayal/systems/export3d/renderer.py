"""From the tri-plane to the picture (Sec. 3.3): two MLPs, volume rendering, super-resolution."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.precision import in_float32
from portrayal.nn.rendering.rays import camera_rays
from portrayal.nn.rendering.volume import Draws, RayConfig, Rendered, middle_draws, random_draws, render_rays
from portrayal.nn.super_resolution import split_feature
from portrayal.nn.triplane import triplane_field
from portrayal.systems.export3d.config import RendererConfig

SLOPE = 0.2
"""Of the leaky ReLUs."""


@dataclass(frozen=True)
class View:
    """What a camera sees of a tri-plane."""

    raw: Tensor
    """(b, 3, H / 4, W / 4), about [0, 1]: D_raw."""
    picture: Tensor
    """(b, 3, H, W), about [0, 1], not limited: D."""
    depth: Tensor
    """(b, H / 4, W / 4) world units along the ray."""
    opacity: Tensor
    """(b, H / 4, W / 4) in [0, 1]."""


class TwoMlps(nn.Module):
    """Equation 8: the mean feature of the planes to colour and density, by a soft-plus MLP for each (S 1.2).

    Also a `nn.triplane.Decoder`: `colour` can be asked for where something is seen alone.
    """

    def __init__(self, channels: int, *, neurons: int, colours: int) -> None:
        super().__init__()
        self.to_density = nn.Sequential(nn.Linear(channels, neurons), nn.Softplus(), nn.Linear(neurons, 1))
        self.to_colour = nn.Sequential(nn.Linear(channels, neurons), nn.Softplus(), nn.Linear(neurons, colours))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(..., channels) to colour (..., colours) in [0, 1] and raw density (...), see `nn.rendering.marching`."""
        density, state = self.density(features)
        return self.colour(state), density

    def density(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.to_density(features)[..., 0], features

    def colour(self, state: Tensor) -> Tensor:
        return torch.sigmoid(self.to_colour(state))


class PlainBlock(nn.Module):
    """A block of StyleGAN2's "output skips" with plain convolutions: twice the size, and a part of the picture."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv0, self.conv1 = nn.Conv2d(c_in, c_out, 3, 1, 1), nn.Conv2d(c_out, c_out, 3, 1, 1)
        self.to_rgb = nn.Conv2d(c_out, 3, 1)

    def forward(self, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """(b, c_in, h, w) and (b, 3, h, w) to (b, c_out, 2 h, 2 w) and (b, 3, 2 h, 2 w)."""
        x = F.leaky_relu(self.conv0(enlarge(x)), SLOPE)
        x = F.leaky_relu(self.conv1(x), SLOPE)
        return x, enlarge(image) + self.to_rgb(x)


def enlarge(x: Tensor) -> Tensor:
    """Twice the size with the filter of `nn.resample.double`; but the border goes on instead of fading to grey."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Renderer(nn.Module):
    """A tri-plane and a camera to D_raw and D."""

    def __init__(self, config: RendererConfig, *, plane_channels: int, image_size: int) -> None:
        super().__init__()
        self.side = image_size // 4
        """Of D_raw."""
        coarse, fine = config.samples
        self.rays = RayConfig(coarse_samples=coarse, fine_samples=fine, limits=None, box_size=config.box_size)
        self.mlps = TwoMlps(plane_channels, neurons=config.neurons, colours=config.colours)
        widths = (config.colours, *config.upsampling)
        self.super_resolution = nn.ModuleList(PlainBlock(c_in, c_out) for c_in, c_out in pairwise(widths))

    def forward(self, planes: Tensor, camera: Tensor, *, generator: torch.Generator | None = None) -> View:
        """
        Args:
            planes: (b, 3, c, H / 2, W / 2), as in `nn.triplane`.
            camera: (b, 25), `face.camera`.
            generator: of the samples' places in training; in evaluation mode they are the same for every ray.
        """
        rendered = self.march(planes, camera, generator=generator)
        raw, feature = split_feature(rendered.colour, height=self.side, width=self.side)
        x, image = feature, raw
        for block in self.super_resolution:
            x, image = block(x, image)
        depth, opacity = (value.unflatten(-1, (self.side, self.side)) for value in (rendered.depth, rendered.opacity))
        return View((raw + 1) / 2, (image.float() + 1) / 2, depth, opacity)

    @in_float32
    def march(self, planes: Tensor, camera: Tensor, *, generator: torch.Generator | None = None) -> Rendered:
        """Volume rendering alone (equations 7, 9, 10), H W / 16 rays; arguments as of `forward`."""
        origins, directions = camera_rays(camera, height=self.side, width=self.side)
        draws: Draws = (
            random_draws(origins, self.rays, generator) if self.training else middle_draws(origins, self.rays)
        )
        field = triplane_field(planes, self.mlps, box_size=self.rays.box_size)
        return render_rays(field, origins, directions, self.rays, draws)
