"""Export3D: Learning to Generate Conditional Tri-plane for 3D-aware Expression Controllable Portrait Animation
(Ki, Min, Chae; ECCV 2024). There is no public code.

Not in `SYSTEMS` until it animates. `docs/systems/export3d.md` says which section is where.
"""
