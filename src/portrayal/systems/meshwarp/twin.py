"""The other half of a face that a portrait shows from the side: what it shows of this half, mirrored.

Faces are about alike on both sides. Drawing out the little that a profile shows of its far side gives stripes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portrayal.face.topology import MIRROR
from portrayal.media.head import fill_hull
from portrayal.systems.meshwarp.layers import Array, Picture, smoothstep
from portrayal.systems.meshwarp.mesh import FACE_POINTS, Face, Pose
from portrayal.systems.meshwarp.outline import OVAL
from portrayal.systems.meshwarp.raster import read_source, texture_density

ASIDE = (0.06, 0.16)
"""Sines of angles of the portrait: turned less it shows both halves, turned more it hides some of one."""
TURNED = (0.17, 0.34)
"""The same of the frame, by which it is turned less than the portrait: not at all, and clearly."""
FEW = (0.35, 0.55)
"""Pixels of the portrait in one of a frame, up to which its own half is drawn out, and from which on it is not."""
SHARPER = (0.7, 1.2)
"""Powers of two by which it shows the other half larger: from these on that is taken."""
HAIR = 1
"""Up to that ring hair around the face is taken, too."""
PERSON = (0.5, 0.95)
"""Of a person in a place: up to which hair is wanting there, and from which on it is hair."""
SOFT = 0.05
"""Width of the transitions, of the height of that."""
LIGHT = 1.35
"""At most how many times as bright as its mirror image a half can be."""


@dataclass(frozen=True)
class Twin:
    """The other half in one frame."""

    displacement: Picture
    """As from `backward_displacement`."""
    density: Picture
    """As from `texture_density`, positive though it is mirrored."""
    share: Picture
    """(rows, columns) in [0, 1]: how far it is taken."""
    seam: Picture
    """(rows, columns) weights of where it passes into the portrait's own half on the face."""
    width: int
    """Cells of the transitions."""

    def around(self, size: tuple[int, ...], step: int) -> Picture:
        """(h, w) of `size`, in [0, 1]: where it is taken, and near it, where networks go wrong, too."""
        grown = cv2.dilate(self.share, np.ones((self.width, self.width), np.uint8))
        return _enlarged(_softened(grown, self.width), size, step)

    def over(self, frame: Picture, texture: Picture, step: int) -> Picture:
        """A texture (h, w, 3) as its own halves are read, with the other one where that is taken."""
        share = _enlarged(self.share, frame.shape[:2], step)
        mirrored = read_source(texture, self.displacement, step)
        mirrored *= self._light(frame[::step, ::step], mirrored[::step, ::step])
        return np.asarray(cv2.blendLinear(mirrored, frame, share, 1 - share))

    def _light(self, own: Picture, mirrored: Picture) -> Picture:
        """What the mirror image is to be multiplied by: halves are seldom lit alike, but where they meet they are."""
        both = [np.tensordot(self.seam, picture, 2) for picture in (own, mirrored)]
        ratio: Picture = np.maximum(both[0], 1e-3) / np.maximum(both[1], 1e-3)
        return ratio.clip(1 / LIGHT, LIGHT).astype(np.float32)


def turned_back(source: Pose, pose: Pose) -> float:
    """How far a frame shows a half of the face that the portrait shows from the side. In [0, 1]."""
    before, now = float(source.rotation[0, 2]), float(pose.rotation[0, 2])
    side = np.sign(before)
    return float(smoothstep(np.array(before * side), *ASIDE) * smoothstep(np.array((before - now) * side), *TURNED))


def mirrored_rest(
    source: Face, edges: NDArray[np.int64], shares: Array, vertices: Array, pose: Pose, *, rings: int
) -> Array:
    """Where the vertices of the face, then the lashes, then the rings read the other half: (n, 3) pixels.

    Args:
        source: the portrait. edges, shares: of the lashes, as `mesh.place_lashes` takes them.
        vertices: (n, 3) of a frame, in that order. pose: of the frame.
    """
    mirrored = source.landmarks[list(MIRROR)]
    rims, above = mirrored[edges[:, 0]], mirrored[edges[:, 1]]
    oval, around = vertices[OVAL], vertices[len(vertices) - rings * len(OVAL) :].reshape(rings, len(OVAL), 3)
    beyond = (around - oval) @ pose.rotation * np.array([-1, 1, 1]) * (source.pose.scale / pose.scale)
    rest = (mirrored[OVAL] + beyond @ source.pose.rotation.T).reshape(-1, 3)
    return np.concatenate([mirrored[:FACE_POINTS], rims + shares[:, None] * (above - rims), rest])


def find_twin(
    displacement: Picture,
    density: Picture,
    vertices: Array,
    skull: Array,
    persons: Sequence[Picture] | None,
    *,
    rings: int,
    step: int,
    amount: float,
) -> Twin:
    """
    Args:
        displacement: of `mirrored_rest`. density: of the portrait's own halves.
        vertices: (n, 3) of the frame in the order of `mirrored_rest`. skull: (m, 2 or 3) of the frame, around the head.
        persons: (rows, columns) in [0, 1], where the own half shows the person, and the other one, if it is known.
        amount: in [0, 1], at most how far it is taken.
    """
    other = -texture_density(displacement, step)
    sharper = np.log2(np.maximum(other, FEW[0]) / np.maximum(density, FEW[0]))
    share = (1 - smoothstep(density, *FEW)) * smoothstep(sharper, *SHARPER)
    count = len(OVAL)
    around = vertices[len(vertices) - rings * count :, :2].reshape(rings, count, 2) / step - 0.5
    face, outline = (around[ring].round().astype(np.int32) for ring in (0, HAIR))
    width = 2 * round(SOFT * float(np.ptp(outline[:, 1])) / 2) + 1
    # Between face and hair own halves jump from cheek to hair; what shows there belongs to the half beside it.
    rim = cv2.polylines(np.zeros(share.shape, np.uint8), [face], True, 1, width)
    share = np.where(rim, cv2.dilate(share, np.ones((width, width), np.uint8)), share)
    inside = np.zeros(share.shape, np.uint8)
    cv2.fillPoly(inside, [outline], 1)
    share = share * inside
    soft = _softened(amount * share, width)
    cheek = cv2.erode(cv2.fillPoly(np.zeros_like(inside), [face], 1), np.ones((width, width), np.uint8))
    seam = np.asarray(soft * (1 - soft) * cheek, np.float32)
    if persons is not None:
        head = np.zeros(share.shape, np.uint8)
        fill_hull(head, np.concatenate([skull[:, :2] / step - 0.5, outline]), 1)
        beside = head * (1 - smoothstep(persons[0], *PERSON)) * smoothstep(persons[1], *PERSON)
        soft = _softened(amount * np.maximum(share, beside), width)
    return Twin(displacement, other, soft, seam, width)


def _softened(share: Picture, width: int) -> Picture:
    return np.asarray(cv2.blur(share.astype(np.float32), (width, width)))


def _enlarged(share: Picture, size: tuple[int, ...], step: int) -> Picture:
    """(h, w) of `size`: cells (rows, columns) in each pixel of a frame."""
    rows, columns = share.shape
    larger: Picture = cv2.resize(share, (columns * step, rows * step), interpolation=cv2.INTER_LINEAR)
    return larger[: size[0], : size[1]]
