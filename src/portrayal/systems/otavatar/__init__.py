"""OTAvatar: One-shot Talking Face Avatar with Controllable Tri-plane Rendering (Ma et al., CVPR 2023).

Parts so far: `camera`, `config`, `coefficients` and `controller`. It is no system of the package yet.
"""
