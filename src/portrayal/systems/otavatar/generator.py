"""The tri-plane generator G of EG3D: latents to planes, planes and a camera to a picture (EG3D, Sec. 4 and Fig. 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from portrayal.nn.rendering.depth import depth_map
from portrayal.nn.rendering.fast import FastField, render_fast
from portrayal.nn.rendering.head import FLOOR, HEIGHT, STEEPNESS, ellipsoid_planes
from portrayal.nn.rendering.rays import camera_rays
from portrayal.nn.rendering.volume import Draws, RayConfig, Rendered, middle_draws, random_draws, render_rays
from portrayal.nn.stylegan2 import Generator, SynthesisNetwork
from portrayal.nn.stylegan2_layers import NoiseMode, SynthesisBlock, full_precision
from portrayal.nn.super_resolution import SuperResolution, split_feature
from portrayal.nn.triplane import OSGDecoder, sample_triplane, triplane_field
from portrayal.systems.otavatar.config import GeneratorConfig
from portrayal.types import Depth

CAMERA_SIZE = 25
UNUSED = "noise_strength"
"""Of the super-resolution, which never adds noise."""

Draw = Callable[[Tensor, RayConfig], Draws]
"""Rays (b, r, 3) to the draws of a rendering."""


@dataclass(frozen=True)
class View:
    """Faces seen by their cameras."""

    raw: Tensor
    """(b, 3, n, n) about [-1, 1], as rendered."""
    depth: Tensor
    """(b, 1, n, n) world units along the rays."""
    picture: Tensor | None
    """(b, 3, s, s) about [-1, 1], after super-resolution; None where that was left out."""


@dataclass(frozen=True)
class Drawn:
    """Faces as training draws them."""

    view: View
    planes: Tensor
    """(b, 3, c, h, w)."""
    w: Tensor
    """(b, w_dim)."""
    camera: Tensor
    """(b, 25)."""


class TriplaneGenerator(nn.Module):
    """G(w; Theta_eg) and its rendering R."""

    head: Tensor | None
    """(3, c, h, w) of `ellipsoid_planes`, added to all planes; None without `GeneratorConfig.head_prior`."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Generator(
            config.plane_size,
            z_dim=config.z_dim,
            w_dim=config.w_dim,
            label_dim=CAMERA_SIZE,
            mapping_layers=config.mapping_layers,
            channels=3 * config.plane_channels,
            channel_base=config.channel_base,
            channel_max=config.channel_max,
            mapping_rate=config.mapping_rate,
        )
        self.decoder = OSGDecoder(config.plane_channels, hidden=config.decoder_hidden, colours=config.plane_channels)
        self.super_resolution = SuperResolution(
            config.plane_channels,
            config.w_dim,
            input_size=config.super_input,
            widths=config.super_widths,
            clamp=config.super_clamp,
        )
        for name, parameter in self.super_resolution.named_parameters():
            parameter.requires_grad_(not name.endswith(UNUSED))
        self.background = (
            SynthesisNetwork(
                config.neural_size,
                config.w_dim,
                channels=config.plane_channels,
                channel_base=config.background * config.neural_size,
                channel_max=config.background,
            )
            if config.background
            else None
        )
        head = None
        if config.head_prior:
            head = ellipsoid_planes(config.plane_channels, config.plane_size, box_size=config.rays.box_size)
            self._begin_as_head()
        self.register_buffer("head", head, persistent=False)

    @torch.no_grad()
    def _begin_as_head(self) -> None:
        """The density begins as that of `head`, whose channel the synthesis network leaves alone at first."""
        self.decoder.begin_with(steepness=STEEPNESS, height=HEIGHT, floor=FLOOR)
        for block in self.backbone.synthesis.blocks:
            assert isinstance(block, SynthesisBlock)
            block.to_rgb.conv.weight[:: self.config.plane_channels] = 0

    @property
    def layers(self) -> int:
        """Latent vectors of W+."""
        return self.backbone.synthesis.layers

    @property
    def w_mean(self) -> Tensor:
        """(w_dim,) w_avg."""
        return self.backbone.mapping.w_mean

    def drawing_parameters(self) -> dict[str, nn.Parameter]:
        """All that decides what latents look like, by name."""
        return {
            name: parameter
            for name, parameter in self.named_parameters()
            if not name.startswith("backbone.mapping.")
            and not (name.startswith("super_resolution.") and name.endswith(UNUSED))
        }

    def latents(self, z: Tensor, camera: Tensor) -> Tensor:
        """z (b, z_dim) and the cameras (b, 25) that condition it to w (b, w_dim) (EG3D, Sec. 4.4)."""
        return self.backbone.mapping(z, camera)

    def planes(self, ws: Tensor, *, noise: NoiseMode = "const") -> Tensor:
        """(b, layers, w_dim) to planes (b, 3, c, h, w)."""
        return self.as_planes(self.backbone.synthesis(ws, noise=noise))

    def as_planes(self, images: Tensor) -> Tensor:
        """What the synthesis network gives, (b, 3 c, h, w), as planes (b, 3, c, h, w)."""
        planes = images.unflatten(1, (3, -1))
        return planes if self.head is None else planes + self.head

    def draw(self, w: Tensor, camera: Tensor) -> Drawn:
        """Faces of w (b, w_dim) as training draws them: random noise, random places on the rays."""
        ws = self.broadcast(w)
        planes = self.planes(ws, noise="random")
        return Drawn(self.view(planes, ws, camera, draw=random_draws), planes, w, camera)

    def view(
        self, planes: Tensor, ws: Tensor, camera: Tensor, *, enlarge: bool = True, draw: Draw = middle_draws
    ) -> View:
        """Render planes.

        Args:
            ws: what the planes are of; the super-resolution reads the last latent.
            camera: (b, 25).
            enlarge: run the super-resolution.
            draw: places of the samples along the rays; `random_draws` in training.
        """
        side, rays = self.config.neural_size, self.config.rays
        with full_precision(planes):  # places on rays need more digits than half precision has
            origins, directions = camera_rays(camera.float(), height=side, width=side)
            field = triplane_field(
                planes.float(), self.decoder, box_size=rays.box_size, plane_axes=self.config.plane_axes
            )
            rendered = render_rays(field, origins, directions, rays, draw(origins, rays))
        raw, feature = self._feature(rendered, ws)
        picture = self.super_resolution(raw, feature, ws) if enlarge else None
        return View(raw, rendered.depth.unflatten(1, (1, side, side)), picture)

    @torch.no_grad()
    def look(self, planes: Tensor, ws: Tensor, camera: Tensor) -> Tensor:
        """The picture of `view` of one face, quicker.

        Args:
            planes: (1, 3, c, h, w). ws: (1, layers, w_dim). camera: (1, 25).

        Returns:
            (1, 3, s, s), about [-1, 1].
        """
        return self.finish(self.rendered(planes, camera), ws)

    @torch.no_grad()
    def look_through(self, planes: Tensor, ws: Tensor, camera: Tensor) -> tuple[Tensor, Tensor]:
        """The picture of `look`, and the opacity of what the planes hold, (1, 1, n, n) in [0, 1]."""
        rendered, side = self.rendered(planes, camera), self.config.neural_size
        return self.finish(rendered, ws), rendered.opacity.unflatten(1, (1, side, side))

    @torch.no_grad()
    def depth(self, planes: Tensor, camera: Tensor) -> Depth:
        """The depth of what `look` shows with the same arguments, (1, 1, n, n)."""
        rendered, square = self.rendered(planes, camera), (self.config.neural_size,) * 2
        return depth_map(rendered.depth.unflatten(1, square), rendered.opacity.unflatten(1, square), camera)

    def rendered(self, planes: Tensor, camera: Tensor) -> Rendered:
        """The volume rendering of `look`, (1, n^2) rays."""
        side, rays = self.config.neural_size, self.config.rays
        origins, directions = camera_rays(camera, height=side, width=side)
        field = FastField(planes[0], self.decoder, box_size=rays.box_size, plane_axes=self.config.plane_axes)
        return render_fast(field, origins[0], directions[0], rays)

    def finish(self, rendered: Rendered, ws: Tensor) -> Tensor:
        """The rest of `look`: background and super-resolution."""
        raw, feature = self._feature(rendered, ws)
        return self.super_resolution(raw, feature, ws)

    def _feature(self, rendered: Rendered, ws: Tensor) -> tuple[Tensor, Tensor]:
        """The raw RGB (b, 3, n, n) and the feature picture (b, c, n, n) in [-1, 1], with what is behind the planes."""
        side, colour = self.config.neural_size, rendered.colour
        if self.background is not None:
            behind = torch.sigmoid(self.background(ws[:, -1:].expand(-1, self.background.layers, -1)))
            colour = colour + (1 - rendered.opacity[..., None]) * behind.flatten(2).mT
        return split_feature(colour, height=side, width=side)

    def density(self, planes: Tensor, points: Tensor) -> Tensor:
        """Raw density (b, n) at points (b, n, 3) of the world."""
        with full_precision(planes):
            rays = self.config.rays
            features = sample_triplane(
                planes.float(), points, box_size=rays.box_size, plane_axes=self.config.plane_axes
            )
            return self.decoder(features)[1]

    def forward(self, ws: Tensor, camera: Tensor) -> Tensor:
        """Latents (b, layers, w_dim) and cameras (b, 25) to pictures (b, 3, s, s), about [-1, 1]."""
        picture = self.view(self.planes(ws), ws, camera).picture
        assert picture is not None
        return picture

    def broadcast(self, w: Tensor) -> Tensor:
        """w (b, w_dim) to w+ (b, layers, w_dim)."""
        return self.backbone.broadcast(w)
