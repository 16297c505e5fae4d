"""The feature networks with their official weights, ready to measure: frozen, in evaluation mode.

Weights come from `portrayal weights get NAME`, or from a file that the caller names. Files are read as tensors only,
nothing in them is executed; the one exception, I3D, is TorchScript and is opened only if its hash is the known one.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.errors import InputError, MissingFileError
from portrayal.nn.arcface import IrSe50
from portrayal.nn.e4e import PUBLIC_SIDE, E4eEncoder
from portrayal.nn.fan import Fan
from portrayal.nn.hopenet import Hopenet
from portrayal.nn.imagenet import Vgg, backbone_weights, vgg16, vgg19
from portrayal.nn.inception import Inception
from portrayal.nn.lpips import Lpips, LpipsNet
from portrayal.nn.mobilefacenet import MobileFaceNet
from portrayal.nn.vgg_face import VGG_FACE_FILE, VGG_FACE_URL, VggFace, vgg_face, vgg_face_weights
from portrayal.weights.download import file_sha256
from portrayal.weights.registry import find_weights, weights_folder
from portrayal.weights.remote import REMOTE

LPIPS_BACKBONES: dict[LpipsNet, str] = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet"}
I3D_FEATURES = 400
I3D_SIDE = 224
DEV_WEIGHTS = "PORTRAYAL_DEV_WEIGHTS"
"""Environment variable: a folder with mobilefacenet.npz, for development."""

N = TypeVar("N", bound=nn.Module)


def load_vgg16() -> Vgg:
    """
    Raises:
        InputError: the weights are missing (the message names the command that fetches them) or damaged; likewise in
            the other `load_` functions.
    """
    net = vgg16()
    return _fill(net, backbone_weights(net, read_checkpoint(find_weights("vgg16"))), "vgg16")


def load_vgg19() -> Vgg:
    net = vgg19()
    return _fill(net, backbone_weights(net, read_checkpoint(find_weights("vgg19"))), "vgg19")


def load_vgg_face() -> VggFace:
    """VGG-Face from `vgg_face_dag.pth` in the weights folder; nobody has published a hash of it, so users fetch it."""
    path = weights_folder() / VGG_FACE_FILE
    if not path.is_file():
        raise MissingFileError(f"{path} is missing; download {VGG_FACE_URL} and put it there")
    return _fill(vgg_face(), vgg_face_weights(read_checkpoint(path)), str(path))


def load_lpips(net: LpipsNet = "alex") -> Lpips:
    """LPIPS from its two files: the classifier's and the linear heads'."""
    metric, backbone = Lpips(net), LPIPS_BACKBONES[net]
    weights = backbone_weights(metric, read_checkpoint(find_weights(backbone)))
    weights |= read_checkpoint(find_weights(f"lpips-{net}"))
    return _fill(metric, weights, f"{backbone} and lpips-{net}")


def load_inception() -> Inception:
    return _fill(Inception(), read_checkpoint(find_weights("fid-inception")), "fid-inception")


def load_arcface() -> IrSe50:
    return _fill(IrSe50(), read_checkpoint(find_weights("arcface-irse50")), "arcface-irse50")


def load_fan() -> Fan:
    return _fill(Fan(), read_checkpoint(find_weights("fan-2dfan4")), "fan-2dfan4")


def load_hopenet(path: Path | str) -> Hopenet:
    """
    Args:
        path: what `portrayal weights get hopenet` fetched, another snapshot of deep-head-pose, or what
            `portrayal weights convert hopenet` made of it.
    """
    return _fill(Hopenet(), read_checkpoint(path), str(path))


def load_e4e(path: Path | str) -> E4eEncoder:
    """
    Args:
        path: what `portrayal weights convert e4e` made of an encoder, for pictures of 256 x 256.
    """
    weights = read_checkpoint(path)
    layers = sum(name.startswith("styles.") and name.endswith(".linear.bias") for name in weights)
    with torch.device("meta"):
        net = E4eEncoder(PUBLIC_SIDE, layers=layers)
    return _fill(net.to_empty(device="cpu"), weights, str(path))


def load_mobilefacenet(path: Path | str) -> MobileFaceNet:
    """
    Args:
        path: a checkpoint of Xiaoccer/MobileFaceNet_Pytorch, or its arrays in an .npz file.
    """
    return _fill(MobileFaceNet(), read_checkpoint(path), str(path))


def development_weights() -> Path | None:
    """The MobileFaceNet file that the environment names, if any.

    Raises:
        InputError: it is not there.
    """
    folder = os.environ.get(DEV_WEIGHTS)
    if not folder:
        return None
    path = Path(folder) / "mobilefacenet.npz" if Path(folder).is_dir() else Path(folder)
    if not path.is_file():
        raise InputError(f"{DEV_WEIGHTS} names {folder}, but there is no mobilefacenet.npz")
    return path


class I3d(nn.Module):
    """Clips to the 400 logits of I3D on Kinetics-400, which FVD is measured on."""

    def __init__(self, script: nn.Module) -> None:
        super().__init__()
        self.script = script

    def forward(self, clips: Tensor) -> Tensor:
        """
        Args:
            clips: (b, 3, t, h, w) RGB in [0, 1], t at least 10; resized to 224 x 224 here.

        Returns:
            (b, 400).
        """
        b, _, t = clips.shape[:3]
        frames = clips.transpose(1, 2).flatten(0, 1)
        frames = F.interpolate(frames, (I3D_SIDE, I3D_SIDE), mode="bilinear", align_corners=False)
        clips = (2 * frames - 1).unflatten(0, (b, t)).transpose(1, 2)
        return self.script(clips, rescale=False, resize=False, return_features=True)


def load_i3d() -> I3d:
    """
    Raises:
        InputError: the file is missing, or is not exactly the known one: TorchScript is code, so it is not opened then.
    """
    path = find_weights("i3d-kinetics400")
    if file_sha256(path) != REMOTE["i3d-kinetics400"].sha256:
        raise InputError(f"{path} is not the known file; run: portrayal weights get i3d-kinetics400")
    return I3d(torch.jit.load(str(path), map_location="cpu")).eval()


def read_checkpoint(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a .pth, .tar, .pkl (state dict), .safetensors or .npz file, float32 where they are floats.

    Raises:
        MissingFileError: no such file.
        InputError: it is not a file of tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"the weights file {path} does not exist")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                values: Mapping[str, object] = {name: torch.from_numpy(arrays[name]) for name in arrays}
        elif path.suffix == ".safetensors":
            values = load_file(path)
        else:
            values = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as weights: {str(error).splitlines()[0]}") from error
    if not isinstance(values, Mapping) or not all(isinstance(value, Tensor) for value in values.values()):
        raise InputError(f"{path} is not a plain file of named tensors")
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def _fill(net: N, weights: Mapping[str, Tensor], origin: str) -> N:
    """Load; batch norm's counters may be absent, as old files have none."""
    own = net.state_dict()
    counters = {name: own[name] for name in own if name.endswith("num_batches_tracked")}
    try:
        net.load_state_dict({**counters, **weights}, strict=True)
    except RuntimeError as error:
        raise InputError(f"{origin}: the weights do not fit {type(net).__name__}: {_first_line(error)}") from error
    return net.eval().requires_grad_(False)


def _first_line(error: Exception) -> str:
    """The first thing that torch says does not fit; its first line only names the class."""
    lines = str(error).splitlines()
    return (lines[1] if len(lines) > 1 else lines[0]).strip()
