"""Finding Directions in GAN's Latent Space for Neural Face Reenactment (Bounareli et al. 2022, arXiv 2202.00046).

Sections 3.1 to 3.3 and the ablations of section 4.2: StyleGAN2, its inversion by an encoder and by tuning it to one
picture, and the matrix of directions A in its stages synthetic, mixed and paired.
"""

from __future__ import annotations

from portrayal.systems.directions import train_directions, train_encoder, train_stylegan
from portrayal.systems.directions.ablations import ABLATIONS
from portrayal.systems.directions.animate import (
    DirectionsDriving,
    DirectionsSource,
    build,
    direction_names,
    driving_pixels,
    encode_driving,
    encode_source,
    move_along,
    render,
    retarget_codes,
    tune_source,
)
from portrayal.systems.directions.config import Config

STAGES = {
    "stylegan": train_stylegan.STAGE,
    "encoder": train_encoder.STAGE,
    "synthetic": train_directions.SYNTHETIC,
    "mixed": train_directions.MIXED,
    "paired": train_directions.PAIRED,
}
DRIVING = DirectionsDriving
CAPABILITIES = frozenset({"pose", "expression", "tuning", "directions"})

__all__ = [
    "ABLATIONS",
    "CAPABILITIES",
    "DRIVING",
    "STAGES",
    "Config",
    "DirectionsDriving",
    "DirectionsSource",
    "build",
    "direction_names",
    "driving_pixels",
    "encode_driving",
    "encode_source",
    "move_along",
    "render",
    "retarget_codes",
    "tune_source",
]
