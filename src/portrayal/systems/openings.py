"""What is behind lids and lips, laid into what a network draws of a portrait: eyeballs, teeth, tongue and shadow.

For systems whose small networks have learned too little of it: between opened lips they draw a pale or red blob.
What meshwarp knows of the portrait's eyes and mouth (its own pixels where it shows them, elsewhere drawn ones in its
palette) is as sharp as the portrait and follows the motion exactly. None of the papers has it.
"""

from __future__ import annotations

from torch import Tensor

from portrayal.systems.meshwarp.insides import Insides, draw_insides, find_insides
from portrayal.systems.meshwarp.layers import from_pictures, to_picture, to_pictures
from portrayal.systems.meshwarp.mesh import Face
from portrayal.types import FaceParams, Portrait


class Openings:
    """Eyes and mouth of one portrait."""

    def __init__(self, insides: Insides) -> None:
        self._insides = insides

    @classmethod
    def of(cls, portrait: Portrait, *, open_eyes: bool = True) -> Openings:
        """
        Args:
            open_eyes: also eyeballs that the portrait shows, and not only those that it has shut, and the mouth.
        """
        return cls(find_insides(to_picture(portrait.image), Face.of(portrait.params, 0), open_eyes=open_eyes))

    def fill(self, drawn: Tensor, params: FaceParams) -> Tensor:
        """
        Args:
            drawn: (t, 3, h, w) in [0, 1], lids and lips where `params` has them. params: of t frames, in its pixels.

        Returns:
            (t, 3, h, w) float32. A mouth that is no other than the portrait's, perhaps turned, stays as it is drawn.
        """
        frames = to_pictures(drawn)
        for i, frame in enumerate(frames):
            draw_insides(frame, self._insides, Face.of(params, i), unchanged=False)
        return from_pictures(frames, drawn.device)
