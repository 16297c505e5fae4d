"""What synthetic heads do: plausible expressions, gaze and head motion, as exact `FaceParams`.

Everything ends in coefficients of the linear face model, so the parameters describe the picture exactly: landmarks are
`params_to_landmarks` of them, to the last bit. Expressions come from the semantic actions of `motion.semantic` (jaw,
smile, brows ...), from the coefficients' distribution on the training faces, and in clips from the built-in motions.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from portrayal.data.synthetic_person import draw_coefficients
from portrayal.errors import InputError
from portrayal.face.camera import camera_from_pose
from portrayal.face.measure import eye_openness
from portrayal.face.morphable import FaceModel, load_face_model
from portrayal.face.pose import angles_to_rotation, head_to_picture, rotation_to_angles
from portrayal.face.topology import (
    INNER_LIPS_PAIRS,
    LEFT_EYE_CORNERS,
    LEFT_EYELIDS,
    RIGHT_EYE_CORNERS,
    RIGHT_EYELIDS,
)
from portrayal.motion.builtin import MOTIONS, builtin_motion
from portrayal.motion.openings import EYE_PAIRS, gaps, lids, set_gaps
from portrayal.motion.semantic import NECK, fields, follow_gaze
from portrayal.types import EXPRESSION_SIZE, FaceParams

Array = NDArray[np.float64]

Part = Literal["pose", "expression", "gaze"]
ALL_PARTS: tuple[Part, ...] = ("pose", "expression", "gaze")
MIDDLE = (0.0, 0.05, -0.4)
"""What is put in the middle of a picture, head frame."""
LARGEST_EXPRESSION = 2.5
"""Coefficients beyond that many deviations are cut off."""
USUAL_OPENNESS = 0.29


@dataclass(frozen=True)
class Motion:
    """What a head does over t frames, whoever it is."""

    expression: Tensor
    """(t, 64) before lids and lips are put where they belong."""
    angles: Tensor
    """(t, 3) yaw, pitch, roll in radians."""
    gaze: Tensor
    """(t, 2, 2) as in `FaceParams`."""
    openness: Tensor
    """(t, 2) wanted for the eyes."""
    shift: Tensor
    """(t, 2) head units that the neck is away from its usual place in the picture."""
    zoom: Tensor
    """(t,) head units that fit across the picture."""


def build_params(identity: Tensor, motion: Motion, *, width: int, height: int) -> FaceParams:
    """Exact parameters of a person doing something.

    The expression is completed first: lids as open as wanted, lips that touch at most.

    Args:
        identity: (80,). motion: t frames. width, height: of the picture in pixels.
    """
    expression = settle_openings(identity, motion.expression, motion.openness)
    rotation = angles_to_rotation(motion.angles)
    scale = min(width, height) / motion.zoom
    neck, middle = torch.tensor(NECK), torch.tensor(MIDDLE)
    centre = torch.tensor([width / 2, height / 2, 0.0])
    shift = torch.cat([motion.shift, torch.zeros(len(motion.shift), 1)], 1)
    translation = centre + scale[:, None] * (neck - middle + shift - rotation @ neck)
    translation[:, 2] = 0
    return params_of(identity, expression, rotation, translation, scale, motion.gaze, width=width, height=height)


def params_of(
    identity: Tensor,
    expression: Tensor,
    rotation: Tensor,
    translation: Tensor,
    scale: Tensor,
    gaze: Tensor,
    *,
    width: int,
    height: int,
) -> FaceParams:
    """`FaceParams` of these numbers (shapes as there, identity (80,)); everything else follows from them."""
    identity = identity.expand(len(expression), -1).contiguous()
    landmarks = head_to_picture(load_face_model().shape(identity, expression, gaze), scale, rotation, translation)
    return FaceParams(
        landmarks=landmarks,
        identity=identity,
        expression=expression,
        rotation=rotation,
        translation=translation,
        scale=scale,
        gaze=gaze,
        camera=camera_from_pose(rotation, translation, scale, width=width, height=height),
        eye_openness=eye_openness(landmarks),
        confidence=torch.ones(len(expression)),
    )


def with_motion(identity: Tensor, params: FaceParams, *, width: int, height: int) -> FaceParams:
    """Another person doing exactly the same: the true result of carrying this motion over.

    Args:
        identity: (80,) of the other person. params: t frames in a picture of that width and height.

    Returns:
        t frames with the same expression, pose, place, size and gaze.
    """
    pose = (params.rotation, params.translation, params.scale, params.gaze)
    return params_of(identity, params.expression, *pose, width=width, height=height)


def carry(
    own: FaceParams,
    other: FaceParams,
    *,
    parts: Collection[Part],
    motion: Literal["absolute", "relative"],
    width: int,
    height: int,
) -> FaceParams:
    """One person doing what another one does, or some of it.

    Args:
        own: t = 1, the person at rest; keeps what is not in `parts`.
        other: t frames of the other person in a picture of the same size.
        parts: pose is rotation, place and size; expression includes the lids.
        motion: absolute takes the other's numbers as they are; relative adds their change since the other's first
            frame to the person's own (angles by their sums, size by its ratio, place by the neck's way in head
            units, lids by their ratio) and lets lids and lips touch at most.

    Returns:
        t frames.
    """
    if motion == "relative":
        other = _rebase(own, other, width=width, height=height)
    t = len(other)
    still = own[[0] * t]
    posed = other if "pose" in parts else still
    return params_of(
        own.identity[0],
        (other if "expression" in parts else still).expression,
        posed.rotation,
        posed.translation,
        posed.scale,
        (other if "gaze" in parts else still).gaze,
        width=width,
        height=height,
    )


def _rebase(own: FaceParams, other: FaceParams, *, width: int, height: int) -> FaceParams:
    """The other person's motion as `own` would do it, starting from where `own` is."""
    angles = rotation_to_angles(other.rotation)
    rotation = angles_to_rotation(rotation_to_angles(own.rotation) + angles - angles[:1])
    scale = own.scale * other.scale / other.scale[:1]
    neck = torch.tensor(NECK)

    def neck_px(p: FaceParams) -> Tensor:
        return p.translation + p.scale[:, None] * (p.rotation @ neck)

    way = (neck_px(other) - neck_px(other[0])) / other.scale[:1, None]
    translation = neck_px(own) + own.scale[:, None] * way - scale[:, None] * (rotation @ neck)
    translation[:, 2] = own.translation[:, 2]
    share = (other.eye_openness / other.eye_openness[:1].clamp_min(0.1)).clamp(0, 1.4)
    expression = own.expression + other.expression - other.expression[:1]
    expression = settle_openings(own.identity[0], expression, own.eye_openness * share)
    gaze = own.gaze + other.gaze - other.gaze[:1]
    pose = (rotation, translation, scale, gaze)
    return params_of(own.identity[0], expression, *pose, width=width, height=height)


