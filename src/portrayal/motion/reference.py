"""Which driving frame is the rest that relative motion is measured from.

Many tools take the first frame and ask the user to start with a neutral face. Here every frame of the clip is scored
and the best one is taken, wherever it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from portrayal.errors import InputError
from portrayal.face.measure import mouth_openness
from portrayal.face.pose import picture_to_head, rotation_to_angles
from portrayal.face.topology import MOUTH_CORNERS
from portrayal.motion.openings import CLOSED_EYE
from portrayal.types import FaceParams

WEIGHTS = {
    "turned": 1.0,
    "mouth open": 1.0,
    "eyes": 1.3,
    "expression": 0.6,
    "moving": 0.4,
    "unsure": 1.0,
    "unlike the source": 1.2,
}
"""What each term of `reference_terms` counts."""


def hold_missing(params: FaceParams) -> FaceParams:
    """Frames without a face (confidence 0) get everything but the confidence from the nearest frame that has one.

    Args:
        params: t frames.

    Raises:
        InputError: if no frame has a face.
    """
    found = params.confidence > 0
    if bool(found.all()):
        return params
    if not bool(found.any()):
        raise InputError("no frame of the motion has a face; use a video in which a face can be seen")
    seen, index = found.nonzero()[:, 0], torch.arange(len(params), device=found.device)
    after = torch.searchsorted(seen, index).clamp_max(len(seen) - 1)
    before = (after - 1).clamp_min(0)
    nearest = torch.where((index - seen[before]).abs() <= (seen[after] - index).abs(), seen[before], seen[after])
    return params[nearest].replace(confidence=params.confidence)


def reference_terms(params: FaceParams, source: FaceParams | None = None) -> dict[str, Tensor]:
    """How unsuitable each frame is as the reference, by cause; 0 is best, 1 is clearly bad.

    Args:
        params: t frames of the driving face.
        source: t = 1, the portrait; relative motion is most faithful from the driving frame that looks like it.

    Returns:
        name: (t,), the names of `WEIGHTS`.
    """
    angles = rotation_to_angles(params.rotation)
    shape = _in_head(params, slice(None, None, 4))  # a quarter of the landmarks says enough, also of a long video
    found = params.confidence > 0
    openness = params.eye_openness.mean(1)
    usual = openness[found & (openness > CLOSED_EYE)]
    typical = usual.quantile(0.7) if len(usual) else openness.max()
    effort = params.expression.square().mean(1).sqrt()
    rest = shape[found].median(0).values
    step = (shape[1:] - shape[:-1]).square().mean((1, 2)).sqrt() if len(params) > 1 else shape.new_zeros(0)
    zero = shape.new_zeros(1)
    terms = {
        "turned": (angles * angles.new_tensor([1.0, 1.0, 0.5])).norm(dim=-1) / (0.5 if source is None else 1.0),
        "mouth open": (mouth_openness(params.landmarks) / 0.25).clamp(0, 2),
        "eyes": ((openness - typical).abs() / typical.clamp_min(CLOSED_EYE)).clamp(0, 2),
        "expression": (shape - rest).square().mean((1, 2)).sqrt() / 0.1 + (effort - effort[found].min()) / 0.8,
        "moving": torch.maximum(torch.cat([step, zero]), torch.cat([zero, step])) / 0.02,
        "unsure": 1 - params.confidence,
    }
    if source is not None:
        terms["unlike the source"] = _unlike(angles, params, source)
    return terms


def _unlike(angles: Tensor, params: FaceParams, source: FaceParams) -> Tensor:
    """(t,) difference of pose, mouth opening and smile to the source's."""
    own = source[0]
    pose = (angles - rotation_to_angles(own.rotation)).norm(dim=-1) / 0.4
    mouth = (mouth_openness(params.landmarks) - mouth_openness(own.landmarks)).abs() / 0.25
    smile = (_corner_height(params) - _corner_height(own)).abs() / 0.1
    unlike: Tensor = (pose + mouth + smile) / 2
    return unlike


def _corner_height(params: FaceParams) -> Tensor:
    """(t,) how far the mouth's corners lie above the middle of the outer lips, head units: grows with a smile."""
    height = _in_head(params, [0, 17, *MOUTH_CORNERS])[..., 1]
    return height[:, :2].mean(1) - height[:, 2:].mean(1)


def _in_head(params: FaceParams, points: slice | list[int]) -> Tensor:
    """(t, n, 3) some landmarks in the head frame."""
    return picture_to_head(params.landmarks[:, points], params.scale, params.rotation, params.translation)


def reference_frame(params: FaceParams, source: FaceParams | None = None) -> int:
    """The frame of the driving clip that is most neutral, frontal, still, sharp and, if given, like the source.

    Args:
        params: t frames of the driving face. source: t = 1, the portrait, or None.

    Raises:
        InputError: if no frame has a face.
    """
    return choose_reference(params, source).index


@dataclass(frozen=True)
class Reference:
    """The chosen frame and what speaks against it."""

    index: int
    terms: dict[str, float]
    """The terms of `reference_terms` at that frame."""

    def objections(self) -> list[str]:
        """Phrases for what is clearly not as it should be."""
        words = {
            "turned": "the head is turned",
            "mouth open": "the mouth is open",
            "eyes": "the eyes are not open as usual",
            "expression": "the face is not at rest",
            "moving": "the face is moving",
            "unsure": "the face is hard to see",
            "unlike the source": "pose or expression differ from the portrait's",
        }
        return [words[name] for name, value in self.terms.items() if value > 0.6]

    def reason(self) -> str:
        """One phrase for people."""
        against = self.objections()
        if not against:
            return "frontal, at rest, eyes open, mouth closed"
        return "the best there is, though " + " and ".join(against)


def choose_reference(params: FaceParams, source: FaceParams | None = None) -> Reference:
    """`reference_frame` with its reasons. Same arguments and errors."""
    held = hold_missing(params)
    terms = reference_terms(held, source)
    total = torch.stack([WEIGHTS[name] * value for name, value in terms.items()]).sum(0)
    total[params.confidence <= 0] = torch.inf
    index = int(total.argmin())
    return Reference(index, {name: float(value[index]) for name, value in terms.items()})
