"""OTAvatar: One-shot Talking Face Avatar with Controllable Tri-plane Rendering (Ma et al., CVPR 2023).

Which section is where: `docs/systems/otavatar.md`.
"""

from __future__ import annotations

from portrayal.systems.otavatar import train_decouple, train_eg3d
from portrayal.systems.otavatar.ablations import ABLATIONS
from portrayal.systems.otavatar.animate import (
    OtavatarDriving,
    build,
    driving_pixels,
    encode_driving,
    encode_source,
    head_field,
    interpolate_identity,
    remarks,
    render,
    render_depth,
    render_layers,
    retarget_codes,
    tune_source,
)
from portrayal.systems.otavatar.avatar import OtavatarSource, load_avatar, save_avatar
from portrayal.systems.otavatar.config import Config

STAGES = {"eg3d": train_eg3d.STAGE, "decouple": train_decouple.STAGE}
DRIVING = OtavatarDriving
CAPABILITIES = frozenset(
    {
        "pose",
        "expression",
        "novel_view",
        "tuning",
        "identity_interpolation",
        "mesh",
        "depth",
        "layers",
        "avatars",
        "remarks",
    }
)

__all__ = [
    "ABLATIONS",
    "CAPABILITIES",
    "DRIVING",
    "STAGES",
    "Config",
    "OtavatarDriving",
    "OtavatarSource",
    "build",
    "driving_pixels",
    "encode_driving",
    "encode_source",
    "head_field",
    "interpolate_identity",
    "load_avatar",
    "remarks",
    "render",
    "render_depth",
    "render_layers",
    "retarget_codes",
    "save_avatar",
    "tune_source",
]
