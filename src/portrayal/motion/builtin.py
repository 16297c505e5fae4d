"""Motions made by code on the mean face: no video, nobody's data, the same on every machine.

Each is a loop: the frame after the last one is the first one again. The first frame is at rest. Times and angles
follow what people do: blinks shut within a tenth of a second and open more slowly, the eyes lead the head and come back
while it turns, lips prepare for the next sound before it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import pi

import torch
from torch import Tensor

from portrayal.errors import InputError
from portrayal.face.camera import camera_from_pose
from portrayal.face.measure import eye_openness
from portrayal.face.morphable import load_face_model
from portrayal.face.pose import angles_to_rotation, head_to_picture
from portrayal.motion.regions import mean_face
from portrayal.motion.semantic import NECK, SQUINT, Action, act, follow_gaze
from portrayal.motion.speech import speak
from portrayal.types import IDENTITY_SIZE, Driving, FaceParams

SIDE = 512
"""Pixels of the square picture that the mean face is placed in."""
UNIT_PX = 110.0
DEGREE = pi / 180


class Score:
    """What the face does over one loop, as curves over its frames; all start at rest."""

    def __init__(self, seconds: float, fps: float) -> None:
        self.count = max(2, round(seconds * fps))
        self.seconds = seconds
        self.time = torch.arange(self.count, dtype=torch.float32) * (seconds / self.count)
        zero = torch.zeros(self.count)
        self.actions: dict[Action, Tensor] = {}
        self.yaw, self.pitch, self.roll = zero, zero, zero
        self.gaze_yaw, self.gaze_pitch = zero, zero
        self.shut, self.squint = zero, zero
        self.together = zero
        """(t,) lips that touch although the jaw is open."""

    def add(self, name: Action, curve: Tensor) -> None:
        """Add a curve (t,) to an action."""
        self.actions[name] = self.actions.get(name, torch.zeros(self.count)) + curve

    def ease(self, start: float, end: float) -> Tensor:
        """(t,) from 0 to 1 with the jerk of a reaching movement: smallest possible (Flash and Hogan 1985)."""
        u = ((self.time - start) / (end - start)).clamp(0, 1)
        return u**3 * (10 - 15 * u + 6 * u**2)

    def bump(self, start: float, top: float, leave: float, end: float) -> Tensor:
        """(t,) eased from 0 up to 1 between `start` and `top`, and down between `leave` and `end`."""
        return self.ease(start, top) - self.ease(leave, end)

    def steps(self, times: Sequence[float], values: Sequence[float], lasts: float) -> Tensor:
        """(t,) eased moves that start at `times` towards `values` and take `lasts` seconds each."""
        curve, before = torch.zeros(self.count), 0.0
        for time, value in zip(times, values, strict=True):
            curve = curve + (value - before) * self.ease(time, time + lasts)
            before = value
        return curve

    def blink(self, at: float) -> None:
        """Shut both eyes at the frame nearest to `at`: 0.1 s to close, 0.2 s to open."""
        at = float(self.time[(self.time - at).abs().argmin()])
        before, after = (at - self.time) / 0.1, (self.time - at - 0.03) / 0.2
        away = torch.maximum(before, after).clamp(0, 1)
        self.shut = torch.maximum(self.shut, 1 - away * away * (3 - 2 * away))

    def drift(self, degrees: float, generator: torch.Generator) -> Tensor:
        """(t,) radians of slow aimless motion that is 0 at the first frame and closes the loop."""
        curve = torch.zeros(self.count)
        for cycles in (1, 2, 3, 5):
            phase = 2 * pi * torch.rand(1, generator=generator)
            angle = 2 * pi * cycles * self.time / self.seconds + phase
            curve = curve + (angle.sin() - phase.sin()) / cycles
        return degrees * DEGREE * curve / 2


def _sway(score: Score, degrees: float, seed: int) -> None:
    """The head is never quite still."""
    generator = torch.Generator().manual_seed(seed)
    score.yaw = score.yaw + score.drift(degrees, generator)
    score.pitch = score.pitch + score.drift(0.7 * degrees, generator)
    score.roll = score.roll + score.drift(0.7 * degrees, generator)


def talk(fps: float) -> Score:
    """One sentence with small nods on its stresses and three blinks."""
    score = Score(5.2, fps)
    speech, score.together, stresses = speak(score.time, start=0.35)
    for name, curve in speech.items():
        score.add(name, curve)
    for i, at in enumerate(stresses):
        accent = score.bump(at - 0.16, at + 0.02, at + 0.04, at + 0.4)
        score.pitch = score.pitch + (2.6 - 0.5 * (i % 2)) * DEGREE * accent
        if i % 2 == 0:
            score.add("brow_raise", 0.4 * accent)
    score.yaw = score.yaw + DEGREE * score.steps([0.3, 1.7, 3.2, 4.3], [3, -3.5, 2, 0], 0.8)
    score.roll = score.roll + DEGREE * score.steps([0.5, 2.0, 3.9], [1.8, -1.5, 0], 0.9)
    score.add("smile", 0.18 * score.bump(0.3, 1.0, 4.2, 5.0))
    for at in (0.45, 2.15, 4.1):
        score.blink(at)
    _sway(score, 0.7, seed=1)
    return score


def nod(fps: float) -> Score:
    """Yes, three times, each smaller than the one before."""
    score = Score(4.0, fps)
    score.pitch = DEGREE * score.steps([0.4, 0.68, 1.12, 1.5, 1.92, 2.26, 2.66], [-3, 11, -2, 9, -1, 5, 0], 0.46)
    score.gaze_pitch = -0.6 * score.pitch
    score.add("smile", 0.3 * score.bump(0.6, 1.5, 2.8, 3.7))
    score.squint = 0.08 * score.bump(0.6, 1.5, 2.8, 3.7)
    score.blink(0.85)
    score.blink(3.1)
    _sway(score, 0.5, seed=2)
    return score


def look_around(fps: float) -> Score:
    """20 degrees to one side, to the other, up, and back; the eyes go first."""
    score = Score(6.0, fps)
    times, yaws, pitches = [0.5, 2.0, 3.6, 4.8], [20.0, -20.0, 4.0, 0.0], [1.0, 3.0, -11.0, 0.0]
    score.yaw = DEGREE * score.steps([t + 0.1 for t in times], yaws, 0.75)
    score.pitch = DEGREE * score.steps([t + 0.1 for t in times], pitches, 0.75)
    score.roll = DEGREE * score.steps([t + 0.15 for t in times], [-2.0, 2.0, 1.0, 0.0], 0.8)
    target_yaw = DEGREE * score.steps(times, [1.25 * y for y in yaws], 0.12)
    target_pitch = DEGREE * score.steps(times, [1.2 * p for p in pitches], 0.12)
    score.gaze_yaw = (target_yaw - score.yaw).clamp(-0.5, 0.5)
    score.gaze_pitch = (target_pitch - score.pitch).clamp(-0.3, 0.3)
    score.add("brow_raise", 0.45 * score.bump(3.6, 4.0, 4.7, 5.2))
    for at in (2.06, 4.86):
        score.blink(at)
    _sway(score, 0.4, seed=3)
    return score


def smile(fps: float) -> Score:
    """A smile that grows, reaches the eyes, and fades."""
    score = Score(5.0, fps)
    curve = score.bump(0.5, 1.35, 3.3, 4.6)
    score.add("smile", curve * (1 + 0.04 * (2 * pi * score.time / 1.7).sin()))
    score.add("jaw", 0.1 * score.bump(0.8, 1.6, 3.0, 4.2))
    score.add("brow_raise", 0.25 * score.bump(0.45, 1.0, 1.4, 2.4))
    score.squint = SQUINT * score.bump(0.6, 1.5, 3.2, 4.4)
    score.roll = 3.5 * DEGREE * score.bump(0.6, 1.6, 3.3, 4.7)
    score.pitch = -2 * DEGREE * score.bump(0.5, 1.3, 3.3, 4.7)
    score.blink(0.55)
    score.blink(3.5)
    _sway(score, 0.5, seed=4)
    return score


def blink(fps: float) -> Score:
    """One blink, then two in a row."""
    score = Score(4.0, fps)
    for at in (0.8, 2.4, 2.8):
        score.blink(at)
    _sway(score, 0.4, seed=5)
    return score


MOTIONS: dict[str, Callable[[float], Score]] = {
    "talk": talk,
    "nod": nod,
    "look-around": look_around,
    "smile": smile,
    "blink": blink,
}


def builtin_motion(name: str, fps: float | Fraction = 25) -> Driving:
    """One of `MOTIONS` on the mean face.

    Args:
        name: talk, nod, look-around, smile or blink.
        fps: frames per second, 5 to 240.

    Returns:
        4 to 6 seconds, a loop, starting at rest at time 0; in pixels of a 512 x 512 picture.

    Raises:
        InputError: no such motion or frame rate.
    """
    if name not in MOTIONS:
        raise InputError(f"there is no built-in motion {name!r}; choose one of {', '.join(MOTIONS)}")
    if not 5 <= fps <= 240:
        raise InputError(f"a built-in motion has 5 to 240 frames per second, not {fps}")
    rate = Fraction(fps).limit_denominator(100_000)
    params = perform(MOTIONS[name](float(rate)))
    return Driving(params=params, times=tuple(Fraction(i) / rate for i in range(len(params))))


def perform(score: Score) -> FaceParams:
    """(t frames) the mean face doing what `score` says, in the middle of a `SIDE` x `SIDE` picture."""
    model, t = load_face_model(), score.count
    rest = act(mean_face()[None], {}, together=torch.ones(1))
    gaze = torch.stack([score.gaze_yaw, score.gaze_pitch], -1)[:, None].expand(-1, 2, -1)
    own = eye_openness(rest)
    openness = follow_gaze(own * (1 - score.squint[:, None]), gaze) * (1 - score.shut[:, None])
    shape = act(rest, score.actions, openness=openness, together=score.together, gaze=(torch.zeros(1, 2, 2), gaze))
    rotation = angles_to_rotation(torch.stack([score.yaw, score.pitch, score.roll], -1))
    scale = torch.full((t,), UNIT_PX)
    neck = torch.tensor(NECK)
    translation = torch.tensor([SIDE / 2, SIDE / 2, 0.0]) + UNIT_PX * (neck - rotation @ neck)
    return FaceParams(
        landmarks=head_to_picture(shape, scale, rotation, translation),
        identity=torch.zeros(t, IDENTITY_SIZE),
        expression=model.solver.solve_expression((shape - model.mean).flatten(1)),
        rotation=rotation,
        translation=translation,
        scale=scale,
        gaze=gaze.contiguous(),
        camera=camera_from_pose(rotation, translation, scale, width=SIDE, height=SIDE),
        eye_openness=openness,
        confidence=torch.ones(t),
    )
