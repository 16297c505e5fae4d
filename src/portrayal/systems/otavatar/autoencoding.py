"""True faces copied through an encoder that learns along with the generator (AE-StyleGAN, Han et al. 2021).

What a copy is compared with decides about its shape: from one place a flat picture of a face would do. So some copies
are seen from another place than their picture (`AutoencodingConfig.other_share`): as another frame of the clip shows
the same person, or as a mirror shows a photo, since faces are nearly symmetric. Such a view says nothing about eyes and
mouth, which move, nor about what is behind the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.face.expressive import expressive
from portrayal.face.features import TrackerMaps
from portrayal.nn.autoencoding import Remembered, latent_distance
from portrayal.nn.rendering.head import face_crop, silhouette
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.encoder import FaceEncoder
from portrayal.systems.otavatar.generator import Drawn, TriplaneGenerator, View
from portrayal.systems.otavatar.losses import identity, identity_network, perceptual
from portrayal.systems.otavatar.training_config import AutoencodingConfig
from portrayal.train.stage import Batch
from portrayal.train.state import TrainState

FACE_PIXELS = 144
"""Side at which the tracker's maps look at the face alone; it learned from faces a fifth larger."""


@dataclass(frozen=True)
class Views:
    """What copies are compared with; the first `others` are seen from another place than the encoder saw them."""

    picture: Tensor
    """(b, 3, s, s) in [-1, 1]."""
    camera: Tensor
    """(b, 25)."""
    landmarks: Tensor
    """(b, 478, 2) pixels of the picture."""
    others: int


def networks(config: Config) -> dict[str, nn.Module]:
    """What the stage trains beside generator and discriminator."""
    if not config.autoencoding.is_on:
        return {}
    return {"encoder": FaceEncoder(config), "remembered": Remembered(config.generator.w_dim)}


def frozen(config: Config) -> dict[str, nn.Module]:
    """The networks of the perceptual and of the identity loss, where these have a weight.

    Raises:
        InputError: the weights of the latter are not here; says how to get them.
    """
    chosen = config.autoencoding
    if not chosen.is_on:
        return {}
    networks: dict[str, nn.Module] = {"perceptual": TrackerMaps(FACE_PIXELS)} if chosen.perceptual else {}
    if chosen.identity:
        networks["identity"] = identity_network(config.decouple.identity_network)
    return networks


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    """Adam, with the moments that are usual where there is no opponent."""
    if not config.autoencoding.is_on:
        return {}
    return {"encoder": torch.optim.Adam(modules["encoder"].parameters(), lr=config.autoencoding.encoder_rate)}


def encoder_of(modules: nn.ModuleDict) -> FaceEncoder:
    return cast(FaceEncoder, modules["encoder"])


def views_of(batch: Batch, config: Config) -> Views:
    """What a batch of `FaceFrames` with pairs shows."""
    others = int(len(batch["picture"]) * config.autoencoding.other_share)

    def chosen(name: str) -> Tensor:
        return torch.cat([batch[f"other_{name}"][:others], batch[name][others:]])

    return Views(chosen("picture").float() / 127.5 - 1, chosen("camera"), chosen("landmarks"), others)


def copy_faces(
    state: TrainState, generator: TriplaneGenerator, batch: Batch, config: Config
) -> tuple[Drawn, dict[str, Tensor]]:
    """Copies of a batch, and what they and the random codes cost; the terms are unweighted."""
    views = views_of(batch, config)
    codes = encoder_of(state.networks)(batch["picture"].float() / 127.5 - 1)
    copies = generator.draw(codes, views.camera)
    terms = {"pixel": pixel_difference(copies.view, views, config.autoencoding)}
    if "perceptual" in state.frozen:
        terms["perceptual"] = face_difference(state.frozen["perceptual"], copies.view, views)
    if "identity" in state.frozen:
        assert copies.view.picture is not None
        made, true, at = (x[views.others :] for x in (copies.view.picture, views.picture, views.landmarks))
        terms["identity"] = identity(state.frozen["identity"], made.float(), true, at)
    remembered = cast(Remembered, state.networks["remembered"])
    remembered.add(codes.detach())
    told = views.camera[torch.arange(len(remembered.codes), device=codes.device) % len(codes)]
    terms["latent"] = latent_distance(generator.backbone.mapping, remembered.codes, told)
    return copies, terms


def pixel_difference(view: View, views: Views, config: AutoencodingConfig) -> Tensor:
    """() weighted mean absolute difference, of the rendering and of the picture."""
    assert view.picture is not None
    weight = pixel_weights(views, config)
    total = view.raw.new_zeros(())
    for made in (view.raw, view.picture):
        wanted, counts = (F.interpolate(x, made.shape[-2:], mode="area") for x in (views.picture, weight))
        total = total + (counts * (made - wanted).abs()).mean()
    return total


def pixel_weights(views: Views, config: AutoencodingConfig) -> Tensor:
    """(b, 1, s, s) what each pixel counts."""
    side = views.picture.shape[-1]
    parts, head = expressive(views.landmarks, side), silhouette(views.camera, side=side)
    own = torch.lerp(torch.full_like(head, config.surroundings), torch.ones_like(head), head) + config.parts * parts
    other = config.other_weight * head * (1 - parts)
    return torch.cat([other[: views.others], own[views.others :]])


def face_difference(network: nn.Module, view: View, views: Views) -> Tensor:
    """() difference of the network's maps of the faces that are seen in the picture's own view."""
    assert view.picture is not None
    camera = views.camera[views.others :]
    middle = {"zoom": camera.new_ones(len(camera)), "shift": camera.new_zeros(len(camera), 2)}
    made, wanted = (
        face_crop(x[views.others :].float(), camera, size=FACE_PIXELS, **middle) for x in (view.picture, views.picture)
    )
    return perceptual(network, made, wanted, scales=1, gram=0)


def weighted(terms: dict[str, Tensor], config: Config) -> Tensor:
    """() their sum with the weights of `Config.autoencoding`."""
    return torch.stack([getattr(config.autoencoding, name) * term for name, term in terms.items()]).sum()
