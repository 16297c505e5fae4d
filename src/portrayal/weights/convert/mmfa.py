"""Checkpoints of face-vid2vid's public implementation as MMFA with equation 3.

The layout is that of zhanglonghao1992/One-Shot_Free-View_Neural_Talking_Head_Synthesis: a dictionary with the state
dicts `generator`, `kp_detector`, `he_estimator` (and `discriminator`, optimizers and the epoch, which are not needed).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from portrayal.errors import InputError
from portrayal.systems.mmfa.config import (
    AppearanceConfig,
    Config,
    DetectorConfig,
    EncoderConfig,
    GeneratorConfig,
    MotionConfig,
)
from portrayal.systems.mmfa.model import Mmfa
from portrayal.weights.convert.checkpoint import read_states, save_converted

State = Mapping[str, Tensor]
PARTS = ("generator", "kp_detector", "he_estimator")
ORIGIN = "zhanglonghao1992/One-Shot_Free-View_Neural_Talking_Head_Synthesis"
Rules = Sequence[tuple[str, str]]

SPECTRAL: Rules = (
    (r"\.weight_orig$", ".parametrizations.weight.original"),
    (r"\.weight_([uv])$", r".parametrizations.weight.0._\1"),
)
"""Spectral norm as a hook, and as a parametrisation."""

DETECTOR: Rules = (
    (r"^predictor\.down_blocks\.down(\d+)", r"encoder.\1"),
    (r"^predictor\.up_blocks\.up(\d+)", r"decoder.\1"),
    (r"^predictor\.conv", "fold"),
    (r"^kp\.", "heatmap."),
)

HEAD_MOTION: Rules = (
    # The layer named roll gives the output called yaw, and the other way round.
    (r"^fc_roll", "yaw"),
    (r"^fc_yaw", "roll"),
    (r"^fc_pitch", "pitch"),
    (r"^fc_t\.", "translation."),
    (r"^fc_exp", "deformation"),
    (r"\.skip\.", ".shortcut.0."),
    (r"\.norm4\.", ".shortcut.1."),
    (r"^(conv|norm)1\.", r"encoder.stem.\1."),
    (r"^(conv|norm)2\.", r"encoder.stages.0.\1."),
    (r"^(conv|norm)3\.", r"encoder.stages.1.\1."),
    (r"^(conv|norm)4\.", r"encoder.stages.2.\1."),
    (r"^(conv|norm)5\.", r"encoder.stages.3.\1."),
    (r"^block1\.b1_(\d)", r"encoder.stages.0.blocks.\1"),
    # The striding block of a stage has a name of its own; the rest count from 0.
    (r"^block2\.", "encoder.stages.1.blocks.0."),
    (r"^block4\.", "encoder.stages.2.blocks.0."),
    (r"^block6\.", "encoder.stages.3.blocks.0."),
    (r"^block3\.b3_(\d)", r"encoder.stages.1.blocks.+\1"),
    (r"^block5\.b5_(\d)", r"encoder.stages.2.blocks.+\1"),
    (r"^block7\.b7_(\d)", r"encoder.stages.3.blocks.+\1"),
)
"""A number after + is one more in our names."""

DENSE_MOTION: Rules = (
    (r"^hourglass\.encoder\.down_blocks", "hourglass.down"),
    (r"^hourglass\.decoder\.up_blocks", "hourglass.up"),
    (r"^hourglass\.decoder\.conv", "mix"),
    (r"^hourglass\.decoder\.norm", "mix_norm"),
)

GENERATOR: Rules = (
    (r"^first", "appearance.first"),
    (r"^down_blocks", "appearance.down"),
    (r"^second", "appearance.fold"),
    (r"^resblocks_3d\.3dr(\d+)", r"appearance.resblocks.\1"),
    (r"^third", "generator.unfold.first"),
    (r"^fourth", "generator.unfold.second"),
    (r"^resblocks_2d\.2dr(\d+)", r"generator.resblocks.\1"),
    (r"^up_blocks", "generator.up"),
    (r"^final", "generator.to_rgb"),
    (r"^decoder\.fc", "generator.first"),
    (r"^decoder\.G_middle_(\d+)", r"generator.middle.\1"),
    (r"^decoder\.up_(\d+)", r"generator.up.\1"),
    (r"^decoder\.conv_img", "generator.to_rgb"),
    (r"\.(conv|norm)_0\.", r".\g<1>1."),
    (r"\.(conv|norm)_1\.", r".\g<1>2."),
    (r"\.conv_s\.", ".shortcut."),
    (r"\.norm_s\.", ".shortcut_norm."),
    (r"\.mlp_shared\.0\.", ".shared."),
    (r"\.mlp_(gamma|beta)\.", r".\1."),
    *SPECTRAL,
)

DISCRIMINATOR: Rules = (
    (r"^discs\.1\.down_blocks", "blocks"),
    (r"^discs\.1\.conv", "logits"),
    *SPECTRAL,
)


def rename(name: str, rules: Rules) -> str:
    """An official name as ours; rules apply one after the other."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return re.sub(r"\+(\d+)", lambda match: str(int(match[1]) + 1), name)


def generator_name(name: str) -> str:
    """A name of the official generator, which holds the dense motion, as a name in `Mmfa`."""
    inner = name.removeprefix("dense_motion_network.")
    return rename(name, GENERATOR) if inner == name else "dense_motion." + rename(inner, DENSE_MOTION)