def settle_openings(identity: Tensor, expression: Tensor, openness: Tensor) -> Tensor:
    """Change an expression as little as needed: eyes as open as wanted, lips and lids touch at most.

    Args:
        identity: (80,). expression: (t, 64). openness: (t, 2).

    Returns:
        (t, 64).
    """
    model, table = load_face_model(), _opening_moves()
    identity = identity.expand(len(expression), -1)
    for _ in range(3):
        now = _openings(model.shape(identity, expression))
        change = torch.cat([openness - now[:, :2], (-now[:, 2:]).clamp_min(0)], 1)
        expression = expression + change @ table
    return expression


def _openings(shape: Tensor) -> Tensor:
    """(t, 478, 3) head frame to (t, 3): right eye, left eye, lips; negative where upper and lower one cross."""
    columns = []
    for pairs, width in (
        (RIGHT_EYELIDS, RIGHT_EYE_CORNERS),
        (LEFT_EYELIDS, LEFT_EYE_CORNERS),
        (INNER_LIPS_PAIRS, None),
    ):
        gap = shape[:, [b for _, b in pairs]] - shape[:, [a for a, _ in pairs]]
        size = gap.norm(dim=-1) * gap[..., 1].sign()
        unit = 1.0 if width is None else (shape[:, width[0]] - shape[:, width[1]]).norm(dim=-1)
        columns.append(size.mean(-1) / unit)
    return torch.stack(columns, 1)


@lru_cache(maxsize=1)
def _opening_moves() -> Tensor:
    """(3, 64) expression that opens the right eye, the left eye, the lips by 1 and leaves the others alone."""
    model = load_face_model()
    mean = model.mean[None]
    own = gaps(mean)
    moves = []
    for part in range(3):
        wanted = own.clone()
        if part < 2:
            more = torch.zeros(1, 2)
            more[0, part] = -0.15
            wanted[:, :EYE_PAIRS] = lids(mean).gaps(lids(mean).openness + more)
        else:
            wanted[:, EYE_PAIRS:, 1] += 0.1
        moves.append(model.solver.solve_expression((set_gaps(mean, wanted) - mean).flatten(1))[0])
    table = torch.stack(moves)
    zero = torch.zeros(3, 80)
    effect = _openings(model.shape(zero, table)) - _openings(mean)  # (move, opening)
    return torch.linalg.solve(effect, table)


@lru_cache(maxsize=1)
def action_codes() -> dict[str, Tensor]:
    """name: (64,) expression of each full semantic action."""
    model: FaceModel = load_face_model()
    return {str(k): model.solver.solve_expression(field.flatten()[None])[0] for k, field in fields().items()}


