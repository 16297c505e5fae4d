"""Invert a portrait once, turn a motion into p frame by frame, and render w_s + A (p_t - p_s).

The generator draws faces that are framed by their eyes and mouth (`faces.frame_face`): where the head is and how large
is no part of its pictures. So each picture is laid over the portrait where the moved landmarks say that its frame is.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

from portrayal.face.pose import angles_to_rotation, rotation_to_angles
from portrayal.media.image import to_uint8
from portrayal.media.overlay import Overlay
from portrayal.motion.compose import moved_shape, recompose
from portrayal.motion.options import RetargetOptions
from portrayal.nn.precision import quick_precision
from portrayal.nn.stylegan2 import SynthesisNetwork
from portrayal.nn.stylegan2_inference import FoldedSynthesis
from portrayal.systems.directions import tuning
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.faces import FramedFace, frame_face, frame_squares
from portrayal.systems.directions.features import load_perceptual
from portrayal.systems.directions.limits import limited_angles, limited_expression, visible_change
from portrayal.systems.directions.model import Directions
from portrayal.systems.directions.net3d import Net3d, pose_vector
from portrayal.systems.directions.pose import released_angles, rescaling
from portrayal.systems.likeness import remark_on
from portrayal.systems.portrait_detail import PortraitDetail, draw_over
from portrayal.tracking import Progress, silent
from portrayal.types import Driving, FaceClip, FaceParams, Portrait, Source
from portrayal.weights.registry import weights_folder

FRAMES_AT_ONCE = 16


@dataclass(frozen=True)
class DirectionsSource(Source):
    """A portrait as a place in the generator's latent space."""

    w_plus: Tensor
    """(1, layers, w_dim) w_s."""
    pose: Tensor
    """(1, k) p_s: angles in radians, expression coefficients."""
    tuned: dict[str, Tensor]
    """The weights of the synthesis network that was tuned to the portrait; empty: the model's own."""
    remark: str = ""
    """What is to be said about the inversion."""

    def notes(self) -> tuple[str, ...]:
        return (self.remark,) if self.remark else ()


@dataclass(frozen=True)
class DirectionsDriving(Driving):
    """A motion; p follows from `params`."""

    change: Tensor
    """(t, k) what is added to the rescaled Delta p."""


def build(config: Config) -> Directions:
    """The model; weights are loaded separately."""
    return Directions(config)


def encode_source(model: Directions, portrait: Portrait) -> DirectionsSource:
    """Invert a portrait with the encoder (Sec. 3.2).

    Args:
        portrait: (1, 3, h, w) square crop of any size with one face.

    Raises:
        ValueError: the portrait is not one square picture with one frame of parameters.
    """
    portrait.require_square()
    w_plus = model.encoder(framed(model, portrait).as_input().to(portrait.image.device)).float()
    pose = pose_of(model, portrait.params)
    if model.config.directions.corrected:
        w_plus = corrected(model, w_plus, pose)
    return DirectionsSource(portrait, w_plus, pose, {})


def corrected(model: Directions, w_plus: Tensor, pose: Tensor) -> Tensor:
    """w+ moved along A until its picture has the portrait's pose (1, k), as far as one step brings it there.

    Differs: Delta p begins at the portrait's p_s, but the encoder's picture may turn and smile less than the portrait,
    and all that follows would be off by that.
    """
    seen = net3d(w_plus.device)(model.generator.synthesis(w_plus) / 2 + 0.5)
    own = pose_vector(seen, model.config.directions.expressions)
    return model.matrix.move(w_plus, limited_change(model, own, pose))


@lru_cache(maxsize=1)
def net3d(device: torch.device) -> Net3d:
    return Net3d().to(device)


def framed(model: Directions, portrait: Portrait) -> FramedFace:
    """The portrait's face as the generator draws it."""
    config, points = model.config, portrait.params.landmarks[0].cpu().numpy()
    upright = config.alignment == "upright"
    return frame_face(to_uint8(portrait.image)[0], points, size=config.image_size, upright=upright)


def tune_source(
    model: Directions,
    source: DirectionsSource,
    *,
    previous: DirectionsSource | None = None,
    progress: Progress = silent,
) -> DirectionsSource:
    """Tune the generator to the portrait (Sec. 3.2; kept in the weights folder, so that it is done once a picture).

    Args:
        previous: an earlier frame of the same video, whose generator is taken over.

    Raises:
        InputError: the weights folder cannot be written, or the network of the perceptual loss is not installed.
    """
    if previous is not None:
        return replace(source, tuned=previous.tuned, remark=previous.remark)
    config = model.config
    if config.tuning.steps == 0:
        return source
    face = framed(model, source.portrait)
    picture = face.as_input().to(source.w_plus.device)
    perceptual = load_perceptual(config.tuning.perceptual_network).to(picture.device)
    with torch.enable_grad(), quick_precision(picture):
        found = tuning.tune(
            model.generator,
            picture,
            model.centred(source.w_plus).detach(),
            config.tuning,
            perceptual,
            cache=weights_folder() / "tuned",
            progress=lambda done, steps, _: progress("tuning the generator", done, steps),
        )
    synthesis = found.generator.synthesis
    with torch.no_grad():
        inverted = synthesis(model.centred(source.w_plus)) / 2 + 0.5
    true = {name: value[None].to(inverted.device) for name, value in face.tensors().items()}
    remark = remark_on(inverted, true["image"] / 255, true["landmarks"])
    return replace(source, tuned={name: x.detach() for name, x in synthesis.state_dict().items()}, remark=remark)


def driving_pixels(model: Directions) -> int | None:
    """None: p follows from the face parameters."""
    return None


