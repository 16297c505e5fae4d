"""MMFA's networks that face-vid2vid has too are the same functions as those of its public implementation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from portrayal.nn.antialias import AntialiasDownsample
from portrayal.nn.volume import coordinate_grid, gaussian_heatmaps, sample_volume
from portrayal.systems.mmfa.config import (
    AppearanceConfig,
    Config,
    DetectorConfig,
    EncoderConfig,
    GeneratorConfig,
    MotionConfig,
)
from portrayal.systems.mmfa.dense_motion import DenseMotion
from portrayal.systems.mmfa.discriminator import Discriminator
from portrayal.systems.mmfa.estimators import HeadMotion, HeadMotionEstimator
from portrayal.systems.mmfa.generator import AppearanceEncoder, build_generator
from portrayal.systems.mmfa.keypoints import KeypointDetector, euler_xyz, transform_keypoints_unscaled
from portrayal.weights.convert import mmfa as convert
from tests.parity import Fixture, parity_fixture

HALF_TURN = Config.face_vid2vid().conventions.half_turn


@pytest.mark.parametrize("name", ["fv2v_kp_detector", "fv2v_kp_detector_small"])
def test_keypoint_detector(name: str) -> None:
    fixture = parity_fixture(name)
    c = fixture.configuration
    config = DetectorConfig(
        keypoints=c["num_kp"],
        input_factor=round(1 / c["scale_factor"]),
        first=c["block_expansion"],
        largest=c["max_features"],
        levels=c["num_blocks"],
        depth=c["reshape_depth"],
        temperature=c["temperature"],
        jacobians=c["estimate_jacobian"],
    )
    net = fixture.load(KeypointDetector(config, corners=True), lambda n: convert.rename(n, convert.DETECTOR))
    found = net.detect(fixture.inputs["image"])
    fixture.check("kp", found.keypoints)
    fixture.check("prediction_map", found.logits)
    if found.jacobians is not None:
        fixture.check("jacobian", found.jacobians)


def test_head_motion_estimator() -> None:
    fixture = parity_fixture("fv2v_he_estimator")
    with torch.device("meta"):
        net = HeadMotionEstimator(EncoderConfig(), keypoints=fixture.configuration["num_kp"])
    net = fixture.load(net, lambda n: convert.rename(n, convert.HEAD_MOTION))
    found = net(fixture.inputs["image"])
    fixture.check("yaw", found.yaw)
    fixture.check("pitch", found.pitch)
    fixture.check("roll", found.roll)
    fixture.check("t", found.translation)
    fixture.check("exp", found.deformation)


def test_equation_3_as_released() -> None:
    fixture = parity_fixture("fv2v_keypoints")
    x = fixture.inputs
    head = HeadMotion(x["yaw"], x["pitch"], x["roll"], x["t"], x["exp"])
    for name, degrees in zip(("yaw", "pitch", "roll"), head.angles_deg().unbind(1), strict=True):
        fixture.check(f"{name}_degrees", degrees)
    pose = head.pose(half_turn=HALF_TURN)
    delta = x["exp"].unflatten(1, (-1, 3))
    fixture.check("value", transform_keypoints_unscaled(x["kp_canonical"], delta, pose.rotation, pose.translation))
    fixture.check("jacobian", pose.rotation[:, None] @ x["jacobian"])
    fixture.check("rotation_of_degrees", euler_xyz(x["degrees"] / 180 * HALF_TURN))


@pytest.mark.parametrize("name", ["fv2v_dense_motion_small", "fv2v_dense_motion"])
def test_dense_motion(name: str) -> None:
    fixture = parity_fixture(name)
    c, x = fixture.configuration, fixture.inputs
    with torch.device("meta"):
        net = DenseMotion(
            motion_config(c),
            keypoints=c["num_kp"],
            channels=c["feature_channel"],
            depth=c["reshape_depth"],
            corners=True,
        )
    net = fixture.load(net, lambda n: convert.rename(n, convert.DENSE_MOTION))
    jacobians = None
    if c["use_jacobian"]:
        source, driving = (torch.eye(3) + x[f"jacobian_{which}_noise"] for which in ("source", "driving"))
        jacobians = source @ torch.linalg.inv(driving)
    field = net(x["feature"], x["kp_source"] + x["kp_delta"], x["kp_source"], jacobians)
    fixture.check("mask", field.mask)
    fixture.check("deformation", field.deformation)
    fixture.check("occlusion_map", field.occlusion)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fv2v_generator_small", "plain"),
        ("fv2v_generator", "plain"),
        ("fv2v_spade_generator_small_input", "spade"),
        ("fv2v_spade_generator", "spade"),
    ],
)
def test_generator(name: str, kind: str) -> None:
    fixture = parity_fixture(name)
    x = fixture.inputs
    net = fixture.load(generator_parts(fixture, kind), convert.generator_name)
    volume = net["appearance"](x["image"])
    field = net["dense_motion"](volume, x["kp_source"] + x["kp_delta"], x["kp_source"])
    fixture.check("mask", field.mask)
    fixture.check("occlusion_map", field.occlusion)
    pictures = net["generator"](sample_volume(volume, field.deformation), field.occlusion)
    fixture.check("prediction", pictures[fixture.configuration["input"]])


def test_discriminator() -> None:
    fixture = parity_fixture("fv2v_discriminator")
    c = fixture.configuration
    widths = [min(c["max_features"], c["block_expansion"] * 2 ** (i + 1)) for i in range(c["num_blocks"])]
    net = fixture.load(Discriminator(widths), lambda n: convert.rename(n, convert.DISCRIMINATOR))
    features, logits = net(fixture.inputs["image"])
    fixture.check("prediction_map", logits)
    for i, feature in enumerate(features):
        fixture.check(f"feature_map_{i}", feature)


def test_small_operations() -> None:
    fixture = parity_fixture("fv2v_small_ops")
    x = fixture.inputs
    variance = fixture.configuration["kp_variance"]
    fixture.check("gaussian_3d", gaussian_heatmaps(x["kp"], (4, 6, 8), variance=variance, corners=True))
    fixture.check("grid_3d", coordinate_grid((2, 3, 4), corners=True))
    for factor in (2, 4, 8):
        fixture.check(f"antialias_{1 / factor}", AntialiasDownsample(3, factor)(x["frame"]))
    fixture.check("antialias_kernel_0.25", AntialiasDownsample(1, 4).weight)


def motion_config(c: dict[str, int]) -> MotionConfig:
    return MotionConfig(
        first=c["block_expansion"], largest=c["max_features"], levels=c["num_blocks"], compress=c["compress"]
    )


def generator_parts(fixture: Fixture, kind: str) -> nn.ModuleDict:
    c = fixture.configuration
    appearance = AppearanceConfig(
        first=c["block_expansion"],
        largest=c["max_features"],
        down=c["num_down_blocks"],
        kernel=3 if kind == "spade" else 7,
        channels=c["reshape_channel"],
        depth=c["reshape_depth"],
        resblocks=c["num_resblocks"],
    )
    # The middle of the SPADE decoder always has six blocks.
    generator = GeneratorConfig(kind=kind, resblocks=6 if kind == "spade" else c["num_resblocks"])  # type: ignore[arg-type]
    motion = motion_config(c["dense_motion_params"])
    with torch.device("meta"):
        dense = DenseMotion(
            motion, keypoints=c["num_kp"], channels=appearance.channels, depth=appearance.depth, corners=True
        )
        return nn.ModuleDict(
            {
                "appearance": AppearanceEncoder(appearance),
                "dense_motion": dense,
                "generator": build_generator(generator, appearance, c["input"]),
            }
        )
