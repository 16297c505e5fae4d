"""The tables of the mesh warp: what does not depend on the portrait."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from portrayal.face.morphable import load_face_model
from portrayal.systems.meshwarp.config import Config
from portrayal.systems.meshwarp.mesh import add_lashes, holes_first, triangulate_face


class MeshWarp(nn.Module):
    """Triangles of the face; no weights are learned."""

    face_triangles: Tensor
    """(n, 3) int64 indices: landmarks below 468, then the lashes; the first `holes` lie inside eyes and mouth."""
    lash_edges: Tensor
    """(l, 2) int64 landmarks that each lash vertex lies between."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        mean = load_face_model().mean.double().cpu().numpy()
        triangles, self.holes = holes_first(triangulate_face(mean))
        lashes = add_lashes(triangles[self.holes :])
        whole = np.concatenate([triangles[: self.holes], lashes.triangles])
        self.register_buffer("face_triangles", torch.from_numpy(whole))
        self.register_buffer("lash_edges", torch.from_numpy(lashes.edges))
