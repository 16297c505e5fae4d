"""Encode a portrait once, then give its tri-plane the expression of each frame and look at it with each frame's camera.

Expression b and camera are those of `FaceParams`, which `motion.retarget` has moved onto the portrait: nothing else of
the driving person comes in (Sec. 3). The planes follow from the expression alone, so while only the camera moves they
are made once (novel views).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from portrayal.media.head import head_mask, pixel_centres
from portrayal.media.matte import Matte
from portrayal.motion.compose import moved_shape, recompose
from portrayal.motion.options import RetargetOptions
from portrayal.motion.remarks import frame_numbers, turned_frames, unsure_frames
from portrayal.nn.precision import quick_precision
from portrayal.nn.rendering.depth import depth_map, enlarge_depth
from portrayal.nn.rendering.fast import FastField
from portrayal.systems.export3d.body import ends_below, neck_of
from portrayal.systems.export3d.config import Config
from portrayal.systems.export3d.detail import OwnSight, SourceView, left_behind, own_places
from portrayal.systems.export3d.flow import Look
from portrayal.systems.export3d.generator import SourceFeatures
from portrayal.systems.export3d.model import Export3d
from portrayal.systems.export3d.own import OwnView
from portrayal.systems.export3d.renderer import Fetched, View
from portrayal.systems.export3d.surroundings import Surroundings
from portrayal.systems.openings import Openings
from portrayal.systems.portrait_mesh import PortraitMesh
from portrayal.types import Depth, Driving, FaceClip, FaceParams, Layers, Portrait, Source

BODY = (0.5, 0.7)
"""Head units that a neck moves: up to which neck and shoulders are `body.behind_places`', and from which on meshwarp's,
which bend over a longer way and leave the background alone. On validation people the former are nearer to the truth."""


@dataclass(frozen=True)
class Export3dSource(Source):
    """A portrait as the networks know it."""

    view: SourceView
    """The portrait at the model's size."""
    features: SourceFeatures
    """Visual tokens, before any expression (Sec. 3.2)."""
    background: Tensor | None
    """(1, c, H / 4, W / 4), with `RendererConfig.split`."""
    own: OwnView | None = None
    """With `RendererConfig.corrected`, as the following, which needs `split`, too."""
    surroundings: Surroundings | None = None
    mesh: PortraitMesh | None = None
    """As `surroundings`, for what a head that moves or turns far uncovers."""


@dataclass(frozen=True)
class Export3dDriving(Driving):
    """A motion; expression and camera are in `params`."""

    change: Tensor
    """(t, n) what is added to the coefficients lambda (S 1.6)."""


def build(config: Config) -> Export3d:
    """The model; weights are loaded separately."""
    return Export3d(config)


def encode_source(model: Export3d, portrait: Portrait) -> Export3dSource:
    """
    Args:
        portrait: (1, 3, h, w) square crop of any size, scaled to `Config.image_size` here.

    Raises:
        ValueError: the portrait is not one square picture with one frame of parameters.
    """
    portrait.require_square()
    size = (model.config.image_size,) * 2
    picture = F.interpolate(portrait.image, size, mode="bilinear", align_corners=False, antialias=True)
    params = portrait.params
    look = Look(model.seen.limited(params.expression)[0], params.gaze)
    view = SourceView(picture, params.camera, params.identity, look)
    network = model.renderer.background
    with quick_precision(picture):
        features = model.generator.encode(picture, view.camera)
        source = Export3dSource(portrait, view, features, None if network is None else network(view))
    if not model.config.renderer.corrected:
        return source
    matte = Matte.of(portrait)
    with quick_precision(picture):
        own = own_view(model, source, matte)
    if own.opacity is None:
        return replace(source, own=own)
    around, mesh = Surroundings(portrait, matte, own.opacity), PortraitMesh(portrait, matte)
    return replace(source, own=own, surroundings=around, mesh=mesh)


def driving_pixels(model: Export3d) -> int | None:
    """None: the motion follows from the face parameters."""
    return None


def encode_driving(model: Export3d, clip: FaceClip) -> Export3dDriving:
    """The motion of a clip; its pixels are not looked at."""
    change = clip.params.scale.new_zeros(len(clip.params), model.config.clebs.coefficients)
    return Export3dDriving(clip.params, clip.times, change)


def retarget_codes(driving: Export3dDriving, options: RetargetOptions) -> Export3dDriving:
    """Nothing to do: expression and camera are on the source already."""
    return driving


