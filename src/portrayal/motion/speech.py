"""Lips that speak: a sentence as a row of mouth shapes that blend into each other.

Blending after Cohen and Massaro 1993 ("Modeling coarticulation in synthetic visual speech"): every sound pulls each
part of the mouth towards its own target with a dominance that falls off exponentially before and after it,
D(t) = weight * exp(-rate * |t - centre|); the shape is the mean of the targets weighted by dominance. Lips that must
touch (m, b, p) or reach the teeth (f, v) have a high weight; a vowel's lips give way to its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from portrayal.motion.regions import smoothstep
from portrayal.motion.semantic import Action

PARTS: tuple[Action, ...] = ("jaw", "pucker", "funnel", "stretch", "press", "tuck")
RATE = 17.0
"""1 / s, how quickly a sound's pull falls off."""


@dataclass(frozen=True)
class Sound:
    """A mouth shape. Targets are activations of `portrayal.motion.semantic`."""

    jaw: float
    lips: tuple[tuple[Action, float], ...] = ()
    weight: float = 1.0
    """Dominance over the neighbours."""


SOUNDS: dict[str, Sound] = {
    "_": Sound(0.0, (("press", 0.0),), 2.0),
    "m": Sound(0.0, (("press", 0.9),), 6.0),
    "f": Sound(0.05, (("tuck", 1.0),), 4.0),
    "t": Sound(0.16, (("stretch", 0.25),), 0.8),
    "s": Sound(0.08, (("stretch", 0.5),), 1.2),
    "S": Sound(0.12, (("funnel", 0.8),), 1.6),
    "k": Sound(0.22, (), 0.6),
    "r": Sound(0.15, (("pucker", 0.45),), 1.0),
    "w": Sound(0.1, (("pucker", 0.95),), 2.0),
    "a": Sound(0.62, (("stretch", 0.1),), 1.6),
    "e": Sound(0.42, (("stretch", 0.4),), 1.4),
    "i": Sound(0.2, (("stretch", 0.85),), 1.4),
    "o": Sound(0.45, (("pucker", 0.55),), 1.6),
    "u": Sound(0.2, (("pucker", 0.9),), 1.6),
    "A": Sound(0.5, (), 1.2),
}
"""One sign per mouth shape: m for m b p, f for f v, t for t d n l, S for sh ch, A for a short open vowel."""

SENTENCE = "hA-lo' _ s-o na-i-s t-u m-i't j-u _ a-im gla-ad j-u k-e'm __ w-e'lk-Am h-o'm"
"""In the signs of `SOUNDS`; ' stresses the vowel before it, - and space take no time, other signs are skipped."""
CONSONANT_S, VOWEL_S, STRESSED_S, PAUSE_S = 0.065, 0.105, 0.16, 0.2


def timeline(sentence: str, start: float) -> list[tuple[Sound, float, bool]]:
    """(sound, centre in seconds, stressed) of every sign that is spoken."""
    row, at = [], start
    for i, sign in enumerate(sentence):
        if sign not in SOUNDS:
            continue
        stressed = sentence[i + 1 : i + 2] == "'"
        vowel = sign in "aeiouA"
        lasts = PAUSE_S if sign == "_" else STRESSED_S if stressed else VOWEL_S if vowel else CONSONANT_S
        row.append((SOUNDS[sign], at + lasts / 2, stressed))
        at += lasts
    return row


def speak(time: Tensor, *, start: float, sentence: str = SENTENCE) -> tuple[dict[Action, Tensor], Tensor, list[float]]:
    """Mouth shapes of a sentence.

    Args:
        time: (t,) seconds, of a loop that is longer than the sentence. start: when the sentence begins.

    Returns:
        action: (t,) activations, 0 at both ends; (t,) 1 where the lips touch; and the times of the stresses.
    """
    row = timeline(sentence, start)
    end = row[-1][1] + VOWEL_S
    centres = torch.tensor([centre for _, centre, _ in row])
    weights = torch.tensor([sound.weight * (1.4 if stressed else 1.0) for sound, _, stressed in row])
    dominance = weights * (-RATE * (time[:, None] - centres).abs()).exp()
    silence = 0.35 * torch.ones(len(time), 1)  # between sounds the mouth tends back to rest
    ends = torch.minimum((time - start + 0.12) / 0.12, (end + 0.25 - time) / 0.25).clamp(0, 1)
    curves: dict[Action, Tensor] = {}
    for part in PARTS:
        louder = [1.15 if stressed else 0.9 for _, _, stressed in row]
        targets = [s.jaw if part == "jaw" else dict(s.lips).get(part, 0.0) for s, _, _ in row]
        target = torch.tensor([x * f for x, f in zip(targets, louder, strict=True)])
        total = dominance.sum(1) + silence[:, 0]
        curves[part] = (dominance * target).sum(1) / total * ends * ends * (3 - 2 * ends)
    touching = [centre for sound, centre, _ in row if sound is SOUNDS["m"]]
    near = [smoothstep((time - centre).abs(), 0.085, 0.03) for centre in touching]
    together = torch.stack(near).amax(0) if near else torch.zeros_like(time)
    return curves, together, [centre for _, centre, stressed in row if stressed]
