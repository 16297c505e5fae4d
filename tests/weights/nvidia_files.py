"""Files in the layout of NVIDIA's `.pkl` networks, made for the tests. There is no code of NVIDIA's in them.

Names such as `torch_utils.persistence` can be found while a file is written, and never while it is read.
"""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from portrayal.nn.resample import binomial_filter
from portrayal.systems.otavatar.config import GeneratorConfig

MODULES = {
    name: ModuleType(name)
    for name in (
        "torch_utils",
        "torch_utils.persistence",
        "dnnlib",
        "dnnlib.util",
        "training",
        "training.triplane",
        "training.volumetric_rendering",
        "training.volumetric_rendering.renderer",
    )
}
BUFFERS = ("resample_filter", "noise_const", "w_avg", "dataset_label_std")
LEGACY_AXES = [[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 1], [0, 1, 0]], [[0, 0, 1], [1, 0, 0], [0, 1, 0]]]
ORTHOGONAL_AXES = [*LEGACY_AXES[:2], [[0, 0, 1], [0, 1, 0], [1, 0, 0]]]


def _reconstruct_persistent_obj(meta: Any) -> None:
    raise AssertionError("reading a file must not call this")


class EasyDict(dict[str, Any]):
    """As `dnnlib` has it: a dictionary."""


class Persisted(nn.Module):
    """A module that is stored as the official code stores its classes."""

    def __init__(self, class_name: str, source: str = "raise SystemExit('executed')", **settings: Any) -> None:
        super().__init__()
        self.stored_as = class_name, source
        self._init_args = ()
        self._init_kwargs = EasyDict(settings)
        self.weight_gain = 1 / np.sqrt(settings.get("w_dim", 4))  # of NumPy's type, as many attributes are

    def __reduce__(self) -> tuple[Any, ...]:
        name, source = self.stored_as
        about = {"type": "class", "version": 6, "module_src": source, "class_name": name, "state": dict(self.__dict__)}
        return _reconstruct_persistent_obj, (about,)


class OSGDecoder(nn.Module):
    """Not persisted."""


class ImportanceRenderer(nn.Module):
    """Not persisted."""

    def __init__(self, plane_axes: list[Any]) -> None:
        super().__init__()
        self.plane_axes = torch.tensor(plane_axes, dtype=torch.float32)


HOMES = {
    "torch_utils.persistence": _reconstruct_persistent_obj,
    "dnnlib.util": EasyDict,
    "training.triplane": OSGDecoder,
    "training.volumetric_rendering.renderer": ImportanceRenderer,
}
for home, value in HOMES.items():
    value.__module__ = home
    setattr(MODULES[home], value.__name__, value)


def write(path: Path, content: object, *, protocol: int = 4) -> Path:
    """Pickle something."""
    with patch.dict(sys.modules, MODULES):
        path.write_bytes(pickle.dumps(content, protocol))
    return path


def networks(generator: nn.Module) -> dict[str, Any]:
    """The content of a file: three networks and what they were trained with."""
    return {
        "training_set_kwargs": EasyDict(class_name="training.dataset.ImageFolderDataset", xflip=True),
        "G": Persisted("Generator"),
        "D": Persisted("Discriminator"),
        "G_ema": generator,
        "augment_pipe": None,
    }


def rendering_options(config: GeneratorConfig) -> dict[str, Any]:
    """As the official file for faces says them."""
    near, far = config.rays.limits or ("auto", "auto")
    return {
        "depth_resolution": config.rays.coarse_samples,
        "depth_resolution_importance": config.rays.fine_samples,
        "ray_start": near,
        "ray_end": far,
        "box_warp": 1,
        "avg_camera_radius": 2.7,
        "avg_camera_pivot": [0, 0, 0.2],
        "image_resolution": config.size,
        "disparity_space_sampling": False,
        "clamp_mode": "softplus",
        "superresolution_module": "training.superresolution.SuperresolutionHybrid8XDC",
        "c_gen_conditioning_zero": False,
        "c_scale": 1.0,
        "superresolution_noise_mode": "none",
        "density_reg": 0.25,
        "decoder_lr_mul": 1.0,
        "sr_antialias": True,
    }


def eg3d_generator(
    state: Mapping[str, Tensor],
    config: GeneratorConfig,
    *,
    options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    plane_axes: list[Any] = LEGACY_AXES,
    enlarging: str = "SuperresolutionHybrid8XDC",
) -> Persisted:
    """EG3D's generator as it is stored.

    Args:
        state: with official names, see `official_state`.
        options, settings: changes to `rendering_kwargs` and to the keyword arguments.
    """
    rendering = rendering_options(config) | dict(options or {})
    given = {
        "z_dim": config.z_dim,
        "w_dim": config.w_dim,
        "c_dim": 25,
        "img_resolution": config.size,
        "img_channels": 3,
        "mapping_kwargs": EasyDict(num_layers=config.mapping_layers),
        "channel_base": config.channel_base,
        "channel_max": config.channel_max,
        "num_fp16_res": 0,
        "sr_num_fp16_res": 4,
        "conv_clamp": None,
        "rendering_kwargs": rendering,
    }
    generator = Persisted("TriPlaneGenerator", **(given | dict(settings or {})))
    generator.add_module("renderer", ImportanceRenderer(plane_axes))
    generator.add_module("backbone", Persisted("Generator", img_resolution=config.plane_size))
    generator.add_module("superresolution", Persisted(enlarging, sr_antialias=True))
    generator.add_module("decoder", OSGDecoder())
    generator.decoder.add_module("net", nn.Sequential())
    generator.superresolution.input_resolution = config.super_input
    generator.neural_rendering_resolution = config.neural_size
    generator.rendering_kwargs = rendering
    fill(generator, {"dataset_label_std": torch.ones(25), **state})
    generator.decoder.net.add_module("1", nn.Softplus())
    return generator


def fill(root: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Add tensors, and the layers that they need, to a module."""
    for name, value in state.items():
        *path, last = name.split(".")
        module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, Persisted("Layer"))
            module = module.get_submodule(part)
        if last in BUFFERS:
            module.register_buffer(last, value)
        else:
            module.register_parameter(last, nn.Parameter(value, requires_grad=False))


def official_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of our generator under the official names, with the official blur kernels."""
    found = {official_name(name): value.clone() for name, value in state.items()}
    blurred = {name.rpartition(".")[0] for name in found if name.endswith("noise_const")}
    blurred |= {name.rpartition(".")[0] for name in blurred}
    return found | {f"{module}.resample_filter": binomial_filter() for module in sorted(blurred)}


def official_name(name: str) -> str:
    """One of our generator's names as the official one."""
    name = name.replace("w_mean", "w_avg").replace("mapping.layers.", "mapping.fc").replace("to_rgb", "torgb")
    name = re.sub(r"synthesis\.blocks\.(\d+)", lambda m: f"synthesis.b{4 << int(m[1])}", name)
    name = re.sub(r"super_resolution\.blocks\.(\d+)", r"superresolution.block\1", name)
    return re.sub(r"\.noise$", ".noise_const", name.replace(".conv.", "."))
