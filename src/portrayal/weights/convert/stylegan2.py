"""Tensors of StyleGAN2 in both public layouts under the names of `nn.stylegan2`.

`rosinality`: rosinality/stylegan2-pytorch, which the directions paper uses. `nvidia`: NVlabs/stylegan2-ada-pytorch and
EG3D. The numbers are the same functions of the same inputs; only names and shapes differ. The blur kernels that both
store are constants here, and must be the ones that the network is written for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import log2

import torch
from torch import Tensor

from portrayal.nn.resample import binomial_filter

Rule = tuple[str, str | Callable[[re.Match[str]], str]]


def _block(match: re.Match[str]) -> str:
    """Convolution i after the first: two per resolution."""
    at = int(match[1])
    return f"synthesis.blocks.{at // 2 + 1}.conv{at % 2}."


def _noise(match: re.Match[str]) -> str:
    at = int(match[1]) + 1
    return f"synthesis.blocks.{at // 2}.conv{at % 2}.noise"


def _resolution(match: re.Match[str]) -> str:
    return f"synthesis.blocks.{int(log2(int(match[1]))) - 2}."


ROSINALITY: Sequence[Rule] = (
    (r"^style\.(\d+)\.", lambda m: f"mapping.layers.{int(m[1]) - 1}."),
    (r"^input\.input$", "synthesis.blocks.0.const"),
    (r"^conv1\.", "synthesis.blocks.0.conv1."),
    (r"^convs\.(\d+)\.", _block),
    (r"^to_rgb1\.", "synthesis.blocks.0.to_rgb."),
    (r"^to_rgbs\.(\d+)\.", lambda m: f"synthesis.blocks.{int(m[1]) + 1}.to_rgb."),
    (r"^noises\.noise_(\d+)$", _noise),
    (r"\.conv\.modulation\.", ".conv.affine."),
    (r"\.noise\.weight$", ".noise_strength"),
    (r"\.activate\.bias$", ".bias"),
)

NVIDIA: Sequence[Rule] = (
    (r"^mapping\.w_avg$", "mapping.w_mean"),
    (r"^mapping\.fc(\d+)\.", r"mapping.layers.\1."),
    (r"^synthesis\.b(\d+)\.", _resolution),
    (r"\.torgb\.", ".to_rgb."),
    (r"\.(conv\d|to_rgb)\.(weight|affine)", r".\1.conv.\2"),
    (r"\.noise_const$", ".noise"),
)

ROSINALITY_DISCRIMINATOR: Sequence[Rule] = (
    (r"^convs\.0\.0\.", "from_rgb."),
    (r"^convs\.0\.1\.", "from_rgb."),
    (r"^convs\.(\d+)\.", lambda m: f"blocks.{int(m[1]) - 1}."),
    (r"\.conv1\.[01]\.", ".conv0."),
    (r"\.conv2\.[12]\.", ".conv1."),
    (r"\.skip\.1\.", ".skip."),
    (r"^final_conv\.[01]\.", "conv."),
    (r"^final_linear\.0\.", "hidden."),
    (r"^final_linear\.1\.", "logits."),
)


def rename(name: str, rules: Sequence[Rule]) -> str:
    """An official name as ours; rules apply one after the other."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def generator_from_rosinality(state: Mapping[str, Tensor], *, w_mean: Tensor | None = None) -> dict[str, Tensor]:
    """The state dict of `nn.stylegan2.Generator`.

    Args:
        state: that of the official generator, `g_ema` in its checkpoints.
        w_mean: centre of truncation, `latent_avg` beside it where it was stored; None: zeros. Without it, measure it
            with `MappingNetwork.measure_mean` before truncating.

    Raises:
        ValueError: the file's blur kernel is not [1, 3, 3, 1].
    """
    converted = {rename(name, ROSINALITY): value for name, value in without_kernels(state).items()}
    own = {name: _reshaped(name, value) for name, value in converted.items()}
    centre = torch.zeros(own["mapping.layers.0.weight"].shape[0]) if w_mean is None else w_mean.flatten()
    return own | {"mapping.w_mean": centre}


def generator_from_nvidia(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of `nn.stylegan2.Generator` from that of NVIDIA's, `G_ema` in its files, EG3D's `backbone`.

    Raises:
        ValueError: the file's blur kernel is not [1, 3, 3, 1].
    """
    return {rename(name, NVIDIA): value for name, value in without_kernels(state).items()}


def discriminator_from_rosinality(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of `nn.stylegan2_discriminator.Discriminator`, from `d` in the official checkpoints.

    Raises:
        ValueError: the file's blur kernel is not [1, 3, 3, 1].
    """
    return {rename(name, ROSINALITY_DISCRIMINATOR): value for name, value in without_kernels(state).items()}


def discriminator_from_nvidia(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same from NVIDIA's `D`, whose blocks are named after their resolution, the largest first.

    Raises:
        ValueError: the file's blur kernel is not [1, 3, 3, 1].
    """
    state = without_kernels(state)
    largest = max((int(m[1]) for name in state if (m := re.match(r"b(\d+)\.", name))), default=4)
    rules: Sequence[Rule] = (
        (r"^b\d+\.fromrgb\.", "from_rgb."),
        (r"^b4\.conv\.", "conv."),
        (r"^b4\.fc\.", "hidden."),
        (r"^b4\.out\.", "logits."),
        (r"^b(\d+)\.", lambda m: f"blocks.{int(log2(largest // int(m[1])))}."),
        (r"^mapping\.fc(\d+)\.", r"mapping.layers.\1."),
    )
    own = {rename(name, rules): value for name, value in state.items()}
    if "mapping.embed.weight" in own:
        # The mapping of labels is never truncated, and NVIDIA's stores no mean for it.
        own["mapping.w_mean"] = torch.zeros_like(own["mapping.embed.bias"])
    return own


def without_kernels(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All but the blur kernels, which must be binomial; rosinality's are multiplied by 4 where they enlarge."""
    kept = {}
    for name, value in state.items():
        if not name.endswith(("kernel", "resample_filter")):
            kept[name] = value
        elif value.shape != (4, 4) or not torch.allclose(value / value.sum(), binomial_filter(), atol=1e-6):
            raise ValueError(f"{name}: only networks with the blur [1, 3, 3, 1] can be converted")
    return kept


def _reshaped(name: str, value: Tensor) -> Tensor:
    """Leading and trailing axes of length 1 that only rosinality's tensors have."""
    if name.endswith("noise_strength"):
        return value.reshape(())
    if name.endswith(".noise"):
        return value[0, 0]
    if name.endswith(("const", ".conv.weight")):
        return value[0]
    return value.flatten() if name.endswith("to_rgb.bias") else value
