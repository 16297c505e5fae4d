"""The whole module: sizes of the paper, shapes, gradients."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

from portrayal.systems.mmfa.config import Config, GeneratorConfig
from portrayal.systems.mmfa.discriminator import Discriminator
from portrayal.systems.mmfa.keypoints import Pose
from portrayal.systems.mmfa.model import Mmfa
from tests.parity import Fixture, parity_fixture

TINY = Config.tiny()
EQUATION_3 = dataclasses.replace(TINY, decomposition="face-vid2vid", affine="network")
PAPER = {
    "detector": 41_940_047,
    "affine": 29_756_931,
    "expression_encoder": 2_433_168,
    "expression_decoder": 706_093,
    "appearance": 843_904,
    "dense_motion": 43_545_549,
    "generator": 3_171_657,
    "vae": 887_168,
    "discriminator": 2_758_849,
}


def numbers(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def parts(config: Config) -> dict[str, int]:
    with torch.device("meta"):
        model = Mmfa(config)
        counts = {name: numbers(part) for name, part in model.named_children()}
        return counts | {"discriminator": numbers(Discriminator(config.discriminator))}


def test_sizes_of_the_paper_preset() -> None:
    """As the table in docs/systems/mmfa.md."""
    assert parts(Config.paper()) == PAPER


def test_what_is_taken_over_has_the_sizes_of_face_vid2vid() -> None:
    """Its generator holds appearance and dense motion too."""
    counts = parts(Config.face_vid2vid())
    whole = counts["appearance"] + counts["dense_motion"] + counts["generator"]
    for name, mine in {
        "fv2v_kp_detector": counts["detector"],
        "fv2v_he_estimator": counts["head_motion"],
        "fv2v_dense_motion": counts["dense_motion"],
        "fv2v_generator": whole,
        "fv2v_discriminator": counts["discriminator"],
    }.items():
        assert mine == learned(parity_fixture(name)), name
    for name in ("detector", "appearance", "dense_motion", "discriminator"):
        assert counts[name] == PAPER[name]


def learned(fixture: Fixture) -> int:
    """Numbers of a fixture's state dict without buffers: running statistics, spectral vectors, kernels."""
    buffers = ("running_mean", "running_var", "num_batches_tracked", "weight_u", "weight_v")
    entries = [e for e in fixture.manifest["state_dict"] if not e["name"].endswith((*buffers, "down.weight"))]
    return sum(math.prod(e["shape"]) for e in entries)


@pytest.mark.parametrize("config", [TINY, dataclasses.replace(TINY, affine="network"), EQUATION_3])
@pytest.mark.parametrize("kind", ["multi-scale", "plain", "spade"])
def test_every_weight_gets_a_gradient(config: Config, kind: str) -> None:
    generator = config.generator
    if kind != "multi-scale":
        generator = GeneratorConfig(kind=kind, resblocks=1, spade=(16, 16, 8, 8), hidden=8)  # type: ignore[arg-type]
    config = dataclasses.replace(config, generator=generator)
    torch.manual_seed(0)
    model = Mmfa(config)
    source, driving = torch.rand(2, 2, 3, 64, 64)
    pose = Pose(torch.eye(3).expand(2, 3, 3), torch.full((2,), 0.5), torch.zeros(2, 2))
    canonical = model.canonical(source)
    motions = [model.motion(image, pose) for image in (source, driving)]
    keypoints = [model.keypoints(canonical, motion) for motion in motions]
    made = model.generate(model.appearance(source), *keypoints, motions[0].pose, motions[1].pose)
    sizes = [16, 32, 64] if kind == "multi-scale" else [64]
    assert {size: tuple(x.shape) for size, x in made.pictures.items()} == {s: (2, 3, s, s) for s in sizes}
    assert 0 <= float(made.picture.detach().min()) <= float(made.picture.detach().max()) <= 1
    sum((picture * torch.rand_like(picture)).sum() for picture in made.pictures.values()).backward()  # type: ignore[union-attr]
    trained_later = "vae."  # its own stage
    assert [n for n, p in model.named_parameters() if p.grad is None and not n.startswith(trained_later)] == []


def test_equation_5_needs_the_tracked_rotation() -> None:
    with pytest.raises(ValueError, match="tracker's pose"):
        Mmfa(TINY).motion(torch.rand(1, 3, 64, 64))


def test_discriminator_gives_features_for_matching() -> None:
    net = Discriminator(TINY.discriminator)
    features, logits = net(torch.rand(2, 3, 64, 64))
    assert [f.shape[1] for f in features] == list(TINY.discriminator)
    assert logits.shape[:2] == (2, 1)
    (logits.mean() + sum(f.mean() for f in features)).backward()
    assert all(p.grad is not None for p in net.parameters())