def draw_expression(random: np.random.Generator) -> Tensor:
    """(64,) one plausible expression: usually a few actions at once, now and then any likely coefficients."""
    if random.random() < 0.2:
        return draw_coefficients(random, EXPRESSION_SIZE, LARGEST_EXPRESSION, 0.7)
    expression = draw_coefficients(random, EXPRESSION_SIZE, LARGEST_EXPRESSION, 0.3)
    codes = action_codes()
    mouth = str(random.choice(["rest", "smile", "jaw", "laugh", "pucker", "funnel", "stretch", "sad"]))
    brows = str(random.choice(["rest", "rest", "brow_raise", "brow_frown"]))
    amount = float(random.uniform(0.3, 1.0))
    parts = {"laugh": {"smile": 0.9, "jaw": 0.5}, "sad": {"smile": -0.5}, "rest": {"press": 0.3}}
    for name, share in parts.get(mouth, {mouth: 1.0}).items():
        expression = expression + share * amount * codes[name]
    if brows != "rest":
        expression = expression + float(random.uniform(0.3, 1.0)) * codes[brows]
    return expression


def draw_state(random: np.random.Generator) -> Motion:
    """One moment, t = 1: expression, pose, gaze, place and size."""
    gaze = torch.tensor(random.normal(0, [0.2, 0.1]).clip(-0.5, 0.5), dtype=torch.float32).expand(1, 2, 2)
    angles = torch.tensor(random.normal(0, [0.35, 0.16, 0.1]).clip(-1.1, 1.1), dtype=torch.float32)[None]
    openness = torch.full((1, 2), USUAL_OPENNESS) * float(random.uniform(0.7, 1.25))
    if random.random() < 0.08:
        openness = openness * float(random.choice([0.0, 0.3]))
    return Motion(
        expression=draw_expression(random)[None],
        angles=angles,
        gaze=gaze.contiguous(),
        openness=follow_gaze(openness, gaze),
        shift=torch.tensor(random.normal(0, 0.12, (1, 2)), dtype=torch.float32),
        zoom=torch.tensor([random.uniform(2.8, 4.6)], dtype=torch.float32),
    )


def draw_motion(random: np.random.Generator, frames: int, fps: float = 25.0) -> Motion:
    """Smooth motion: a built-in one at its own speed and strength, over slow random turns and moods.

    Raises:
        InputError: fewer than 1 frame.
    """
    if frames < 1:
        raise InputError(f"a clip has at least 1 frame, not {frames}")
    seconds = frames / fps
    source = builtin_motion(str(random.choice(list(MOTIONS)))).params
    count, speed = len(source), float(random.uniform(0.8, 1.25))
    opened = source.eye_openness.mean(1).numpy()
    start = float(random.choice(np.flatnonzero(opened >= 0.9 * opened.max())))  # no clip begins with a blink
    at = (np.arange(frames) * (25 / fps) * speed + start) % count
    low, share = torch.from_numpy(at.astype(np.int64)), torch.from_numpy(np.remainder(at, 1).astype(np.float32))
    high = (low + 1) % count

    def played(x: Tensor) -> Tensor:
        weight = share.reshape(-1, *[1] * (x.ndim - 1))
        return x[low] * (1 - weight) + x[high] * weight

    def drift(deviation: Array | float, size: int) -> Tensor:
        return torch.from_numpy(_drift(random, seconds, frames, size) * deviation).float()

    strength = float(random.uniform(0.75, 1.2))
    angles = played(rotation_to_angles(source.rotation)) * float(random.uniform(0.8, 1.4))
    angles = angles + drift(np.array([0.16, 0.07, 0.05]), 3)
    angles = angles + torch.tensor(random.normal(0, [0.18, 0.07, 0.05]), dtype=torch.float32)
    mood = draw_coefficients(random, EXPRESSION_SIZE, 2.0, 0.25)
    gaze = (played(source.gaze) + drift(np.array([0.08, 0.04]), 2)[:, None]).clamp(-0.5, 0.5)
    open_share = played(source.eye_openness) / float(opened.max())
    return Motion(
        expression=strength * played(source.expression) + mood + drift(0.22, EXPRESSION_SIZE),
        angles=angles.clamp(-1.1, 1.1),
        gaze=gaze,
        openness=open_share * USUAL_OPENNESS * float(random.uniform(0.8, 1.15)),
        shift=torch.tensor(random.normal(0, 0.06, (1, 2)), dtype=torch.float32) + drift(0.03, 2),
        zoom=float(random.uniform(3.0, 3.8)) * (1 + drift(0.015, 1)[:, 0]),
    )


def _drift(random: np.random.Generator, seconds: float, frames: int, size: int) -> Array:
    """(frames, size) splines through Gaussian knots about 0.9 s apart, of unit deviation there."""
    knots = max(4, int(seconds / 0.9) + 3)
    values = random.standard_normal((knots, size)).clip(-2, 2)
    at = np.linspace(0, knots - 1, max(frames, 2))[:frames] if frames > 1 else np.zeros(1)
    return np.asarray(CubicSpline(np.arange(knots), values)(at))
