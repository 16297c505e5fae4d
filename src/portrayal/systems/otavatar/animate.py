"""Invert a portrait once, turn a motion into windows of coefficients, render G(w_id + C(x)) with each frame's camera.

The generator draws the square around the face (`coefficients.face_square`), in which only the camera moves. So each
picture is laid over the portrait where the moved head has that square; everything but the head stays the photo's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from portrayal.errors import InputError
from portrayal.media.overlay import Overlay
from portrayal.motion.options import RetargetOptions
from portrayal.nn.kept import KeptFile, digest_of, forget_oldest
from portrayal.nn.precision import quick_precision
from portrayal.nn.rendering.fast import FastField
from portrayal.nn.stylegan2_inference import FoldedSynthesis
from portrayal.options import AVATAR_SUFFIX
from portrayal.systems.likeness import remark_on
from portrayal.systems.otavatar.avatar import OtavatarSource, load_avatar, save_avatar
from portrayal.systems.otavatar.camera import bias_intrinsics
from portrayal.systems.otavatar.coefficients import face_square, own_coefficients, square_camera, windows
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.descent import Watch
from portrayal.systems.otavatar.frames import as_tensor, frame_portrait
from portrayal.systems.otavatar.generator import TriplaneGenerator
from portrayal.systems.otavatar.inversion import BIAS_SIZE, invert_portrait
from portrayal.systems.otavatar.losses import feature_networks
from portrayal.systems.otavatar.model import Otavatar
from portrayal.systems.otavatar.pairs import Faces
from portrayal.systems.otavatar.remarks import motion_remarks, photo_remarks
from portrayal.systems.otavatar.tuning import tune_generator
from portrayal.systems.portrait_detail import PortraitDetail, draw_over
from portrayal.tracking import Progress, silent
from portrayal.types import Depth, Driving, FaceClip, FaceParams, Layers, Portrait, move
from portrayal.weights.model import mark_of
from portrayal.weights.registry import weights_folder


@dataclass(frozen=True)
class OtavatarDriving(Driving):
    """A motion; the camera follows from `params`."""

    window: Tensor
    """(t, rows, 27) x, coefficients of the frames around each one, so that a frame that is picked out of a motion still
    knows its neighbours. Or (t, rows, 1), the frame's own: a face that stands still."""


def build(config: Config) -> Otavatar:
    """The model; weights are loaded separately."""
    return Otavatar(config)


def encode_source(model: Otavatar, portrait: Portrait) -> OtavatarSource:
    """A portrait with the average identity (Algorithm 1, line 3), or with the one that the model's encoder sees, where
    it has one; `tune_source` goes on from there.

    Args:
        portrait: (1, 3, h, w) square crop of any size with one face.

    Raises:
        ValueError: the portrait is not one square picture with one frame of parameters.
    """
    portrait.require_square()
    faces = framed(model, portrait)
    with torch.no_grad():
        first = model.first_identity(faces.picture, faces.window)
    identity = model.generator.broadcast(first).float().clone()
    return OtavatarSource(portrait, identity, identity.new_zeros(1, BIAS_SIZE), {})


def framed(model: Otavatar, portrait: Portrait) -> Faces:
    """The portrait's face as the training frames it, with camera and the window of a still face."""
    settings = model.config.generator
    face, camera = frame_portrait(portrait, settings.size, framing=settings.framing)
    own = own_coefficients(move(portrait.params, "cpu"), rows=model.config.controller.rows)
    picture = as_tensor(face.picture)[None].float() / 127.5 - 1
    landmarks = torch.from_numpy(face.landmarks[None, :, :2].copy())
    faces = Faces(picture, landmarks, camera[None], windows(own, frames=model.config.controller.frames))
    return move(faces, portrait.image.device)


