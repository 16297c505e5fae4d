"""Mesh warp, the baseline without learned weights: the picture moved as a mesh by the landmarks.

No paper: piecewise affine texture mapping as in active appearance models, with depth order and layered eyes and mouth.
"""

from __future__ import annotations

from typing import Any

from portrayal.systems.meshwarp.animate import (
    MeshwarpSource,
    build,
    driving_pixels,
    encode_driving,
    encode_source,
    render,
    retarget_codes,
)
from portrayal.systems.meshwarp.config import Config
from portrayal.types import Driving

STAGES: dict[str, Any] = {}
"""Nothing to train."""
CAPABILITIES = frozenset({"pose", "expression", "gaze"})
DRIVING = Driving

__all__ = [
    "CAPABILITIES",
    "DRIVING",
    "STAGES",
    "Config",
    "MeshwarpSource",
    "build",
    "driving_pixels",
    "encode_driving",
    "encode_source",
    "render",
    "retarget_codes",
]
