"""What a face can do: jaw, smile, lip shapes, brows, lids and gaze, as displacements of the landmarks.

An action is said by where a few landmarks go (`ACTIONS`); how the rest of the face follows is what the linear face
model finds most likely: the smallest coefficients b, each in units of its deviation among people, that move those
landmarks there. So cheeks rise with a smile and the whole jaw with the lower lip, as they did in the faces the model
was built from. Shared by the built-in motions and by edits with numbers.

Convention: head frame (x right, y down, z into the scene), head units. Activation 0 is nothing, 1 a full natural one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from portrayal.face.gaze import IRISES, gaze_to_irises
from portrayal.face.morphable import load_face_model
from portrayal.face.topology import MIRROR
from portrayal.motion.openings import EYE_PAIRS, gaps, lids, set_gaps
from portrayal.motion.regions import mean_face, size_ratios

Action = Literal[
    "jaw", "smile", "pucker", "funnel", "stretch", "press", "tuck", "lip_raise", "brow_raise", "brow_frown"
]
Move = tuple[tuple[int, ...], tuple[float | None, float | None, float | None]]
"""(landmarks, (dx, dy, dz)); None leaves that direction to the model. Said for the right half and the midline; the
left half mirrors it."""

STILL: tuple[float, float, float] = (0, 0, 0)
EYES = ((159, 145, 33, 133), STILL)
BROWS = ((65, 105, 70, 107), STILL)
NOSE = ((168, 1, 4), STILL)
MOUTH = ((61, 13, 14, 0, 17, 152), STILL)
UPPER_FACE: tuple[Move, ...] = (EYES, BROWS, NOSE)

ACTIONS: dict[Action, tuple[Move, ...]] = {
    "jaw": (
        ((13, 0), (0, -0.01, None)),
        ((14,), (0, 0.33, None)),
        ((152,), (0, 0.3, None)),
        ((61,), (0.02, None, None)),
        *UPPER_FACE,
    ),
    "smile": (
        ((61,), (-0.095, -0.085, 0.05)),
        ((13, 14, 82, 87), (None, -0.008, None)),
        ((50,), (None, -0.05, -0.015)),
        ((152,), STILL),
        *UPPER_FACE,
    ),
    "pucker": (((61,), (0.1, 0, None)), ((13, 14), (0, 0, -0.05)), ((152,), STILL), *UPPER_FACE),
    "funnel": (
        ((61,), (0.06, 0, None)),
        ((13, 0), (0, -0.025, -0.05)),
        ((14, 17), (0, 0.03, -0.05)),
        ((152,), (0, 0.02, None)),
        *UPPER_FACE,
    ),
    "stretch": (
        ((61,), (-0.055, 0, 0.02)),
        ((13,), (0, -0.015, None)),
        ((14,), (0, 0.025, None)),
        ((152,), STILL),
        *UPPER_FACE,
    ),
    "press": (
        ((13, 14, 82, 87, 81, 178), STILL),
        ((0, 37), (0, 0.025, 0.01)),
        ((17, 84), (0, -0.03, 0.01)),
        ((61,), STILL),
        *UPPER_FACE,
    ),
    "tuck": (
        ((13, 82), (0, -0.02, None)),
        ((14, 87), (0, -0.02, 0.03)),
        ((17, 84), (0, -0.035, 0.03)),
        ((61,), STILL),
        *UPPER_FACE,
    ),
    "lip_raise": (((13, 0, 82, 37), (0, -0.04, None)), ((14, 17, 61, 152), STILL), EYES, BROWS),
    "brow_raise": (((46, 53, 52, 65, 55, 70, 63, 105, 66, 107), (None, -0.09, None)), EYES, NOSE, MOUTH),
    "brow_frown": (((107, 55), (0.03, 0.045, None)), ((46, 70), (None, 0.01, None)), EYES, NOSE, MOUTH),
}
NECK = (0.0, 0.95, 0.25)
"""The joint that the head turns about, from the head's origin."""
SQUINT = 0.15
"""How much a full smile narrows the eyes."""
TOLERANCE = 0.014
"""Head units by which a landmark may miss its place to keep the face likely."""


@lru_cache(maxsize=1)
def fields() -> dict[Action, Tensor]:
    """name: (478, 3) displacement of a full activation on the mean face, symmetric."""
    return {name: most_likely(moves) for name, moves in ACTIONS.items()}


def most_likely(moves: tuple[Move, ...]) -> Tensor:
    """(478, 3) the displacement of smallest coefficients that makes `moves`, to within `TOLERANCE`."""
    basis, mirror = load_face_model().expression_basis, torch.tensor(MIRROR)
    flip = torch.tensor([-1.0, 1.0, 1.0])
    rows, wanted = [], []
    for landmarks, place in moves:
        for landmark in landmarks:
            for axis, value in enumerate(place):
                if value is not None:
                    rows += [basis[:, landmark, axis], basis[:, mirror[landmark], axis]]
                    wanted += [value, value * float(flip[axis])]
    a, y = torch.stack(rows), torch.tensor(wanted)
    b = torch.linalg.solve(a.T @ a + TOLERANCE**2 * torch.eye(a.shape[1]), a.T @ y)
    field = torch.einsum("c,cnd->nd", b, basis)
    return (field + field[mirror] * flip) / 2


def act(
    shape: Tensor,
    actions: Mapping[Action, Tensor],
    *,
    openness: Tensor | None = None,
    together: Tensor | None = None,
    gaze: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """A face doing several things at once.

    Args:
        shape: (1 or t, 478, 3) head frame: the face before.
        actions: name to (t,) activation, also negative or above 1.
        openness: (t, 2) of the eyes afterwards, as `eye_openness` measures it; None keeps it.
        together: (t,) 1 brings the lips together whatever the jaw does, 0 leaves them.
        gaze: (before, after), (1 or t, 2, 2) each; None keeps the irises where they are in their eyes.

    Returns:
        (t, 478, 3); lips and lids touch at most.
    """
    ratio = size_ratios(shape[:1], mean_face()[None])[:, None]
    table, moved = fields(), shape
    for name, activation in actions.items():
        moved = moved + activation[:, None, None] * (ratio * table[name])
    own, wanted = gaps(shape), gaps(moved)
    eyes = lids(shape)
    eye_gaps = eyes.own if openness is None else eyes.gaps(openness)
    lips = wanted[:, EYE_PAIRS:].clone()
    if together is not None:
        lips = lips * (1 - together[:, None, None])
    lips[..., 1] = torch.maximum(lips[..., 1], own[:, EYE_PAIRS:, 1].clamp_max(0))
    t = max(len(eye_gaps), len(lips))
    moved = set_gaps(moved, torch.cat([eye_gaps.expand(t, -1, -1), lips.expand(t, -1, -1)], 1))
    before, after = gaze if gaze is not None else (shape.new_zeros(1, 2, 2), shape.new_zeros(1, 2, 2))
    offsets = load_face_model().iris_offsets
    irises = gaze_to_irises(moved, after.expand(t, -1, -1), offsets) - gaze_to_irises(shape, before, offsets)
    return torch.cat([moved[:, : IRISES[0]], shape[:, list(IRISES)] + irises], 1)


def follow_gaze(openness: Tensor, gaze: Tensor) -> Tensor:
    """Lids follow the eyes: lower when they look down, higher when up.

    Args:
        openness: (t, 2). gaze: (t, 2, 2) change of (yaw, pitch) in radians.

    Returns:
        (t, 2); a shut eye stays shut.
    """
    return openness * (1 - 0.9 * gaze[..., 1]).clamp(0.35, 1.3)