def encode_driving(model: Directions, clip: FaceClip) -> DirectionsDriving:
    """The motion of a clip; its pixels are not looked at."""
    attributes = model.config.directions.attributes
    return DirectionsDriving(clip.params, clip.times, clip.params.scale.new_zeros(len(clip.params), attributes))


def retarget_codes(driving: DirectionsDriving, options: RetargetOptions) -> DirectionsDriving:
    """Nothing to do: p follows from the parameters, which are on the source already."""
    return driving


def render(model: Directions, source: DirectionsSource, driving: DirectionsDriving) -> Iterator[Tensor]:
    """Draw the portrait with a motion that is already retargeted to it.

    Yields:
        (b, 3, h, w) float32 [0, 1], b up to `FRAMES_AT_ONCE`.
    """
    overlay, upright = Overlay(source.portrait), model.config.alignment == "upright"
    draw, detail = FoldedSynthesis(synthesis_of(model, source)), None
    if model.config.directions.detail:
        still = DirectionsDriving(source.portrait.params, (Fraction(0),), torch.zeros_like(source.pose))
        own = drawing(model, draw, source, still)
        squares = frame_squares(still.params, upright=upright)
        detail = PortraitDetail(source.portrait, overlay.place(own, squares))
    for start in range(0, len(driving), FRAMES_AT_ONCE):
        part = driving[start : start + FRAMES_AT_ONCE]
        faces, params = drawing(model, draw, source, part), shown_params(model, part)
        yield draw_over(overlay, detail, faces, params, frame_squares(params, upright=upright))


def shown_params(model: Directions, driving: DirectionsDriving) -> FaceParams:
    """The faces of t frames as they are to be drawn: `params` with what `change` adds.

    A released A has DECA's expressions, which the face model does not know: there it is `params`.
    """
    params, d = driving.params, model.config.directions
    if d.convention == "released" or not bool(driving.change.any()):
        return params
    by = model.poses.unscaled(driving.change, a=d.scale)
    return recompose(
        params,
        shape=moved_shape(params, by[:, 3:]),
        rotation=angles_to_rotation(rotation_to_angles(params.rotation) + by[:, :3]),
    )


def drawing(model: Directions, draw: FoldedSynthesis, source: DirectionsSource, driving: DirectionsDriving) -> Tensor:
    """What the source's generator draws of t frames at once: (t, 3, s, s) in [0, 1]."""
    w_plus = source.w_plus.expand(len(driving), -1, -1)
    return (draw(model.reenacted(w_plus, change_of(model, source, driving))) / 2 + 0.5).clamp(0, 1)


def synthesis_of(model: Directions, source: DirectionsSource) -> SynthesisNetwork:
    """The generator's synthesis network for this source."""
    if not source.tuned:
        return model.generator.synthesis
    network = deepcopy(model.generator.synthesis)
    network.load_state_dict(source.tuned)
    return network


def change_of(model: Directions, source: DirectionsSource, driving: DirectionsDriving) -> Tensor:
    """(t, k) Delta p, rescaled, as `limits` has it."""
    return limited_change(model, source.pose, pose_of(model, driving.params)) + driving.change


def limited_change(model: Directions, source: Tensor, target: Tensor) -> Tensor:
    """(t, k) Delta p, rescaled, of poses (1 or t, k) and (t, k) that are not, as `change_of` limits it."""
    poses, d = model.poses, model.config.directions
    angles = limited_angles(source[:, :3], target[:, :3], poses.ranges[:3])
    change = poses.change(source, torch.cat([angles, target[:, 3:]], 1), a=d.scale)
    slope = rescaling(poses.ranges, a=d.scale)[0][3:]
    # A released A has DECA's expressions, whose shapes are not ours.
    visible = visible_change(slope) if d.convention == "paper" else torch.eye(len(slope)).to(slope)
    return torch.cat([change[:, :3], limited_expression(change[:, 3:], visible)], 1)


def pose_of(model: Directions, params: FaceParams) -> Tensor:
    """(t, k) p, not rescaled.

    A released A reads DECA's jaw and expressions, which the tracker does not know: they are zeros here, and come with
    `with_deca`.
    """
    d = model.config.directions
    if d.convention == "paper":
        return pose_vector(params, d.expressions)
    return torch.cat([released_angles(params.rotation), params.scale.new_zeros(len(params), d.expressions)], 1)


def with_deca(model: Directions, driving: DirectionsDriving, source: Tensor, attributes: Tensor) -> DirectionsDriving:
    """A motion whose jaw and expressions are DECA's, for a released A; the angles stay the tracker's.

    Args:
        source: (1, 15) `pose.deca_attributes` of the portrait. attributes: (t, 15) of the driving frames.
    """
    change = model.poses.change(source, attributes, a=model.config.directions.scale)
    return replace(driving, change=torch.cat([torch.zeros_like(change[:, :3]), change[:, 3:]], 1))


def direction_names(model: Directions) -> tuple[str, ...]:
    """The single directions: columns of A."""
    d = model.config.directions
    jaw = ("jaw",) if d.convention == "released" else ()
    return ("yaw", "pitch", "roll", *jaw, *(f"expression-{i}" for i in range(1, d.expressions + 1 - len(jaw))))


def move_along(model: Directions, source: DirectionsSource, name: str, amounts: Tensor) -> DirectionsDriving:
    """The source moved along one direction.

    Args:
        amounts: (n,) from -1 to 1, as shares of a, the end of the range that A was learned on.

    Returns:
        n frames, ready for `render`.
    """
    params: FaceParams = source.portrait.params[[0] * len(amounts)]
    change = params.scale.new_zeros(len(amounts), model.config.directions.attributes)
    change[:, direction_names(model).index(name)] = amounts.to(change) * model.config.directions.scale
    return DirectionsDriving(params, tuple(Fraction(i, 25) for i in range(len(amounts))), change)
