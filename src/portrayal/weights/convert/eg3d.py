"""Tensors of EG3D's official generator under the names of its parts here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from portrayal.weights.convert.stylegan2 import NVIDIA, Rule, generator_from_nvidia, rename, without_kernels

SUPER_RESOLUTION: Sequence[Rule] = ((r"^block(\d)\.", r"blocks.\1."), *NVIDIA)


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
