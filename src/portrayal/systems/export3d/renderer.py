"""From the tri-plane to the picture (Sec. 3.3): two MLPs, volume rendering, super-resolution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.errors import InputError
from portrayal.nn.precision import in_float32
from portrayal.nn.rendering.fast import FastField, render_fast
from portrayal.nn.rendering.head import FLOOR, HEIGHT, STEEPNESS, ellipsoid_planes
from portrayal.nn.rendering.rays import box_limits, camera_rays
from portrayal.nn.rendering.volume import Draws, RayConfig, Rendered, middle_draws, random_draws, render_rays
from portrayal.nn.super_resolution import split_feature
from portrayal.nn.triplane import triplane_field
from portrayal.systems.export3d.body import behind_places, below_neck
from portrayal.systems.export3d.config import RendererConfig
from portrayal.systems.export3d.detail import (
    Background,
    OwnSight,
    SourceView,
    fetch,
    left_behind,
    nearer_places,
    places_in_source,
    rim_places,
    sample,
    without_fog,
)
from portrayal.systems.export3d.flow import OPENINGS, ExpressionFlow, Look
from portrayal.systems.export3d.layers import SLOPE, enlarge

GIVEN = 4
"""Channels that the super-resolution reads beside its feature: fetched pixels, and where they show the head's old
place; with `RendererConfig.flow` where mouth and eyes open, too."""
OFFSET = 2
"""Further colours: where the source shows a point, beside where it should."""


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
    fetched: Fetched | None = None


@dataclass(frozen=True)
class Fetched:
    """How the source's pixels and those that were made come together (`RendererConfig.detail`)."""

    made: Tensor
    """(b, 3, H, W), about [0, 1]: the picture without the source's pixels."""
    share: Tensor
    """(b, 1, H, W) in [0, 1], of the source's pixels."""
    places: Tensor
    """(b, 2, H, W) of `detail.places_in_source`."""
    opacity: Tensor | None
    """As `detail.fetch` takes it, as the following."""
    behind: Tensor | None

    def over(self, picture: Tensor) -> Tensor:
        """The view in the resolution of the source's picture (b, 3, s, s)."""
        size = picture.shape[-2:]
        made, share = (
            F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in (self.made, self.share)
        )
        return torch.lerp(made, self.of(picture), share)

    def of(self, picture: Tensor) -> Tensor:
        """(b, 3, s, s) a picture as the source's pixels are fetched."""
        return fetch(picture, self.places, self.opacity, self.behind)


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

    def __init__(self, c_in: int, c_out: int, *, given: int = 0) -> None:
        """`given`: further channels of the input, which have twice its size already."""
        super().__init__()
        self.conv0, self.conv1 = nn.Conv2d(c_in + given, c_out, 3, 1, 1), nn.Conv2d(c_out, c_out, 3, 1, 1)
        self.to_rgb = nn.Conv2d(c_out, 3, 1)

    def forward(self, x: Tensor, image: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
        """(b, c_in, h, w) and (b, 3, h, w) to (b, c_out, 2 h, 2 w) and (b, 3, 2 h, 2 w)."""
        x = F.leaky_relu(self.conv0(torch.cat([enlarge(x), *given], 1)), SLOPE)
        x = F.leaky_relu(self.conv1(x), SLOPE)
        return x, enlarge(image) + self.to_rgb(x)


class Renderer(nn.Module):
    """A tri-plane and a camera to D_raw and D."""

    head: Tensor
    """(3, c, H / 2, W / 2) of `head.ellipsoid_planes`, or () zero: added to every tri-plane."""

    def __init__(self, config: RendererConfig, *, plane_channels: int, image_size: int) -> None:
        super().__init__()
        self.config = config
        self.side = image_size // 4
        """Of D_raw."""
        coarse, fine = config.samples
        self.rays = RayConfig(coarse_samples=coarse, fine_samples=fine, limits=None, box_size=config.box_size)
        self.mlps = TwoMlps(plane_channels, neurons=config.neurons, colours=config.colours + OFFSET * config.detail)
        widths = (config.colours, *config.upsampling)
        given = GIVEN * config.detail + OPENINGS * config.flow
        self.super_resolution = nn.ModuleList(PlainBlock(c_in, c_out, given=given) for c_in, c_out in pairwise(widths))
        self.flow = ExpressionFlow() if config.flow else None
        self.background = Background(config.background, config.colours) if config.split else None
        self.share = nn.Conv2d(widths[-1], 1, 1) if config.detail else None
        prior = ellipsoid_planes(plane_channels, image_size // 2, box_size=config.box_size)
        self.register_buffer("head", prior if config.head_prior else torch.zeros(()), persistent=False)
        self._begin()

    @torch.no_grad()
    def _begin(self) -> None:
        """What is known before training: the head's place, and that a point is fetched from where it should be."""
        if self.config.detail:
            for parameter in self.mlps.to_colour[2].parameters():
                parameter[-OFFSET:] = 0
        if self.config.head_prior:
            # One neuron reads 1 - r^2; raw density 21 in the middle of the head, -1 on its surface, -3 away from it.
            (first, bias), (last, last_bias) = (layer.parameters() for layer in list(self.mlps.to_density)[::2])
            first[0], bias[0] = 0, 0
            first[0, 0] = STEEPNESS
            last[0, 0], last_bias[0] = HEIGHT, FLOOR

    def forward(
        self,
        planes: Tensor,
        camera: Tensor,
        *,
        source: SourceView | None = None,
        look: Look | None = None,
        generator: torch.Generator | None = None,
    ) -> View:
        """
        Args:
            planes: (b, 3, c, H / 2, W / 2), as in `nn.triplane`.
            camera: (b, 25), `face.camera`.
            source: needed by `RendererConfig.split` and `detail`.
            look: of the driving frame, needed by `RendererConfig.flow`.
            generator: of the samples' places in training; in evaluation mode they are the same for every ray.
        """
        flow = self.flow_of(source, look)
        return self.finish(self.march(planes, camera, generator=generator), camera, source, flow=flow)

    def flow_of(self, source: SourceView | None, look: Look | None) -> Tensor | None:
        """The field of `flow`, as far as the configuration has one.

        Raises:
            InputError: there is no source or no driving frame, and the configuration needs them.
        """
        if self.flow is None:
            return None
        source = _given(source)
        if look is None:
            raise InputError("renderer.flow is set: the renderer needs the driving expression and gaze")
        return self.flow(source.identity, source.look, look)

    def finish(
        self,
        rendered: Rendered,
        camera: Tensor,
        source: SourceView | None,
        *,
        background: Tensor | None = None,
        flow: Tensor | None = None,
        own: OwnSight | None = None,
    ) -> View:
        """From the rays to the picture: background, super-resolution, the source's pixels.

        Args:
            background: of the source, where it is known already. flow: as `flow_of` gives it.
            own: of the source, which then tells where pixels are fetched from (`RendererConfig.corrected`).

        Raises:
            InputError: there is no source, and the configuration needs one.
        """
        colours, offset = rendered.colour.tensor_split([self.config.colours], -1)
        depth, opacity = (value.unflatten(-1, (self.side, self.side)) for value in (rendered.depth, rendered.opacity))
        raw, feature = split_feature(colours, height=self.side, width=self.side)
        moved = self._body(source, camera, own)
        if self.background is not None:
            behind = self.background(_given(source)) if background is None else background
            if moved is not None:
                behind = sample(behind, moved)
            # Rays give colours times opacity, in [0, 1]; `split_feature` has moved them to [-1, 1].
            feature = feature + 2 * (1 - opacity[:, None]) * behind
            raw = feature[:, :3]
        if self.share is None:
            return View((raw + 1) / 2, (self._enlarged(feature, raw, [])[1].float() + 1) / 2, depth, opacity)
        source = _given(source)
        points, offset = self._surface(rendered.depth, rendered.opacity, offset, camera, size=source.picture.shape[-1])
        openings: list[Tensor] = []
        if self.flow is not None:
            assert flow is not None
            points, opened = self.flow.move(points, flow)
            openings = [opened.mT.unflatten(-1, source.picture.shape[-2:])]
        places = places_in_source(points, offset, source.camera).mT.unflatten(-1, source.picture.shape[-2:])
        head = opacity[:, None] if self.config.split else None
        if own is not None:
            places = nearer_places(places, own.misplaced)
            places = rim_places(places, points, source, own.seen)
            if head is not None:
                head = without_fog(head, points, places, source, own.seen)
                head = head * (1 - below_neck(source.camera, camera, own.neck, side=head.shape[-1]))
        pixels = fetch(source.picture, places, head, moved)
        given = torch.cat([2 * pixels - 1, left_behind(source, head, moved), *openings], 1)
        x, image = self._enlarged(feature, raw, [F.avg_pool2d(given, 2), given])
        made, share = (image.float() + 1) / 2, torch.sigmoid(self.share(x).float())
        fetched = Fetched(made, share, places, head, moved)
        return View((raw + 1) / 2, torch.lerp(made, pixels, share), depth, opacity, fetched)

    def _body(self, source: SourceView | None, camera: Tensor, own: OwnSight | None) -> Tensor | None:
        """`body.behind_places`, as far as the configuration has it."""
        if not self.config.body:
            return None
        source = _given(source)
        return behind_places(source.camera, camera, side=source.picture.shape[-1], own=own)

    def _enlarged(self, feature: Tensor, raw: Tensor, given: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The last feature (b, c, H, W) and the picture (b, 3, H, W) in [-1, 1]."""
        x, image = feature, raw
        for level, block in enumerate(self.super_resolution):
            x, image = block(x, image, *given[level : level + 1])
        return x, image

    @in_float32
    def _surface(
        self, depth: Tensor, opacity: Tensor, offset: Tensor, camera: Tensor, *, size: int
    ) -> tuple[Tensor, Tensor]:
        """What rays of `march` meet, and its offset in the source, enlarged: (b, size^2, 3) world, (b, size^2, 2)."""
        # Rays give offsets times opacity.
        met = torch.cat([depth[..., None], offset / opacity[..., None].clamp_min(1e-3)], -1).mT
        met = met.unflatten(-1, (self.side, self.side))
        larger = F.interpolate(met, size=(size, size), mode="bilinear", align_corners=False)
        depth, offset = larger.flatten(2).mT.tensor_split([1], -1)
        origins, directions = self._rays(camera, side=size)
        return origins + depth * directions, offset

    @in_float32
    def march(self, planes: Tensor, camera: Tensor, *, generator: torch.Generator | None = None) -> Rendered:
        """Volume rendering alone (equations 7, 9, 10), H W / 16 rays; arguments as of `forward`."""
        origins, directions = self._rays(camera)
        draws: Draws = (
            random_draws(origins, self.rays, generator) if self.training else middle_draws(origins, self.rays)
        )
        field = triplane_field(planes + self.head, self.mlps, box_size=self.rays.box_size)
        return self._inside(render_rays(field, origins, directions, self.rays, draws), origins, directions)

    def look(self, planes: Tensor, camera: Tensor) -> Rendered:
        """`march` in evaluation mode of one face, quicker, without gradients, and in half precision under autocast.

        Args:
            planes: (1, 3, c, H / 2, W / 2). camera: (1, 25).
        """
        origins, directions = self._rays(camera)
        half = torch.is_autocast_enabled(planes.device.type)
        dtype = torch.get_autocast_dtype(planes.device.type) if half else planes.dtype
        rendered = render_fast(self.field(planes, dtype), origins[0], directions[0], self.rays)
        return self._inside(rendered, origins, directions)

    def field(self, planes: Tensor, dtype: torch.dtype) -> FastField:
        """What planes (1, 3, c, H / 2, W / 2) hold."""
        return FastField((planes + self.head)[0], self.mlps, box_size=self.rays.box_size, dtype=dtype)

    @in_float32
    def _rays(self, camera: Tensor, *, side: int | None = None) -> tuple[Tensor, Tensor]:
        side = side or self.side
        return camera_rays(camera, height=side, width=side)

    def _inside(self, rendered: Rendered, origins: Tensor, directions: Tensor) -> Rendered:
        """With `split` nothing but background beside the planes' cube."""
        if not self.config.split:
            return rendered
        hit = box_limits(origins, directions, box_size=self.config.box_size)[2]
        return replace(rendered, colour=rendered.colour * hit[..., None], opacity=rendered.opacity * hit)


def _given(source: SourceView | None) -> SourceView:
    if source is None:
        raise InputError("renderer.split and renderer.detail are set: the renderer needs the source and its camera")
    return source
