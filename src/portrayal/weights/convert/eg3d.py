"""EG3D's official generators (NVlabs/eg3d) as weights files of the stage `eg3d`, and their tensors' names."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.errors import InputError
from portrayal.nn.rendering.volume import RayConfig
from portrayal.nn.triplane import PLANE_COORDINATES, PlaneAxes
from portrayal.systems.otavatar.config import Config, GeneratorConfig
from portrayal.systems.otavatar.generator import TriplaneGenerator
from portrayal.train.initial import first_misfit
from portrayal.weights.convert.checkpoint import save_converted
from portrayal.weights.convert.nvidia_pickle import (
    DAMAGED,
    StoredModule,
    read_networks,
    reason,
    stored_module,
    stored_tensor,
)
from portrayal.weights.convert.stylegan2 import NVIDIA, Rule, generator_from_nvidia, rename, without_kernels

ORIGIN = "NVlabs/eg3d"
NETWORK = "G_ema"
"""The averaged generator, the one that draws."""

SUPER_RESOLUTION: Sequence[Rule] = ((r"^block(\d)\.", r"blocks.\1."), *NVIDIA)
SUPER_RESOLUTIONS = ("SuperresolutionHybrid8XDC", "SuperresolutionHybrid8X")
"""Those that are built as `SuperResolution`: every block doubles the size."""
SUPER_CLAMP = 256.0
"""Of the official super-resolutions that may run in half precision."""

FIXED: Mapping[str, object] = {
    "avg_camera_pivot": [0, 0, 0.2],
    "c_gen_conditioning_zero": False,
    "c_scale": 1,
    "clamp_mode": "softplus",
    "decoder_lr_mul": 1,
    "density_noise": 0,
    "sr_antialias": True,
    "superresolution_noise_mode": "none",
}
"""Rendering options that the generator here has no choice of. The pivot is where the cameras look: that of faces."""


def convert_eg3d(path: Path, output: Path) -> None:
    """Write an official generator of faces as a weights file that `decouple` can start from.

    Args:
        path: `ffhqrebalanced512-128.pkl` or another of FFHQ; nothing in it is executed.
        output: the weights file; it appears only when complete. Its configuration is `Config.official` with the
            generator that the file describes.

    Raises:
        MissingFileError: no such file. InputError: it is damaged, or another network; says what does not fit.
    """
    networks = read_networks(path)
    try:
        generator = stored_module(networks.get(NETWORK), name=NETWORK)
        state = generator.state_dict()
        config = replace(Config.official(), generator=generator_config(generator, state))
        tensors = generator_from_eg3d(state)
        with torch.device("meta"):
            expected = nn.ModuleDict({"generator": TriplaneGenerator(config.generator)})
        misfit = first_misfit(expected, {name: tuple(value.shape) for name, value in tensors.items()})
        if misfit:
            raise ValueError(misfit)
    except DAMAGED as error:
        raise InputError(f"{path} does not fit as a generator of {ORIGIN} for faces: {reason(error)}") from error
    whole = {name: value.float() for name, value in tensors.items()}
    save_converted(output, whole, [path], origin=ORIGIN, system="otavatar", stage="eg3d", config=config)


def generator_config(generator: StoredModule, state: Mapping[str, Tensor]) -> GeneratorConfig:
    """The configuration that a stored generator describes.

    Args:
        state: its state dict, whose shapes tell what is not said elsewhere.

    Raises:
        ValueError: it does something that the generator here cannot.
    """
    if generator.class_name != "TriPlaneGenerator":
        raise ValueError(f"its network is a {reprlib.repr(generator.class_name)}, not a TriPlaneGenerator")
    enlarging, settings = generator.child("superresolution"), generator.settings
    if enlarging.class_name not in SUPER_RESOLUTIONS:
        expected = " or ".join(SUPER_RESOLUTIONS)
        raise ValueError(f"its super-resolution is {reprlib.repr(enlarging.class_name)}, not {expected}")
    if settings.get("conv_clamp", SUPER_CLAMP) is not None:
        raise ValueError("the convolutions of its planes are limited (conv_clamp)")
    mapping = settings.get("mapping_kwargs", {})
    hidden, plane_channels = state["decoder.net.0.weight"].shape
    config = GeneratorConfig(
        z_dim=int(settings["z_dim"]),
        w_dim=int(settings["w_dim"]),
        mapping_layers=_count(state, r"backbone\.mapping\.fc\d+\.weight"),
        mapping_rate=float(mapping.get("lr_multiplier", 0.01)),
        plane_size=int(generator.child("backbone").settings["img_resolution"]),
        plane_channels=plane_channels,
        channel_base=int(settings.get("channel_base", 32768)),
        channel_max=int(settings.get("channel_max", 512)),
        plane_axes=_plane_axes(generator),
        decoder_hidden=hidden,
        rays=_rays(generator.attributes["rendering_kwargs"]),
        neural_size=int(generator.attributes["neural_rendering_resolution"]),
        super_input=int(enlarging.attributes["input_resolution"]),
        super_widths=_super_widths(state),
        super_clamp=SUPER_CLAMP if settings.get("sr_num_fp16_res", 0) > 0 else None,
    )
    if config.size != settings["img_resolution"]:
        raise ValueError(f"its pictures are {reprlib.repr(settings['img_resolution'])} pixels wide, not {config.size}")
    return config


def _rays(options: Mapping[str, Any]) -> RayConfig:
    """Where its rays are sampled, once what has no choice here is as it must be."""
    for name, wanted in FIXED.items():
        if options.get(name, wanted) != wanted:
            raise ValueError(f"its {name} is {reprlib.repr(options[name])}, not {wanted}")
    near, far = options["ray_start"], options["ray_end"]
    return RayConfig(
        coarse_samples=int(options["depth_resolution"]),
        fine_samples=int(options["depth_resolution_importance"]),
        limits=None if near == far == "auto" else (float(near), float(far)),
        box_size=float(options["box_warp"]),
        disparity=bool(options["disparity_space_sampling"]),
        white_background=bool(options.get("white_back", False)),
    )


def _plane_axes(generator: StoredModule) -> PlaneAxes:
    """Which coordinates its planes read: the renderer stores them as matrices, whose inverses project."""
    stored = generator.child("renderer").attributes.get("plane_axes")
    if stored is None:
        return "legacy"
    projections = torch.linalg.inv(stored_tensor(stored).float())[..., :2]
    for name, coordinates in PLANE_COORDINATES.items():
        expected = F.one_hot(torch.tensor(coordinates), 3).mT.float()
        if projections.shape == expected.shape and torch.allclose(projections, expected):
            return name
    raise ValueError(f"its planes have other axes (plane_axes) than {' or '.join(PLANE_COORDINATES)}")


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in state)


def _super_widths(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    blocks = _count(state, r"superresolution\.block\d\.conv1\.bias")
    return tuple(len(state[f"superresolution.block{i}.conv1.bias"]) for i in range(blocks))


def generator_from_eg3d(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that the stages' weights files have.

    Raises:
        ValueError: as `parts_of_eg3d`.
    """
    backbone, decoder, enlarging = parts_of_eg3d(state)
    parts = {"backbone": backbone, "decoder": decoder, "super_resolution": enlarging}
    return {f"generator.{part}.{name}": value for part, tensors in parts.items() for name, value in tensors.items()}


def parts_of_eg3d(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """State dicts of `nn.stylegan2.Generator` (96 channels), `nn.triplane.OSGDecoder` and `SuperResolution`.

    Raises:
        ValueError: the file's blur kernel is not [1, 3, 3, 1].
    """
    return (
        generator_from_nvidia(_under(state, "backbone.")),
        _under(state, "decoder."),
        super_resolution_from_eg3d(_under(state, "superresolution.")),
    )


def super_resolution_from_eg3d(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of `nn.super_resolution.SuperResolution`.

    Raises:
        ValueError: the file's blur kernel is not [1, 3, 3, 1].
    """
    return {rename(name, SUPER_RESOLUTION): value for name, value in without_kernels(state).items()}


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
