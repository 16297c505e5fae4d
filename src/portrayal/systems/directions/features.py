"""The frozen networks of the identity and perceptual losses, chosen by name in the configuration."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.errors import InputError
from portrayal.face.align import FIVE_POINTS, align
from portrayal.face.features import SIDE, TrackerMaps
from portrayal.nn import arcface, mobilefacenet
from portrayal.nn.lpips import Lpips
from portrayal.nn.pretrained import (
    DEV_WEIGHTS,
    development_weights,
    load_arcface,
    load_lpips,
    load_mobilefacenet,
    load_vgg19,
)
from portrayal.systems.directions.config import IdentityName, PerceptualName
from portrayal.train.state import TrainState

FACE = (0.22, 0.30, 0.78, 0.86)
"""Left, top, right, bottom of the face in a frame of FFHQ, as shares of its side."""


class Identity(nn.Module):
    """Faces to embeddings, aligned as the network wants them; the F of equation 6."""

    places: Tensor
    """(5, 2) where `FIVE_POINTS` must come to lie, pixels of the network's input."""

    def __init__(self, net: nn.Module, *, size: tuple[int, int], places: tuple[tuple[float, float], ...]) -> None:
        """`net`: (b, 3, *size) in [0, 1] to (b, c)."""
        super().__init__()
        self.net, self.size = net.eval().requires_grad_(False), size
        self.register_buffer("places", torch.tensor(places), persistent=False)

    def train(self, mode: bool = True) -> Identity:
        """Stays in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """
        Args:
            images: (b, 3, h, w) in [0, 1]. landmarks: (b, 478, 3) pixels of them.

        Returns:
            (b, c) of length 1.
        """
        faces = align(images, landmarks[:, list(FIVE_POINTS), :2], self.places, self.size)
        return F.normalize(self.net(faces).float(), dim=1)


class Perceptual(nn.Module):
    """How unlike two pictures are in a network's eyes: LPIPS, or the mean difference of feature maps (paper's [14])."""

    def __init__(self, net: nn.Module) -> None:
        """`net`: `Lpips`, or pictures (b, 3, h, w) in [0, 1] to maps."""
        super().__init__()
        self.net = net.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Perceptual:
        """Stays in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """(b, 3, h, w) in [0, 1] each to (), a mean over the batch; at least 0."""
        if isinstance(self.net, Lpips):
            return self.net(images, targets).mean()
        ours, theirs = self.net(images), self.net(targets)
        pairs = zip(*(maps.values() if isinstance(maps, dict) else maps for maps in (ours, theirs)), strict=True)
        return torch.stack([F.l1_loss(a.float(), b.float()) for a, b in pairs]).sum()


class FaceMaps(nn.Module):
    """The tracker's maps of the face alone, at the size that the tracker knows faces in, whatever the frame's side."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = TrackerMaps(round(SIDE * (FACE[2] - FACE[0])))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Framed faces (b, 3, s, s) in [0, 1]."""
        left, top, right, bottom = (round(share * images.shape[-1]) for share in FACE)
        return self.maps(images[:, :, top:bottom, left:right])


def load_identity(name: IdentityName) -> Identity:
    """
    Raises:
        InputError: its weights are not installed; the message says how to get them.
    """
    if name == "arcface":
        side = arcface.INPUT_SIDE
        return Identity(load_arcface(), size=(side, side), places=arcface.ALIGNED_POINTS)
    path = development_weights()
    if path is None:
        raise InputError(
            f"the identity loss needs MobileFaceNet's weights; set {DEV_WEIGHTS} to the folder with mobilefacenet.npz, "
            "choose arcface, or set the weight of the identity loss to 0"
        )
    return Identity(load_mobilefacenet(path), size=mobilefacenet.INPUT_SIZE, places=mobilefacenet.ALIGNED_POINTS)


def load_perceptual(name: PerceptualName) -> Perceptual:
    """Raises as `load_identity`."""
    if name == "lpips":
        return Perceptual(load_lpips("alex"))
    return Perceptual(load_vgg19() if name == "vgg19" else FaceMaps())


def identity_of(state: TrainState) -> Identity:
    return cast(Identity, state.frozen["identity"])


def perceptual_of(state: TrainState) -> Perceptual:
    return cast(Perceptual, state.frozen["perceptual"])
