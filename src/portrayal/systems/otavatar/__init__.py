"""OTAvatar: One-shot Talking Face Avatar with Controllable Tri-plane Rendering (Ma et al., CVPR 2023).

Parts so far: the motion controller, and the generator with its stage `eg3d`. It is no system of the package yet.
"""
