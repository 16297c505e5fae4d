"""The other half of a face that a portrait shows from the side: what it shows of this half, mirrored.

Faces are about alike on both sides. Drawing out the little that a profile shows of its far side gives stripes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.face.topology import FACE_OVAL, MIRROR
from portrayal.systems.meshwarp.layers import Array, Picture, smoothstep
from portrayal.systems.meshwarp.mesh import FACE_POINTS, Pose
from portrayal.systems.meshwarp.raster import read_source, texture_density

TURNED = (0.17, 0.34)
"""Sines of the angles by which the portrait is turned, and the frame less so: not at all, and clearly."""
FEW = (0.3, 0.8)
"""Pixels of the portrait in one of a frame, up to which its own half is drawn out, and from which on it is not."""
SHARPER = (0.7, 2.0)
"""Powers of two by which it shows the other half larger: from these on that is taken."""
HAIR = 1
"""Rings of hair around the face that are taken, too."""
SOFT = 0.05
"""Width of the transitions, of the height of that."""


@dataclass(frozen=True)
class Twin:
    """The other half in one frame."""

    displacement: Picture
    """As from `backward_displacement`."""
    density: Picture
    """As from `texture_density`, positive though it is mirrored."""
    share: Picture
    """(rows, columns) in [0, 1]: how far it is taken."""

    def over(self, frame: Picture, texture: Picture, step: int) -> Picture:
        """A texture (h, w, 3) as its own halves are read, with the other one where that is taken."""
        height, width = frame.shape[:2]
        rows, columns = self.share.shape
        share = cv2.resize(self.share, (columns * step, rows * step), interpolation=cv2.INTER_LINEAR)[:height, :width]
        return np.asarray(cv2.blendLinear(read_source(texture, self.displacement, step), frame, share, 1 - share))


def turned_back(source: Pose, pose: Pose) -> float:
    """How far a frame shows a half of the face that the portrait shows from the side. In [0, 1]."""
    before, now = float(source.rotation[0, 2]), float(pose.rotation[0, 2])
    side = np.sign(before)
    return float(smoothstep(np.array(before * side), *TURNED) * smoothstep(np.array((before - now) * side), *TURNED))


def mirrored_rest(landmarks: Array, edges: NDArray[np.int64], shares: Array, rings: Array) -> Array:
    """Where the vertices of the face, then the lashes, then the rings read the other half: (n, 3) pixels.

    Args:
        landmarks: (478, 3) of the portrait. edges, shares: of the lashes, as `mesh.place_lashes` takes them.
        rings: (m, 3) as `mesh.Rings.rest`.
    """
    across = [FACE_OVAL.index(MIRROR[point]) for point in FACE_OVAL]
    mirrored = landmarks[list(MIRROR)]
    rims, above = mirrored[edges[:, 0]], mirrored[edges[:, 1]]
    around = rings.reshape(-1, len(FACE_OVAL), 3)[:, across].reshape(-1, 3)
    return np.concatenate([mirrored[:FACE_POINTS], rims + shares[:, None] * (above - rims), around])


def find_twin(
    displacement: Picture, density: Picture, vertices: Array, *, rings: int, step: int, amount: float
) -> Twin:
    """
    Args:
        displacement: of `mirrored_rest`. density: of the portrait's own halves.
        vertices: (n, 3) of the frame in the order of `mirrored_rest`. amount: in [0, 1], at most how far it is taken.
    """
    other = -texture_density(displacement, step)
    sharper = np.log2(np.maximum(other, FEW[0]) / np.maximum(density, FEW[0]))
    share = (1 - smoothstep(density, *FEW)) * smoothstep(sharper, *SHARPER)
    count = len(FACE_OVAL)
    outline = vertices[len(vertices) - rings * count :][(HAIR - 1) * count : HAIR * count, :2] / step - 0.5
    head = np.zeros(share.shape, np.float32)
    cv2.fillPoly(head, [outline.round().astype(np.int32)], amount)
    width = 2 * round(SOFT * float(np.ptp(outline[:, 1])) / 2) + 1
    soft = np.asarray(cv2.blur((share * head).astype(np.float32), (width, width)))
    return Twin(displacement, other, soft)
