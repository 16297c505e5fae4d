"""Calm a face's motion without shifting it in time: for files over the whole clip, for live video as it comes.

A face is taken apart into signals that noise hits separately: where the middle of the face's surface is, how large the
face is, how the head is turned, and its landmarks in the head frame. Each is smoothed and put together again; the
expression, gaze, openness of the eyes and camera are then measured anew on the smoothed landmarks, so all fields agree.
A fast motion (blink, lips that close, nod) stands out from the noise and passes almost untouched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from portrayal.face.camera import FACE_DEPTH, camera_from_pose, picture_size
from portrayal.face.gaze import IRISES, landmarks_to_gaze
from portrayal.face.measure import eye_openness, inter_ocular
from portrayal.face.morphable import FaceModel, load_face_model
from portrayal.face.pose import head_to_picture, picture_to_head
from portrayal.types import FaceParams

MESH = IRISES[0]
OPEN_EYE = 0.15
"""Eye openness below which its iris is no longer seen and counts less."""


@dataclass(frozen=True)
class Signal:
    """How one signal is smoothed."""

    noise: float
    """Expected deviation of a frame, in the signal's unit; what is larger counts as motion."""
    width_seconds: float
    """Standard deviation of the Gaussian window (files)."""
    cutoff_hz: float
    """Cut-off frequency at rest (live)."""
    cutoff_per_speed: float
    """How much each unit of speed per second raises it, in hertz (live)."""


SIGNALS = {
    "centre": Signal(noise=0.002, width_seconds=0.12, cutoff_hz=1.0, cutoff_per_speed=20),  # head units
    "size": Signal(noise=0.002, width_seconds=0.16, cutoff_hz=0.7, cutoff_per_speed=20),  # logarithm
    "rotation": Signal(noise=0.004, width_seconds=0.12, cutoff_hz=1.0, cutoff_per_speed=15),  # entries of the matrix
    "mesh": Signal(noise=0.003, width_seconds=0.08, cutoff_hz=2.0, cutoff_per_speed=40),  # head units
    "irises": Signal(noise=0.004, width_seconds=0.08, cutoff_hz=2.0, cutoff_per_speed=40),  # head units
}

JUMPS = {"centre": 0.5, "size": 0.3, "rotation": 0.8}
"""A larger change from one frame to the next is a cut: head units, logarithm, matrix entries (about 0.6 radians)."""
PAUSE = 0.5
"""Seconds without a frame that separate shots."""
NOISIEST = 4.0
"""Noise found in a clip counts up to this multiple of the expected."""
RMS_OF_QUARTER = {1: 3.14, 2: 1.86, 3: 1.57, 9: 1.57}
"""Root mean square of normal noise over its lower quartile, by dimension; a rotation's nine numbers have three."""
ENERGY_SECONDS = 0.04
"""Standard deviation of the window in which the energy of motion is measured."""
GROUPS_AT_ONCE, FRAMES_AT_ONCE = 64, 512
"""Points that are smoothed and frames that are put together in one go: more takes memory and gains no time."""
SPEED_CUTOFF_HZ = 4.0
"""Cut-off frequency of the speed in the live filter."""


def smooth_params(
    params: FaceParams, times: Sequence[Fraction | float], strength: float = 1.0, *, model: FaceModel | None = None
) -> FaceParams:
    """Zero-phase smoothing of a whole clip.

    Each signal is split into a slow part (local linear regression under a Gaussian window over the exact times,
    weighted by confidence) and the rest; of the rest passes what stands out from the noise (non-negative garrote).
    Nothing is smoothed across cuts. Frames without confidence are filled from their neighbours.

    Args:
        params: (t) frames of one face.
        times: t presentation times in seconds, increasing.
        strength: 0 returns `params` as they are; 1 is right for the tracker at 25 frames per second; more is calmer.
        model: None is the embedded one.
    """
    if strength <= 0 or len(params) < 3:
        return params
    model = model or load_face_model(params.landmarks.device)
    seconds = _seconds(times, params.landmarks)
    unit = params.scale.median()
    signals = _take_apart(params, unit)
    shots = _shots(signals, seconds)
    seen = params.confidence.clamp_min(1e-3)
    open_eyes = (params.eye_openness / OPEN_EYE).clamp(1e-2, 1).amin(1)
    smoothed = {
        name: _smooth(x, SIGNALS[name], strength, seconds, shots, seen * open_eyes if name == "irises" else seen)
        for name, x in signals.items()
    }
    chunks = [slice(start, start + FRAMES_AT_ONCE) for start in range(0, len(params), FRAMES_AT_ONCE)]
    parts = [_put_together(params[c], {name: x[c] for name, x in smoothed.items()}, unit, model) for c in chunks]
    return FaceParams.cat(parts)


