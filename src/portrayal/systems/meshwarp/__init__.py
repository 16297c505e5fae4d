"""Mesh warp, the baseline without learned weights: the picture moved as a mesh by the landmarks.

No paper: piecewise affine texture mapping as in active appearance models, with depth order and layered eyes and mouth.
"""

from __future__ import annotations

from typing import Any

from portrayal.systems.meshwarp.animate import MeshwarpSource, build, encode_driving, encode_source, render
from portrayal.systems.meshwarp.config import Config

STAGES: dict[str, Any] = {}
"""Nothing to train."""
CAPABILITIES = frozenset({"pose", "expression", "gaze"})

__all__ = ["CAPABILITIES", "STAGES", "Config", "MeshwarpSource", "build", "encode_driving", "encode_source", "render"]
