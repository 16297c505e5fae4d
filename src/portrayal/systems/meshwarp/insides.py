"""What is behind the lids and lips of a picture, drawn into the openings that another frame has."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from portrayal.systems.meshwarp.eyes import Eye, build_eyes, render_eyes, shut_lids
from portrayal.systems.meshwarp.layers import Picture
from portrayal.systems.meshwarp.mesh import Face
from portrayal.systems.meshwarp.mouth import Mouth, build_mouth, render_mouth


@dataclass(frozen=True)
class Insides:
    """Eyes and mouth of one face."""

    source: Face
    """The face in the picture that they are from."""
    eyes: tuple[Eye | None, Eye | None]
    """None stays as somebody else draws it."""
    mouth: Mouth


def find_insides(image: Picture, source: Face, *, open_eyes: bool = True) -> Insides:
    """
    Args:
        image: (h, w, 3) [0, 1]. source: the face in it.
        open_eyes: also eyeballs that the picture shows, and not only those that it has shut.
    """
    return Insides(source, build_eyes(image, source.landmarks, open_eyes=open_eyes), build_mouth(image, source))


def draw_insides(frame: Picture, insides: Insides, driving: Face, *, unchanged: bool = True) -> None:
    """Draw them into a frame (h, w, 3) with another face, in place.

    Args:
        unchanged: also into a mouth of the same shape as in the source; else that stays as the frame has it.
    """
    source = insides.source
    driving = replace(driving, landmarks=shut_lids(source.landmarks, driving.landmarks))
    turn = source.pose.plane @ np.linalg.inv(driving.pose.plane)
    render_eyes(frame, insides.eyes, source.landmarks, driving.landmarks, turn)
    render_mouth(frame, insides.mouth, source, driving, unchanged=unchanged)
