"""The feature networks of a measurement, each loaded once, when a metric first needs it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.errors import InputError
from portrayal.evaluate.identity import IdentityNetwork
from portrayal.evaluate.view import View, require_faces, require_finite
from portrayal.face.features import TrackerMaps
from portrayal.nn import arcface, mobilefacenet
from portrayal.nn.fan import INPUT_SIDE, REFERENCE_SIDE, Fan, crop_of_box, heatmaps_to_points, points_to_picture
from portrayal.nn.inception import FEATURES, Inception
from portrayal.nn.lpips import Lpips, LpipsNet
from portrayal.nn.pretrained import (
    DEV_WEIGHTS,
    I3D_FEATURES,
    development_weights,
    load_arcface,
    load_fan,
    load_i3d,
    load_inception,
    load_lpips,
    load_mobilefacenet,
)


class Networks:
    """Where metrics get their networks from. Each raises InputError where its weights are not installed."""

    def __init__(
        self,
        device: torch.device | str = "cpu",
        *,
        identity_weights: Path | str | None = None,
        picture_features: tuple[nn.Module, int] | None = None,
        video_features: tuple[nn.Module, int] | None = None,
    ) -> None:
        """
        Args:
            identity_weights: a MobileFaceNet file to measure identity with instead of ArcFace.
            picture_features: for FID and KID instead of Inception: a network (b, 3, h, w) in [0, 1] to (b, c), and c.
            video_features: for FVD instead of I3D: a network (b, 3, t, h, w) in [0, 1] to (b, c), and c.
        """
        self.device = torch.device(device)
        self._identity_weights = identity_weights
        self._picture_features, self._video_features = picture_features, video_features
        self._lpips: dict[LpipsNet, Lpips] = {}

    def lpips(self, net: LpipsNet) -> Lpips:
        if net not in self._lpips:
            self._lpips[net] = load_lpips(net).to(self.device)
        return self._lpips[net]

    @cached_property
    def inception(self) -> Inception:
        return load_inception().to(self.device)

    @cached_property
    def picture_features(self) -> tuple[nn.Module, int]:
        """The network of FID and KID, and how many numbers it gives."""
        return self._picture_features or (self.inception, FEATURES)

    @cached_property
    def video_features(self) -> tuple[nn.Module, int]:
        return self._video_features or (load_i3d().to(self.device), I3D_FEATURES)

    @cached_property
    def fan(self) -> Fan:
        return load_fan().to(self.device)

    @cached_property
    def tracker_maps(self) -> TrackerMaps:
        return TrackerMaps().to(self.device)

    @cached_property
    def tracker_features(self) -> tuple[nn.Module, int]:
        """Means over the embedded tracker's maps: a network for Frechet distances that needs no download."""
        maps = self.tracker_maps
        return PooledMaps(maps), maps.channels

    @cached_property
    def mobilefacenet_features(self) -> tuple[nn.Module, int]:
        """Means over MobileFaceNet's last map of the whole picture.

        Raises:
            InputError: its weights are not there.
        """
        path = self._identity_weights or development_weights()
        if path is None:
            raise InputError(f"MobileFaceNet's weights are not there; set {DEV_WEIGHTS} to their folder")
        return PooledMobileFaceNet(load_mobilefacenet(path)).to(self.device).eval(), mobilefacenet.WIDTH

    @cached_property
    def identity(self) -> IdentityNetwork:
        """MobileFaceNet where its weights were named (option or environment), else ArcFace IR-SE50.

        Raises:
            InputError: neither is there.
        """
        path = self._identity_weights or development_weights()
        if path:
            network = IdentityNetwork(
                load_mobilefacenet(path),
                name="MobileFaceNet",
                size=mobilefacenet.INPUT_SIZE,
                aligned_points=mobilefacenet.ALIGNED_POINTS,
            )
        else:
            network = IdentityNetwork(
                load_arcface(),
                name="ArcFace IR-SE50",
                size=(arcface.INPUT_SIDE, arcface.INPUT_SIDE),
                aligned_points=arcface.ALIGNED_POINTS,
            )
        return network.to(self.device).eval()


class PooledMaps(nn.Module):
    """The mean of each channel over the picture, all scales one after the other."""

    def __init__(self, maps: TrackerMaps) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([m.mean((2, 3)) for m in self.maps(images)], 1)


class PooledMobileFaceNet(nn.Module):
    """The mean of each of the 512 channels before the embedding, over the whole picture, unaligned."""

    def __init__(self, net: mobilefacenet.MobileFaceNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net.map((images * 255 - 127.5) / 128).mean((2, 3))


@torch.no_grad()
def detect_points68(fan: Fan, view: View) -> View:
    """The view with 68 points of 2D-FAN, cropped about the tracked face instead of a detector's box.

    Raises:
        InputError: a frame has no face.
    """
    landmarks = require_faces(view).landmarks[..., :2].to(view.images)
    require_finite(view)
    box = torch.cat([landmarks.amin(1), landmarks.amax(1)], 1)
    centre, scale = crop_of_box(box)
    side = REFERENCE_SIDE * scale
    h, w = view.size
    picture = centre.new_tensor([w, h])
    offset = (2 * centre / picture - 1)[..., None]
    theta = torch.cat([torch.diag_embed(side[:, None] / picture), offset], -1)
    grid = F.affine_grid(theta, [len(view), 3, INPUT_SIDE, INPUT_SIDE], align_corners=False)
    crops = F.grid_sample(view.images.float(), grid, padding_mode="zeros", align_corners=False)
    points = points_to_picture(heatmaps_to_points(fan.heatmaps(crops)), centre, scale)
    return view.replace(points68=points)