class OneEuro:
    """Live smoothing of one face (One-Euro filter, Casiez et al. 2012): calm at rest, quick in motion."""

    def __init__(self, strength: float = 1.0, *, model: FaceModel | None = None) -> None:
        """`strength` as in `smooth_params`."""
        self.strength = strength
        self.model = model
        self.reset()

    def reset(self) -> None:
        """Forget the past (another face, a cut)."""
        self._time: float | None = None
        self._unit: Tensor | None = None
        self._values: dict[str, Tensor] = {}
        self._speeds: dict[str, Tensor] = {}

    def step(self, params: FaceParams, time: Fraction | float) -> FaceParams:
        """The next frame (t = 1), smoothed with the frames before it; a time that does not advance starts anew."""
        if self.strength <= 0:
            return params
        if self._unit is None:
            self._unit = params.scale.median()
        signals = _take_apart(params, self._unit)
        elapsed = math.inf if self._time is None else float(time) - self._time
        self._time = float(time)
        if not 0 < elapsed < PAUSE or bool(_jumps(self._values, signals)):
            self._values, self._speeds = signals, {name: torch.zeros_like(x) for name, x in signals.items()}
            return params
        for name, signal in signals.items():
            self._values[name], self._speeds[name] = _one_euro(
                signal, self._values[name], self._speeds[name], elapsed, SIGNALS[name], self.strength
            )
        model = self.model or load_face_model(params.landmarks.device)
        return _put_together(params, self._values, self._unit, model)


def jitter_score(landmarks: Tensor, times: Sequence[Fraction | float]) -> float:
    """How much landmarks tremble, in percent of the inter-ocular distance.

    The distance in the picture between each of the 468 mesh points and where it would be if it moved evenly from the
    frame before to the frame after, averaged over the points; of that the median over the frames, so that quick motion
    in some frames does not count. Divided by sqrt(1.5), it is the mean distance that independent noise moves a point.

    Reference: 0.5 on the labels of the development clips (talking people, 25 frames per second), which are not smooth;
    their still moments have 0.2.

    Args:
        landmarks: (t, 478, 3) pixels. times: t presentation times in seconds, increasing.

    Returns:
        0 where there are fewer than three frames.
    """
    if len(landmarks) < 3:
        return 0.0
    seconds = _seconds(times, landmarks)
    deviation = _deviation(landmarks[:, :MESH, :2], seconds).norm(dim=-1).mean(1)
    return float(100 * (deviation / inter_ocular(landmarks[1:-1])).median())


def _seconds(times: Sequence[Fraction | float], like: Tensor) -> Tensor:
    """(t,) seconds from the first frame."""
    if len(times) != len(like):
        raise ValueError(f"{len(like)} frames need as many times, got {len(times)}")
    seconds = torch.tensor([float(t - times[0]) for t in times]).to(like)
    if len(times) > 1 and not (seconds.diff() > 0).all():
        raise ValueError("the times of the frames must increase")
    return seconds


def _deviation(x: Tensor, seconds: Tensor) -> Tensor:
    """(t, ...) to (t - 2, ...): from the straight line between both neighbours, in units of one frame's noise."""
    part = ((seconds[1:-1] - seconds[:-2]) / (seconds[2:] - seconds[:-2])).reshape(-1, *[1] * (x.ndim - 1))
    return (x[1:-1] - torch.lerp(x[:-2], x[2:], part)) / math.sqrt(1.5)


def _take_apart(params: FaceParams, unit: Tensor) -> dict[str, Tensor]:
    """Signals (t, groups, numbers) of a face; `unit`: pixels of a head unit at this face's usual size."""
    scale, rotation = params.scale, params.rotation
    centre = params.translation - FACE_DEPTH * scale[:, None] * rotation[..., 2]
    head = picture_to_head(params.landmarks, scale, rotation, params.translation)
    return {
        "centre": centre[:, None] / unit,
        "size": scale.log()[:, None, None],
        "rotation": rotation.flatten(1)[:, None],
        "mesh": head[:, :MESH],
        "irises": head[:, MESH:],
    }


def _put_together(params: FaceParams, signals: dict[str, Tensor], unit: Tensor, model: FaceModel) -> FaceParams:
    """The inverse of `_take_apart`; what depends on the landmarks is measured anew."""
    scale = signals["size"][:, 0, 0].exp()
    u, _, vh = torch.linalg.svd(signals["rotation"][:, 0].unflatten(-1, (3, 3)))
    rotation = u @ vh
    translation = signals["centre"][:, 0] * unit + FACE_DEPTH * scale[:, None] * rotation[..., 2]
    head = torch.cat([signals["mesh"], signals["irises"]], 1)
    landmarks = head_to_picture(head, scale, rotation, translation)
    offsets = (head - model.mean).flatten(1) - params.identity @ model.identity_basis.flatten(1)
    expression = model.solver.solve_expression(offsets)
    shape = model.shape(params.identity, expression)
    opened = eye_openness(landmarks) - eye_openness(params.landmarks)  # added: a network may have measured it better
    camera = params.camera
    if size := picture_size(params.camera, params.scale):
        camera = camera_from_pose(rotation, translation, scale, width=size[0], height=size[1])
    return params.replace(
        landmarks=landmarks,
        expression=expression,
        rotation=rotation,
        translation=translation,
        scale=scale,
        gaze=landmarks_to_gaze(landmarks, shape, scale, rotation, model.iris_offsets),
        camera=camera,
        eye_openness=(params.eye_openness + opened).clamp_min(0),
    )