def render(model: Export3d, source: Export3dSource, driving: Export3dDriving) -> Iterator[Tensor]:
    """Draw the portrait with a motion that is already retargeted to it.

    Yields:
        (1, 3, h, w) float32 [0, 1].
    """
    openings = _openings(model, source)
    for frame, view in enumerate(views(model, source, driving)):
        part = driving[frame : frame + 1]
        shown = shown_params(model, part)
        picture = picture_of(view, source, shown, source.portrait.image)
        if source.mesh is not None:
            picture = source.mesh.lay_over(picture, shown, within=BODY)
        yield picture if openings is None else openings.fill(picture, shown)


def _openings(model: Export3d, source: Export3dSource) -> Openings | None:
    """With `RendererConfig.openings`."""
    return Openings.of(source.portrait, open_eyes=False) if model.config.renderer.openings else None


def picture_of(view: View, source: Export3dSource, params: FaceParams, picture: Tensor) -> Tensor:
    """(1, 3, h, w) float32 [0, 1] a view of one frame in the size of the portrait.

    Args:
        picture: (1, 3, h, w) what its pixels are fetched from, the portrait or one like it.
    """
    if view.fetched is not None and source.surroundings is not None and source.mesh is not None:
        made = source.mesh.draw(params)
        return source.surroundings.draw(view.fetched, params.camera, made, picture).clamp(0, 1)
    if view.fetched is not None:
        return view.fetched.over(picture).clamp(0, 1)
    size = picture.shape[-2:]
    return F.interpolate(view.picture, size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def views(model: Export3d, source: Export3dSource, driving: Export3dDriving) -> Iterator[View]:
    """What the camera of each frame sees, with depth and opacity; a frame does not depend on its neighbours."""
    shown, planes, flow = torch.empty(0), torch.empty(0), None
    for frame in range(len(driving)):
        part = driving[frame : frame + 1]
        wanted = torch.cat([part.params.expression, part.params.gaze.flatten(1), part.change], 1)
        with quick_precision(wanted):
            if len(shown) == 0 or not torch.equal(wanted, shown):
                shown, planes = wanted, planes_of(model, source, codes_of(model, part))
                flow = model.renderer.flow_of(source.view, look_of(model, part))
            rendered = model.renderer.look(planes, part.params.camera)
            view = model.renderer.finish(
                rendered,
                part.params.camera,
                source.view,
                background=source.background,
                flow=flow,
                own=None if source.own is None else source.own.sight,
            )
            if source.own is not None:
                view = source.own.correct(view, source.view)
        yield view  # whoever takes it goes on in full precision


def render_depth(model: Export3d, source: Export3dSource, driving: Export3dDriving) -> Iterator[Depth]:
    """How near the head is where `render` draws it; without `RendererConfig.split` the background has a depth too.

    Yields:
        (1, 1, h, w).
    """
    for frame, view in enumerate(views(model, source, driving)):
        seen = depth_map(view.depth, view.opacity, driving.params.camera[frame : frame + 1])
        yield enlarge_depth(seen, source.portrait.image.shape[-1])


def render_layers(model: Export3d, source: Export3dSource, driving: Export3dDriving) -> Iterator[Layers]:
    """What `render` draws, at outlines in the person's colours alone, and what of it is head and person, of
    `Surroundings`; without it the opacity of the rays, inside the ellipse around the head, because there is a thin fog
    of density away from it.

    Yields:
        b = 1.
    """
    openings = _openings(model, source)
    for frame, view in enumerate(views(model, source, driving)):
        part = driving[frame : frame + 1]
        shown = shown_params(model, part)
        layers = _layers_of(view, source, shown)
        if source.mesh is not None:
            layers = source.mesh.lay_layers(layers, shown, within=BODY)
        if openings is not None:
            layers = replace(layers, picture=openings.fill(layers.picture, shown))
        yield layers


def _layers_of(view: View, source: Export3dSource, params: FaceParams) -> Layers:
    """A view of one frame and its masks, without the mesh and the openings."""
    if source.surroundings is not None and source.mesh is not None and view.fetched is not None:
        colours, shown = source.mesh.source.behind.cut
        masks = source.surroundings.person(view.fetched, params.camera, source.mesh.person(params), shown)
        return Layers(picture_of(view, source, params, colours), *(x.clamp(0, 1) for x in masks))
    picture = picture_of(view, source, params, source.portrait.image)
    size = source.portrait.image.shape[-2:]
    places = pixel_centres(size, source.portrait.image.device)
    opacity = F.interpolate(view.opacity[:, None].float(), size, mode="bilinear", align_corners=False)
    return Layers(picture, (opacity * head_mask(params, places)[:, None]).clamp(0, 1))


def codes_of(model: Export3d, driving: Export3dDriving) -> Tensor:
    """(t, d) what the generator is told of each frame's expression."""
    codes = expression_codes(model, driving.params)
    if model.config.clebs.encoding == "direct":
        return codes
    return codes + model.expression_encoder.scale_basis(driving.change)


def look_of(model: Export3d, driving: Export3dDriving) -> Look:
    """What the face does in each of t frames, with what is added to lambda."""
    expression = driving.params.expression
    if bool(driving.change.any()):
        gaze = driving.params.gaze if model.config.clebs.gaze else None
        expression = model.expression_encoder.moved(expression, driving.change, gaze)
    return Look(model.seen.limited(expression)[0], driving.params.gaze)


def shown_params(model: Export3d, driving: Export3dDriving) -> FaceParams:
    """The faces of t frames as they are drawn: `params` with the expression of `look_of`."""
    params = driving.params
    by = look_of(model, driving).expression - params.expression
    if not bool(by.any()):
        return params
    return recompose(params, shape=moved_shape(params, by))


def own_view(model: Export3d, source: Export3dSource, matte: Matte) -> OwnView:
    """What the networks make of the portrait with its own expression and camera, and `matte` of it."""
    params = source.portrait.params
    rendered = model.renderer.look(planes_of(model, source, expression_codes(model, params)), params.camera)
    flow = model.renderer.flow_of(source.view, source.view.look)
    finish = partial(
        model.renderer.finish, rendered, params.camera, source.view, background=source.background, flow=flow
    )
    view = finish()
    places = _fetched(view).places
    misplaced = places - own_places(*places.shape[-2:]).to(places)
    seen = depth_map(view.depth, view.opacity, params.camera)
    sight = OwnSight(misplaced, seen, matte.soft, neck_of(source.portrait), ends_below(source.portrait))
    own = _fetched(finish(own=sight))  # again, since what is drawn depends on what is fetched
    return OwnView(sight, own.made, left_behind(source.view, own.opacity, own.behind), own.opacity)


def _fetched(view: View) -> Fetched:
    assert view.fetched is not None  # `RendererConfig.corrected` needs `detail`
    return view.fetched


@torch.no_grad()
def expression_codes(model: Export3d, params: FaceParams) -> Tensor:
    """(t, d) beta' of t frames (equation 3, Fig. 7)."""
    return model.code(model.seen.limited(params.expression)[0], params.gaze)


def planes_of(model: Export3d, source: Export3dSource, codes: Tensor) -> Tensor:
    """(1, 3, c, H / 2, W / 2) tri-plane of the source with the expression (1, d)."""
    return model.generator.stabilise(model.generator.decode(source.features, codes))


@torch.no_grad()
def head_field(model: Export3d, source: Export3dSource) -> FastField:
    """The head in space, with the portrait's own expression."""
    codes = expression_codes(model, source.portrait.params)
    with quick_precision(codes):
        planes = planes_of(model, source, codes)
    return model.renderer.field(planes, torch.float32)


def remarks(model: Export3d, driving: Export3dDriving) -> tuple[str, ...]:
    """What is to be said of a motion that is on its source already: frames that the model cannot be trusted with."""
    limited = model.seen.limited(driving.params.expression)[1]
    told: tuple[str, ...] = ()
    if bool(limited.any()):
        told = (f"The expression goes beyond what was trained and is held back in {frame_numbers(limited)}.",)
    turned = turned_frames(model.seen.outside(driving.params.camera), model.seen.angles)
    return (*told, *turned, *unsure_frames(driving.params))


def direction_names(model: Export3d) -> tuple[str, ...]:
    """The vectors of the learned basis V (equation 2)."""
    return tuple(f"basis-{i}" for i in range(1, 1 + model.config.clebs.coefficients))


def move_along(model: Export3d, source: Export3dSource, name: str, amounts: Tensor) -> Export3dDriving:
    """The source's expression scaled along one vector of the basis (Fig. 8, S 1.6).

    Args:
        amounts: (n,) of half the range that lambda had in training.

    Returns:
        n frames, ready for `render`.
    """
    params: FaceParams = source.portrait.params[[0] * len(amounts)]
    index = direction_names(model).index(name)
    low, high = model.seen.coefficients[:, index]
    half = (high - low) / 2 if model.seen.known else torch.ones_like(low)
    change = params.scale.new_zeros(len(amounts), model.config.clebs.coefficients)
    change[:, index] = amounts.to(change) * half
    return Export3dDriving(params, tuple(Fraction(i, 25) for i in range(len(amounts))), change)
