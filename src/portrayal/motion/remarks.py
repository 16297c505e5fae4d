"""Sentences about frames of a motion that a system cannot be trusted with."""

from __future__ import annotations

from torch import Tensor

from portrayal.types import FaceParams

UNSURE = 0.5
"""Confidence of the tracker under which a driving frame is named."""
NAMED = 4
"""Stretches of frames that a remark names."""


def unsure_frames(params: FaceParams) -> tuple[str, ...]:
    """What is to be said where the tracker saw a face, but not clearly."""
    unsure = (params.confidence > 0) & (params.confidence < UNSURE)
    if not bool(unsure.any()):
        return ()
    return (f"The tracker is not sure of the driving face in {frame_numbers(unsure)}; look at the result there.",)


def turned_frames(outside: Tensor, angles: Tensor) -> tuple[str, ...]:
    """What is to be said where the head turns too far.

    Args:
        outside: (t,) bool, the frames. angles: (2, 2) smallest and largest (yaw, pitch) of the training, radians.
    """
    if not bool(outside.any()):
        return ()
    low, high = angles.rad2deg().round().int().tolist()
    return (
        f"The head turns further than any in training (yaw {low[0]} to {high[0]}, pitch {low[1]} to {high[1]} "
        f"degrees) in {frame_numbers(outside)}; expect smears there, or lower --strength.",
    )


def frame_numbers(marked: Tensor) -> str:
    """(t,) bool to words: the stretches of marked frames, the first few of them."""
    numbers = marked.nonzero()[:, 0].tolist()
    stretches: list[list[int]] = []
    for number in numbers:
        if stretches and number == stretches[-1][1] + 1:
            stretches[-1][1] = number
        else:
            stretches.append([number, number])
    words = [str(a) if a == b else f"{a}-{b}" for a, b in stretches]
    more = f" and {len(words) - NAMED} more stretches" if len(words) > NAMED else ""
    return f"frame{'s' if len(numbers) > 1 else ''} {', '.join(words[:NAMED])}{more}"
