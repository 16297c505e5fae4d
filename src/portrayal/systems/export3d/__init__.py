"""Export3D: Learning to Generate Conditional Tri-plane for 3D-aware Expression Controllable Portrait Animation
(Ki, Min, Chae; ECCV 2024). There is no public code.

Which section is where: `docs/systems/export3d.md`.
"""

from __future__ import annotations

from portrayal.systems.export3d import train, train_clebs
from portrayal.systems.export3d.ablations import ABLATIONS
from portrayal.systems.export3d.animate import (
    Export3dDriving,
    Export3dSource,
    build,
    direction_names,
    driving_pixels,
    encode_driving,
    encode_source,
    expression_codes,
    head_field,
    move_along,
    remarks,
    render,
    render_depth,
    render_layers,
    retarget_codes,
)
from portrayal.systems.export3d.config import Config

STAGES = {
    "clebs": train_clebs.STAGE,
    "reconstruction": train.RECONSTRUCTION,
    "adversarial": train.ADVERSARIAL,
}
DRIVING = Export3dDriving
CAPABILITIES = frozenset(
    {"pose", "expression", "novel_view", "directions", "expression_codes", "remarks", "mesh", "depth", "layers"}
)

__all__ = [
    "ABLATIONS",
    "CAPABILITIES",
    "DRIVING",
    "STAGES",
    "Config",
    "Export3dDriving",
    "Export3dSource",
    "build",
    "direction_names",
    "driving_pixels",
    "encode_driving",
    "encode_source",
    "expression_codes",
    "head_field",
    "move_along",
    "remarks",
    "render",
    "render_depth",
    "render_layers",
    "retarget_codes",
]
