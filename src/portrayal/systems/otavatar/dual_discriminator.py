"""Dual discrimination (EG3D, Sec. 4.3): a picture is judged together with the rendering it was enlarged from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn import ada
from portrayal.nn.stylegan2_discriminator import Discriminator
from portrayal.systems.otavatar.generator import CAMERA_SIZE
from portrayal.systems.otavatar.training_config import Eg3dConfig


class DualDiscriminator(nn.Module):
    """StyleGAN2's discriminator on six channels, conditional on the camera; keeps ADA's probability."""

    augmentation: Tensor
    """() p, the probability of each change (ADA, Sec. 3)."""

    def __init__(self, size: int, config: Eg3dConfig) -> None:
        super().__init__()
        self.net = Discriminator(
            size,
            label_dim=CAMERA_SIZE,
            channels=6,
            channel_base=config.discriminator_base,
            channel_max=config.discriminator_max,
        )
        self.register_buffer("augmentation", torch.zeros(()))

    def forward(self, pairs: Tensor, camera: Tensor) -> Tensor:
        """(b, 6, s, s) and (b, 25) to logits (b,)."""
        return self.net(pairs, camera)

    def augmented(self, pairs: Tensor) -> Tensor:
        """The same random changes to both pictures of each pair (b, 6, s, s)."""
        p = float(self.augmentation)
        if p <= 0:
            return pairs
        draws = ada.Draws(len(pairs), pairs.device, None)
        geometry = ada.draw_geometry(draws, p, size=pairs.shape[-1])
        moved = ada.change_geometry(pairs, geometry)
        colour = ada.draw_colour(draws, p)
        return torch.cat([ada.change_colour(half, colour) for half in moved.chunk(2, 1)], 1)

    def follow(self, signs: float, pictures: int, *, target: float, span: int) -> None:
        """Adjust p after `pictures` real pictures whose logits had the mean sign `signs`."""
        if target:
            p = ada.adjust_probability(float(self.augmentation), signs, pictures, target=target, span=span)
            self.augmentation.fill_(p)


def pair(picture: Tensor, raw: Tensor) -> Tensor:
    """(b, 3, s, s) and the rendering (b, 3, n, n), enlarged, to (b, 6, s, s)."""
    size = list(picture.shape[-2:])
    return torch.cat([picture, F.interpolate(raw, size, mode="bilinear", antialias=True)], 1)


def real_pair(picture: Tensor, neural_size: int) -> Tensor:
    """A real picture (b, 3, s, s), and itself at the size of the renderings, as (b, 6, s, s)."""
    small = F.interpolate(picture, [neural_size, neural_size], mode="bilinear", antialias=True)
    return pair(picture, small)
