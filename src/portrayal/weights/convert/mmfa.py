"""Checkpoints of face-vid2vid's public implementation as MMFA with equation 3.

The layout is that of zhanglonghao1992/One-Shot_Free-View_Neural_Talking_Head_Synthesis: a dictionary with the state
dicts `generator`, `kp_detector`, `he_estimator` (and `discriminator`, optimizers and the epoch, which are not needed).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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
