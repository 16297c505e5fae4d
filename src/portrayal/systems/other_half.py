"""The half of a face that a portrait shows from the side, laid into what a network draws of it.

For systems whose networks bend the portrait: of what it hides they know nothing, and draw out what is in front of it.
meshwarp takes it from the other half (`meshwarp.twin`). None of the papers has it.
"""

from __future__ import annotations

from torch import Tensor

from portrayal.systems.meshwarp import animate as meshwarp
from portrayal.systems.meshwarp.layers import from_pictures, to_pictures
from portrayal.systems.meshwarp.mesh import Pose
from portrayal.systems.meshwarp.twin import turned_back
from portrayal.systems.portrait_mesh import PortraitMesh
from portrayal.types import FaceParams


class OtherHalf:
    """Of one portrait."""

    def __init__(self, mesh: PortraitMesh) -> None:
        self._mesh, self._pose = mesh, Pose.of(mesh.portrait.params, 0)

    def fill(self, drawn: Tensor, params: FaceParams) -> Tensor:
        """
        Args:
            drawn: (t, 3, h, w), as large as the portrait. params: of t frames, in its pixels.

        Returns:
            (t, 3, h, w); `drawn` itself where no frame shows what the portrait hides.
        """
        turned = [i for i in range(len(params)) if turned_back(self._pose, Pose.of(params, i))]
        if not turned:
            return drawn
        frames, source = to_pictures(drawn), self._mesh.source
        for i in turned:
            reading = meshwarp.read_skin(self._mesh.model, source, params, i)
            assert reading.twin is not None
            frames[i] = reading.twin.over(frames[i], source.texture, reading.step)
        return from_pictures(frames, drawn.device)