def tune_source(
    model: Otavatar,
    source: OtavatarSource,
    *,
    previous: OtavatarSource | None = None,
    progress: Progress = silent,
) -> OtavatarSource:
    """Find the portrait's w_id, then tune the generator to it (`AvatarConfig.tuning_steps`).

    The result is kept as an avatar file in the weights folder, so that it is done once for a photo and a model; an
    interrupted one goes on.

    Args:
        previous: an earlier frame of the same video, whose avatar is taken over.

    Raises:
        InputError: the inversion diverges twice, the weights folder cannot be written, or a network of the losses is
            not installed.
    """
    if previous is not None:
        return source.as_avatar(previous)
    faces = framed(model, source.portrait)
    key = avatar_key(model, faces)
    folder = weights_folder() / "avatars"
    known = _known_avatar(folder / f"{key}{AVATAR_SUFFIX}", model)
    if known is not None:
        progress("finding the identity", 1, 1)
        return source.as_avatar(known)
    parts = [KeptFile(folder, f"{key}.{phase}.part.safetensors") for phase in ("identity", "generator")]
    networks = {name: net.to(faces.picture.device) for name, net in feature_networks(model.config.inversion).items()}
    found = _inverted(model, source, faces, networks, _watch(model, parts[0], "finding the identity", progress))
    if model.config.avatar.tuning_steps:
        found = _tuned(model, found, faces, networks, _watch(model, parts[1], "tuning the generator", progress))
    told = [*photo_remarks(source.portrait.params), *found.notes(), likeness(model, found, faces)]
    found = replace(found, remark=" ".join(filter(None, told)))
    save_avatar(folder / f"{key}{AVATAR_SUFFIX}", model, found)
    for part in parts:
        part.remove()
    forget_oldest(folder)
    return found


def avatar_key(model: Otavatar, faces: Faces) -> str:
    """A name that changes with the framed photo, what was measured on it, the model's weights and the settings."""
    settings = asdict(model.config.avatar)
    for name in ("steady", "detail"):  # say how an avatar is drawn, not what it is
        del settings[name]
    about = {"weights": mark_of(model), "decouple": asdict(model.config.inversion), "avatar": settings}
    return digest_of(about, {f.name: getattr(faces, f.name) for f in fields(Faces)})


def _known_avatar(path: Path, model: Otavatar) -> OtavatarSource | None:
    """The avatar that was kept; a damaged one is made again."""
    try:
        return load_avatar(path, model) if path.is_file() else None
    except InputError:
        path.unlink()
        return None


def _watch(model: Otavatar, part: KeptFile, stage: str, progress: Progress) -> Watch:
    settings = model.config.avatar

    def told(done: int, steps: int, loss: float) -> None:
        progress(stage, done, steps)

    return Watch(
        told, patience=settings.patience, must_gain=True, part=part, save_every_steps=settings.save_every_steps
    )


def _inverted(
    model: Otavatar, source: OtavatarSource, faces: Faces, networks: dict[str, nn.Module], watch: Watch
) -> OtavatarSource:
    """The identity code, with the generator as it is."""
    with quick_precision(faces.picture):
        found = invert_portrait(
            model.generator,
            model.controller,
            faces,
            networks,
            model.config.inversion,
            first=source.identity[:, 0],
            watch=watch,
        )
    return replace(source, identity=model.generator.broadcast(found.w).clone(), bias=found.bias)


def _tuned(
    model: Otavatar, source: OtavatarSource, faces: Faces, networks: dict[str, nn.Module], watch: Watch
) -> OtavatarSource:
    """The generator tuned around the identity code; left alone where that diverges."""
    with torch.no_grad():
        ws = model.latents(source.identity, faces.window)
    seen = replace(faces, camera=bias_intrinsics(faces.camera, source.bias))
    with quick_precision(ws):
        tuned = tune_generator(model.generator, ws, seen, networks, model.config, watch=watch)
    if tuned is None:
        remark = "tuning the generator to the photo diverged twice and was left out: the face may be less like it."
        return replace(source, remark=remark)
    return replace(source, tuned=tuned)


@torch.no_grad()
def likeness(model: Otavatar, source: OtavatarSource, faces: Faces) -> str:
    """What is to be said of how like the photo the avatar is."""
    generator, ws = generator_of(model, source), model.latents(source.identity, faces.window)
    made = generator.look(generator.planes(ws), ws, bias_intrinsics(faces.camera, source.bias))
    return remark_on(made / 2 + 0.5, faces.picture / 2 + 0.5, faces.landmarks)


