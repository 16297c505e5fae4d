"""What is behind the lids and lips of a picture, drawn into the openings that another frame has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from portrayal.systems.meshwarp.eyes import Eye, build_eyes, render_eyes, shut_lids
from portrayal.systems.meshwarp.layers import Array, Picture
from portrayal.systems.meshwarp.mesh import Pose
from portrayal.systems.meshwarp.mouth import Mouth, build_mouth, render_mouth


@dataclass(frozen=True)
class Insides:
    """Eyes and mouth of one face."""

    landmarks: Array
    """(478, 3) pixels of its picture."""
    pose: Pose
    eyes: tuple[Eye | None, Eye | None]
    """None stays as somebody else draws it."""
    mouth: Mouth


def find_insides(image: Picture, landmarks: Array, pose: Pose, *, open_eyes: bool = True) -> Insides:
    """
    Args:
        image: (h, w, 3) [0, 1]. landmarks, pose: as of `Insides`.
        open_eyes: also eyeballs that the picture shows, and not only those that it has shut.
    """
    eyes = build_eyes(image, landmarks, open_eyes=open_eyes)
    return Insides(landmarks, pose, eyes, build_mouth(image, landmarks, pose))


def draw_insides(frame: Picture, insides: Insides, landmarks: Array, pose: Pose) -> None:
    """Draw them into a frame (h, w, 3) with other landmarks (478, 3) and another pose, in place."""
    turn = insides.pose.plane @ np.linalg.inv(pose.plane)
    landmarks = shut_lids(insides.landmarks, landmarks)
    render_eyes(frame, insides.eyes, insides.landmarks, landmarks, turn)
    render_mouth(frame, insides.mouth, insides.landmarks, landmarks, turn, pose)
