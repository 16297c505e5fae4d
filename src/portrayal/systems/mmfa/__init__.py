"""MMFA: Motion Manipulation via Unsupervised Keypoint Positioning in Face Animation (Li, Liu, Liu, Zhang).

The whole paper, supplement A included; equation 3, the decomposition of face-vid2vid (Wang et al. 2021, arXiv
2011.15126), as a choice of the configuration.
"""

from __future__ import annotations

from portrayal.systems.mmfa import light_train, train, train_vae
from portrayal.systems.mmfa.ablations import ABLATIONS
from portrayal.systems.mmfa.animate import (
    MmfaSource,
    build,
    driving_pixels,
    encode_driving,
    encode_source,
    render,
    retarget_codes,
)
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.driving import MmfaDriving
from portrayal.systems.mmfa.latent import interpolate_expressions, render_canonical, sample_expressions

DRIVING = MmfaDriving
STAGES = {
    "main": train.STAGE,
    "vae": train_vae.STAGE,
    "light": light_train.LIGHT,
    "keypoints": light_train.KEYPOINTS,
}
CAPABILITIES = frozenset({"pose", "expression", "expression_sampling", "canonical_face"})

__all__ = [
    "ABLATIONS",
    "CAPABILITIES",
    "DRIVING",
    "STAGES",
    "Config",
    "MmfaDriving",
    "MmfaSource",
    "build",
    "driving_pixels",
    "encode_driving",
    "encode_source",
    "interpolate_expressions",
    "render",
    "render_canonical",
    "retarget_codes",
    "sample_expressions",
]
