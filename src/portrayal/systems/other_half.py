"""The half of a face that a portrait shows from the side, laid into what a network draws of it.

For systems whose networks bend the portrait: of what it hides they know nothing, and draw out what is in front of it.
meshwarp takes it from the other half (`meshwarp.twin`). None of the papers has it.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from portrayal.systems.meshwarp import animate as meshwarp
from portrayal.systems.meshwarp.animate import MeshwarpSource
from portrayal.systems.meshwarp.config import Config
from portrayal.systems.meshwarp.mesh import Pose
from portrayal.systems.meshwarp.twin import turned_back
from portrayal.types import FaceParams, Portrait


class OtherHalf:
    """Of one portrait."""

    def __init__(self, portrait: Portrait) -> None:
        self._portrait, self._model = portrait, meshwarp.build(Config())
        self._pose = Pose.of(portrait.params, 0)

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
        frames = drawn.movedim(1, -1).float().cpu().numpy().copy(order="C")
        for i in turned:
            reading = meshwarp.read_skin(self._model, self._mesh, params, i)
            assert reading.twin is not None
            frames[i] = reading.twin.over(frames[i], self._mesh.texture, reading.step)
        return torch.from_numpy(frames).movedim(-1, 1).to(drawn.device)

    @cached_property
    def _mesh(self) -> MeshwarpSource:
        """Which most portraits do not need."""
        return meshwarp.encode_source(self._model, self._portrait)
