"""Export3D: Learning to Generate Conditional Tri-plane for 3D-aware Expression Controllable Portrait Animation
(Ki, Min, Chae; ECCV 2024). There is no public code.

Networks and training so far; not in `SYSTEMS` until it animates. Which section is where: `docs/systems/export3d.md`.
"""

from __future__ import annotations

from portrayal.systems.export3d import train, train_clebs
from portrayal.systems.export3d.config import Config

STAGES = {
    "clebs": train_clebs.STAGE,
    "reconstruction": train.RECONSTRUCTION,
    "adversarial": train.ADVERSARIAL,
}

__all__ = ["STAGES", "Config"]