def driving_pixels(model: Otavatar) -> int | None:
    """None: the motion follows from the face parameters."""
    return None


def encode_driving(model: Otavatar, clip: FaceClip) -> OtavatarDriving:
    """The motion of a clip, every frame by itself; its pixels are not looked at."""
    own = own_coefficients(clip.params, rows=model.config.controller.rows)
    return OtavatarDriving(clip.params, clip.times, own[..., None])


def retarget_codes(driving: OtavatarDriving, options: RetargetOptions) -> OtavatarDriving:
    """The windows of a whole clip from its parameters, which are on the source already; nothing else is left to do."""
    own = own_coefficients(driving.params, rows=driving.window.shape[1])
    return replace(driving, window=windows(own))


def remarks(model: Otavatar, driving: OtavatarDriving) -> tuple[str, ...]:
    """What is to be said of a motion that is on its source already: frames that the model cannot be trusted with."""
    return motion_remarks(driving.params)


def render(model: Otavatar, source: OtavatarSource, driving: OtavatarDriving) -> Iterator[Tensor]:
    """Draw the portrait with a motion that is already retargeted to it.

    Yields:
        (1, 3, h, w) float32 [0, 1].
    """
    generator, overlay, framing = generator_of(model, source), Overlay(source.portrait), model.config.generator.framing
    detail = detail_of(model, generator, source, overlay)
    for face, params in _drawings(model, generator, source, driving):
        yield draw_over(overlay, detail, face, params, squares(params, framing))


def _drawings(
    model: Otavatar, generator: TriplaneGenerator, source: OtavatarSource, driving: OtavatarDriving
) -> Iterator[tuple[Tensor, FaceParams]]:
    """What the source's generator draws, (1, 3, s, s) in [0, 1], with the parameters of its frame."""
    for part, ws, planes, camera in _scenes(model, generator, source, driving):
        yield (generator.look(planes, ws, camera) / 2 + 0.5).clamp(0, 1), part.params


def detail_of(
    model: Otavatar, generator: TriplaneGenerator, source: OtavatarSource, overlay: Overlay
) -> PortraitDetail | None:
    """The portrait in its drawings, with `AvatarConfig.detail`; less where the identity has gone over.

    Args:
        generator: the source's. overlay: over its portrait.
    """
    if not model.config.avatar.detail or source.gone == 1:
        return None
    own = drawn_alone(model, generator, source) if source.drawn is None else source.drawn
    placed = overlay.place(own, squares(source.portrait.params, model.config.generator.framing))
    return PortraitDetail(source.portrait, placed, strength=1 - source.gone)


@torch.no_grad()
def drawn_alone(model: Otavatar, generator: TriplaneGenerator, source: OtavatarSource) -> Tensor:
    """(1, 3, s, s) in [0, 1] what the source's generator draws of the portrait with its own motion."""
    return next(_drawings(model, generator, source, _still(model, source)))[0]


def _still(model: Otavatar, source: OtavatarSource) -> OtavatarDriving:
    """The portrait's own motion: one frame."""
    own = own_coefficients(source.portrait.params, rows=model.config.controller.rows)[..., None]
    return OtavatarDriving(source.portrait.params, (Fraction(0),), own)


def render_depth(model: Otavatar, source: OtavatarSource, driving: OtavatarDriving) -> Iterator[Depth]:
    """How near what `render` generates is; what stays the photo's has no depth.

    Yields:
        (1, 1, h, w).
    """
    generator, overlay, framing = generator_of(model, source), Overlay(source.portrait), model.config.generator.framing
    for part, _, planes, camera in _scenes(model, generator, source, driving):
        yield overlay.lay_depth(generator.depth(planes, camera), part.params, squares(part.params, framing))


def render_layers(model: Otavatar, source: OtavatarSource, driving: OtavatarDriving) -> Iterator[Layers]:
    """What `render` generates, and what of it is head; with the photo's detail hair, neck and shoulders, too.

    Yields:
        (1, 3, h, w) and (1, 1, h, w).
    """
    generator, overlay, framing = generator_of(model, source), Overlay(source.portrait), model.config.generator.framing
    detail = detail_of(model, generator, source, overlay)
    for part, ws, planes, camera in _scenes(model, generator, source, driving):
        picture, opacity = generator.look_through(planes, ws, camera)
        face = Layers((picture / 2 + 0.5).clamp(0, 1), opacity)
        lay = overlay.lay_layers if detail is None else partial(detail.draw_layers, overlay)
        yield lay(face, part.params, squares(part.params, framing))