def _jumps(before: dict[str, Tensor], after: dict[str, Tensor]) -> Tensor:
    """(t,) bool: from one frame to the next the face moved farther than a face can; another shot begins."""
    far = [(after[name] - before[name]).norm(dim=-1).amax(1) > limit for name, limit in JUMPS.items()]
    return torch.stack(far).any(0)


def _shots(signals: dict[str, Tensor], seconds: Tensor) -> Tensor:
    """(t,) number of the shot each frame belongs to."""
    before, after = ({name: signals[name][part] for name in JUMPS} for part in (slice(-1), slice(1, None)))
    cuts = _jumps(before, after) | (seconds.diff() > PAUSE)
    return torch.cat([cuts.new_zeros(1), cuts]).cumsum(0)


def _smooth(x: Tensor, signal: Signal, strength: float, seconds: Tensor, shots: Tensor, seen: Tensor) -> Tensor:
    """Slow part plus what stands out of the rest: (t, groups, numbers), weights `seen` (t,) in (0, 1].

    Some groups at a time: in a long clip the parts of all of them would need several times the memory of the clip.
    """
    noise = strength * max(signal.noise, min(_noise_level(x, seconds), NOISIEST * signal.noise))
    smoothed = torch.empty_like(x)
    for start in range(0, x.shape[1], GROUPS_AT_ONCE):
        part = x[:, start : start + GROUPS_AT_ONCE]
        slow = _local_linear(part, seconds, shots, seen, strength * signal.width_seconds)
        rest = (part - slow) * seen[:, None, None]
        energy = rest.square().sum(-1, keepdim=True)
        energy = _local_linear(energy, seconds, shots, torch.ones_like(seen), ENERGY_SECONDS)
        smoothed[:, start : start + GROUPS_AT_ONCE] = slow + rest * (1 - noise**2 / energy.clamp_min(noise**2))
    return smoothed


def _noise_level(x: Tensor, seconds: Tensor) -> float:
    """Root mean square noise of a frame, from the calm quarter of all frames and groups, where nothing else moves."""
    quarter = _deviation(x, seconds).norm(dim=-1).flatten().sort().values
    return float(quarter[len(quarter) // 4]) * RMS_OF_QUARTER[x.shape[-1]]


def _local_linear(x: Tensor, seconds: Tensor, shots: Tensor, seen: Tensor, width: float) -> Tensor:
    """Weighted linear regression over time around each frame, read at the frame: (t, groups, numbers).

    The weights are a Gaussian of standard deviation `width` seconds, cut at three, times `seen`; frames of other shots
    count nothing. Unlike a moving average it does not lag at the ends or where frames are missing.
    """
    count = len(seconds)
    reach = torch.searchsorted(seconds, seconds + 3 * width, right=True) - torch.arange(count, device=seconds.device)
    moments = [torch.zeros_like(seconds) for _ in range(3)]
    sums = [torch.zeros_like(x) for _ in range(2)]
    for step in range(1 - int(reach.max()), int(reach.max())):
        at, other = slice(max(0, -step), count - max(0, step)), slice(max(0, step), count - max(0, -step))
        distance = (seconds[other] - seconds[at]) / width
        weight = (-distance.square() / 2).exp() * seen[other] * (distance.abs() <= 3) * (shots[at] == shots[other])
        for power, moment in enumerate(moments):
            moment[at] += weight * distance**power
        for power, total in enumerate(sums):
            total[at] += (weight * distance**power)[:, None, None] * x[other]
    zeroth, first, second = (moment[:, None, None] for moment in moments)
    second = second + 1e-3 * zeroth  # a lone frame has no slope
    return (second * sums[0] - first * sums[1]) / (zeroth * second - first.square())


def _one_euro(
    x: Tensor, before: Tensor, speed: Tensor, elapsed: float, signal: Signal, strength: float
) -> tuple[Tensor, Tensor]:
    """One step: the smoothed value and speed. Each group (point) has its own cut-off frequency."""
    speed = torch.lerp(speed, (x - before) / elapsed, _gain(torch.tensor(SPEED_CUTOFF_HZ), elapsed).to(x))
    cutoff = (signal.cutoff_hz + signal.cutoff_per_speed * speed.norm(dim=-1, keepdim=True)) / strength
    return torch.lerp(before, x, _gain(cutoff, elapsed)), speed


def _gain(cutoff_hz: Tensor, elapsed: float) -> Tensor:
    """Weight of the new value in an exponential filter with that cut-off frequency."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * elapsed))
