"""OTAvatar: One-shot Talking Face Avatar with Controllable Tri-plane Rendering (Ma et al., CVPR 2023).

Parts so far: the motion controller, the generator, and the stages `eg3d` and `decouple`. It is no system of the
package yet.
"""