def _scenes(
    model: Otavatar, generator: TriplaneGenerator, source: OtavatarSource, driving: OtavatarDriving
) -> Iterator[tuple[OtavatarDriving, Tensor, Tensor, Tensor]]:
    """Each frame with its latents (1, layers, w_dim), planes (1, 3, c, h, w) and camera (1, 25)."""
    synthesis, framing = FoldedSynthesis(generator.backbone.synthesis), model.config.generator.framing
    still = still_latents(model, source)
    for frame in range(len(driving)):
        part = driving[frame : frame + 1]
        place = part.params.rotation, part.params.translation, part.params.scale
        ws = latents_of(model, source, part, still)
        camera = bias_intrinsics(square_camera(*place, framing=framing), source.bias)
        yield part, ws, generator.as_planes(synthesis(ws)), camera


def generator_of(model: Otavatar, source: OtavatarSource) -> TriplaneGenerator:
    """The generator for this source."""
    if not source.tuned:
        return model.generator
    generator = deepcopy(model.generator)
    generator.load_state_dict(model.generator.state_dict() | source.tuned)
    return generator


@torch.no_grad()
def latents_of(model: Otavatar, source: OtavatarSource, driving: OtavatarDriving, still: Tensor) -> Tensor:
    """(t, layers, w_dim) w_id + w_x; the last ones are those of `still_latents`."""
    ws = model.latents(source.identity, driving.window.expand(-1, -1, model.config.controller.frames))
    return torch.cat([ws[:, : ws.shape[1] - still.shape[1]], still.expand(len(ws), -1, -1)], 1)


@torch.no_grad()
def still_latents(model: Otavatar, source: OtavatarSource) -> Tensor:
    """(1, `AvatarConfig.steady`, w_dim) the last latents, with the photo's own motion code."""
    own = _still(model, source).window.expand(-1, -1, model.config.controller.frames)
    return model.latents(source.identity, own)[:, model.generator.layers - model.config.avatar.steady :]


@torch.no_grad()
def head_field(model: Otavatar, source: OtavatarSource) -> FastField:
    """The head in space, with the portrait's own expression."""
    generator, rays = generator_of(model, source), model.config.generator.rays
    ws = latents_of(model, source, _still(model, source), still_latents(model, source))
    axes = model.config.generator.plane_axes
    return FastField(generator.planes(ws)[0], generator.decoder, box_size=rays.box_size, plane_axes=axes)


def squares(params: FaceParams, framing: float) -> Tensor:
    """(t, 4) the squares that the generator draws: x, y, side, roll in the pixels of `params`."""
    side, centre = face_square(params.rotation, params.translation, params.scale, framing=framing)
    return torch.cat([centre, side[:, None], torch.zeros_like(side)[:, None]], 1)


def interpolate_identity(
    model: Otavatar, source: OtavatarSource, other: OtavatarSource, share: float
) -> OtavatarSource:
    """From one person to another (supplement, Sec. 1.2): w_id' = (1 - share) w_id a + share w_id b.

    Generators that were tuned, and the biases of the intrinsics, go over with the codes; the photo stays the source's.
    """
    own = model.generator.state_dict()
    tuned = {
        name: torch.lerp(source.tuned.get(name, own[name]), other.tuned.get(name, own[name]), share)
        for name in source.tuned | other.tuned
    }
    identity, bias = (
        torch.lerp(cast(Tensor, getattr(source, name)), getattr(other, name), share) for name in ("identity", "bias")
    )
    gone, drawn = 1 - (1 - source.gone) * (1 - share), source.drawn
    if drawn is None and model.config.avatar.detail:
        drawn = drawn_alone(model, generator_of(model, source), source)
    return replace(source, identity=identity, bias=bias, tuned=tuned, gone=gone, drawn=drawn)
