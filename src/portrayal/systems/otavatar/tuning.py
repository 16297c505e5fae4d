"""A light tuning of the generator to one photo, once its identity code is found (an option of the official code).

The latents stay; the generator moves a little so that they give the very photo, while other faces are held where they
were (as in PTI, Roich et al. 2021): it has to stay a generator of heads that every camera and every motion can use.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.descent import Descent, Watch, descend
from portrayal.systems.otavatar.generator import TriplaneGenerator
from portrayal.systems.otavatar.losses import view_loss
from portrayal.systems.otavatar.pairs import Faces
from portrayal.weights.registry import in_halves

SEED = 0
"""Of the other faces."""


def tune_generator(
    generator: TriplaneGenerator,
    ws: Tensor,
    faces: Faces,
    networks: Mapping[str, nn.Module],
    config: Config,
    *,
    watch: Watch | None = None,
) -> dict[str, Tensor] | None:
    """Weights with which latents give a photo.

    Args:
        generator: stays as it is.
        ws: (1, layers, w_dim). faces: the photo; its camera with the bias of the inversion.
        networks: `losses.feature_networks`.

    Returns:
        The tensors of `drawing_parameters`, as exact as half precision, in which they are kept; None where it diverges.
    """
    settings = config.avatar
    copy = deepcopy(generator).requires_grad_(False)
    learned: dict[str, Tensor] = {name: x.requires_grad_() for name, x in copy.drawing_parameters().items()}

    def start(rate: float) -> Descent:
        copy.load_state_dict(generator.state_dict())
        optimizer = torch.optim.Adam(list(learned.values()), lr=rate)
        return Descent(learned, optimizer, limited=list(learned.values()), clip=config.decouple.clip)

    def objective(_: Mapping[str, Tensor], step: int) -> Tensor:
        loss = view_loss(copy.view(copy.planes(ws), ws, faces.camera), faces, networks, config.inversion.losses)
        if not settings.locality:
            return loss
        other = other_latents(generator, ws, faces.camera, radius=settings.radius, step=step)
        with torch.no_grad():
            before = generator.view(generator.planes(other), other, faces.camera, enlarge=False).raw
        after = copy.view(copy.planes(other), other, faces.camera, enlarge=False).raw
        return loss + settings.locality * F.mse_loss(after, before)

    found = descend(start, objective, rate=settings.tuning_rate, steps=settings.tuning_steps, watch=watch or Watch())
    if found is None:
        return None
    return {name: x.float() for name, x in in_halves({name: x.detach() for name, x in learned.items()}).items()}


@torch.no_grad()
def other_latents(generator: TriplaneGenerator, ws: Tensor, camera: Tensor, *, radius: float, step: int) -> Tensor:
    """Latents `radius` away from `ws`, towards those of a random face; they follow from the step alone."""
    draw = torch.Generator().manual_seed(SEED + step)
    z = torch.randn(1, generator.config.z_dim, generator=draw).to(ws)
    way = generator.broadcast(generator.latents(z, camera)) - ws
    return ws + radius * way / way.square().mean().sqrt()