def convert_face_vid2vid(path: Path, output: Path) -> None:
    """Write a checkpoint of face-vid2vid's public implementation as a weights file of MMFA.

    The sizes of the networks are read from the tensors; pictures are taken to be 256 x 256, as in the published
    configurations. The conventions are those of `Config.face_vid2vid`.

    Args:
        path: `.pth` or `.pth.tar`; nothing in it is executed.
        output: the weights file; it appears only when complete.

    Raises:
        MissingFileError: no such file. InputError: it is not such a checkpoint.
    """
    states = read_states(path, PARTS, origin=ORIGIN)
    try:
        config = infer_config(states)
        with torch.device("meta"):
            model = Mmfa(config)
        tensors = _renamed(states, model.state_dict())
        model.load_state_dict(tensors, strict=True, assign=True)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{path} is not laid out as a checkpoint of {ORIGIN}: {reason}") from error
    save_converted(output, tensors, [path], origin=ORIGIN, system="mmfa", stage="main", config=config)


def infer_config(states: Mapping[str, State]) -> Config:
    """The configuration of a checkpoint, from the shapes of its tensors."""
    detector, head, generator = (states[part] for part in ("kp_detector", "he_estimator", "generator"))
    return replace(
        Config.face_vid2vid(),
        detector=_detector_config(detector),
        affine_encoder=_encoder_config(head),
        appearance=_appearance_config(generator),
        motion=replace(_motion_config(generator), jacobian="identity"),
        generator=_generator_config(generator),
    )


def _detector_config(state: State) -> DetectorConfig:
    levels = _count(state, r"predictor\.down_blocks\.down(\d+)\.")
    heatmap, fold = state["kp.weight"], state["predictor.conv.weight"]
    kernel = state["down.weight"].shape[-1] if "down.weight" in state else 1
    return DetectorConfig(
        keypoints=heatmap.shape[0],
        input_factor=(kernel - 1) // 4 + 1,
        first=heatmap.shape[1],
        largest=fold.shape[1],
        levels=levels,
        depth=fold.shape[0] // state["predictor.up_blocks.up0.conv.weight"].shape[1],
        jacobians="jacobian.weight" in state,
    )


def _encoder_config(state: State) -> EncoderConfig:
    blocks = [_count(state, rf"block{n}\.b{n}_(\d+)\.") for n in (1, 3, 5, 7)]
    return EncoderConfig(
        stem=state["conv1.weight"].shape[0],
        widths=tuple(state[f"conv{n}.weight"].shape[0] for n in (2, 3, 4, 5)),
        blocks=(blocks[0], *(n + 1 for n in blocks[1:])),
    )


def _appearance_config(state: State) -> AppearanceConfig:
    down = _count(state, r"down_blocks\.(\d+)\.")
    first, channels = state["first.conv.weight"], state["resblocks_3d.3dr0.conv1.weight"].shape[0]
    return AppearanceConfig(
        first=first.shape[0],
        largest=state[f"down_blocks.{down - 1}.conv.weight"].shape[0],
        down=down,
        kernel=first.shape[-1],
        channels=channels,
        depth=state["second.weight"].shape[0] // channels,
        resblocks=_count(state, r"resblocks_3d\.3dr(\d+)\."),
    )


def _motion_config(state: State) -> MotionConfig:
    inside = "dense_motion_network.hourglass"
    levels = _count(state, rf"{inside}\.encoder\.down_blocks\.(\d+)\.")
    return MotionConfig(
        first=state[f"{inside}.decoder.up_blocks.{levels - 1}.conv.weight"].shape[0],
        largest=state[f"{inside}.encoder.down_blocks.{levels - 1}.conv.weight"].shape[0],
        levels=levels,
        compress=state["dense_motion_network.compress.weight"].shape[0],
    )


def _generator_config(state: State) -> GeneratorConfig:
    if "decoder.fc.weight" not in state:
        return GeneratorConfig(kind="plain", resblocks=_count(state, r"resblocks_2d\.2dr(\d+)\."))
    middle, label = state["decoder.fc.weight"].shape[:2]
    ups = [state[f"decoder.up_{i}.conv_1.weight_orig"].shape[0] for i in (0, 1)]
    return GeneratorConfig(
        kind="spade",
        resblocks=_count(state, r"decoder\.G_middle_(\d+)\."),
        spade=(label, middle, ups[0], ups[1]),
        hidden=state["decoder.up_0.norm_0.mlp_shared.0.weight"].shape[0],
    )


def _count(state: State, pattern: str) -> int:
    """How many numbered blocks of a kind there are."""
    found = {match[1] for name in state if (match := re.match(pattern, name))}
    if not found:
        raise KeyError(f"no tensor is named like {pattern}")
    return len(found)


def _renamed(states: Mapping[str, State], wanted: State) -> dict[str, Tensor]:
    """All tensors under our names; batch norm's counters, which old checkpoints lack, are zero there."""
    tensors = {name: torch.zeros((), dtype=torch.long) for name in wanted if name.endswith("num_batches_tracked")}
    for name, value in states["kp_detector"].items():
        tensors["detector." + rename(name, DETECTOR)] = value
    for name, value in states["he_estimator"].items():
        tensors["head_motion." + rename(name, HEAD_MOTION)] = value
    for name, value in states["generator"].items():
        tensors[generator_name(name)] = value
    return tensors
