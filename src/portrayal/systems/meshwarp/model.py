"""The tables of the mesh warp: what does not depend on the portrait."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from portrayal.face.morphable import load_face_model
from portrayal.systems.meshwarp.config import Config
from portrayal.systems.meshwarp.mesh import add_lashes


class MeshWarp(nn.Module):
    """Triangles of the face; no weights are learned."""

    face_triangles: Tensor
    """(n, 3) int64 indices: landmarks below 468, then the lashes; the first `holes` lie inside eyes and mouth."""
    skin_triangles: Tensor
    """(m, 3) int64 landmark indices of the face without its openings, front faces clockwise."""
    lash_edges: Tensor
    """(l, 2) int64 landmarks that each lash vertex lies between."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        model = load_face_model()
        holes = torch.cat([model.triangles_mouth, model.triangles_eyes]).cpu()
        lashes = add_lashes(model.triangles_skin.cpu().numpy())
        self.holes = len(holes)
        self.register_buffer("face_triangles", torch.cat([holes, torch.from_numpy(lashes.triangles)]))
        self.register_buffer("skin_triangles", model.triangles_skin.cpu())
        self.register_buffer("lash_edges", torch.from_numpy(lashes.edges))
