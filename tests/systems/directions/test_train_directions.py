"""The stages of the matrix A: cases, terms, what learns, ranges, resume, files. Net_3D is a cheap stand-in here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from portrayal.errors import InputError
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.pose import angles_to_rotation, head_to_picture
from portrayal.nn.mobilefacenet import ALIGNED_POINTS, INPUT_SIZE, MobileFaceNet
from portrayal.systems.directions import train_directions as directions
from portrayal.systems.directions import train_encoder
from portrayal.systems.directions.ablations import load_shared
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.faces import as_input
from portrayal.systems.directions.features import Identity, Perceptual
from portrayal.train.checkpoint import latest_checkpoint
from portrayal.train.loop import RunOptions, train
from portrayal.train.stage import Batch, Stage
from portrayal.train.state import TrainState
from portrayal.types import FaceParams
from tests.data.made_faces import make_folder
from tests.systems.directions.training import Maps, changed, start, values

STAGES = {"synthetic": directions.SYNTHETIC, "mixed": directions.MIXED, "paired": directions.PAIRED}


class ColoursAsPose(nn.Module):
    """A face whose pose and expression are linear in the mean colours of the picture's cells."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(4)
        self.to_angles = nn.Parameter(torch.randn(48, 3, generator=draw) * 0.3)
        self.to_expression = nn.Parameter(torch.randn(48, 64, generator=draw) * 0.5)

    def forward(self, images: Tensor) -> FaceParams:
        cells = nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)
        model, side = load_face_model(), images.shape[-1]
        shape = model.shape(torch.zeros(len(images), 80), cells @ self.to_expression)
        rotation = angles_to_rotation(cells @ self.to_angles)
        scale = torch.full((len(images),), side / 4)
        points = head_to_picture(shape, scale, rotation, torch.full((len(images), 3), side / 2))
        return fit_params(model, points, width=side, height=side, shared_identity=False)


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directions, "Net3d", ColoursAsPose)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data") / "faces")


def tiny(name: str) -> Config:
    return Config.tiny().of_stage(name)  # type: ignore[arg-type]


def batch_of(stage: Stage, config: Config, folder: Path) -> Batch:
    data = stage.dataset(folder, config, 0, 4)
    return stage.collate([data[i] for i in range(4)])  # type: ignore[index]


@pytest.mark.parametrize("name", STAGES)
def test_only_the_matrix_learns(name: str, folder: Path) -> None:
    stage, config = STAGES[name], tiny(name)
    state, batch = start(stage, config), batch_of(stage, config, folder)
    before = values(state)
    terms = stage.train_step(state, batch, config)
    assert set(terms) == {"shape", "eye", "mouth"} | ({"pixel"} if name == "paired" else set())
    assert all(bool(term.isfinite()) and not term.requires_grad for term in terms.values())
    assert changed(state, before) == {"matrix.linear.weight"}
    buffers = {n for n, x in values(state).items() if not torch.equal(x, before[n])} - {"matrix.linear.weight"}
    assert buffers == {"poses.ranges"}, "batch norm of the encoder stays too"


def test_every_term_of_equation_3(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    made = Identity(MobileFaceNet(), size=INPUT_SIZE, places=ALIGNED_POINTS)
    monkeypatch.setattr(directions, "load_identity", lambda name: made)
    monkeypatch.setattr(directions, "load_perceptual", lambda name: Perceptual(Maps()))
    config = tiny("synthetic")
    config = replace(config, reenactment=replace(config.reenactment, identity=1, perceptual=1))
    state = start(directions.SYNTHETIC, config)
    terms = directions.SYNTHETIC.train_step(state, batch_of(directions.SYNTHETIC, config, folder), config)
    assert set(terms) == {"shape", "eye", "mouth", "identity", "perceptual"}
    assert all(float(term) > 0 for term in terms.values())


def test_nothing_is_lost_where_nothing_moves(folder: Path) -> None:
    """Delta p = 0 gives the source back, and S_gt is its own shape."""
    config = tiny("synthetic")
    state = start(directions.SYNTHETIC, config)
    directions.poses_of(state.networks).ranges.copy_(torch.tensor([[-1.5, 1.5]] * 15))
    case = directions.synthetic_cases(state, batch_of(directions.SYNTHETIC, config, folder), config)
    still = replace(case, change=torch.zeros_like(case.change))
    with torch.no_grad():
        assert all(float(t) < 1e-4 for t in directions.reenacted_terms(state, still, config).values())
        assert all(float(t) > 1e-4 for t in directions.reenacted_terms(state, case, config).values())


def test_half_of_the_samples_move_one_attribute() -> None:
    torch.manual_seed(0)
    change = torch.full((4000, 15), 7.0)
    moved = directions.with_single_attributes(change, 6.0)
    single = (moved != 0).sum(1) == 1
    assert 0.46 < float(single.float().mean()) < 0.54
    assert torch.equal(moved[~single], change[~single])
    amounts = moved[single].sum(1)
    assert float(amounts.abs().max()) <= 6
    assert float(amounts.std()) == pytest.approx(12 / 12**0.5, rel=0.05)
    assert set(moved[single].nonzero()[:, 1].tolist()) == set(range(15))


def test_ranges_are_those_of_generated_pictures(folder: Path) -> None:
    config = tiny("synthetic")
    config = replace(config, reenactment=replace(config.reenactment, measured_pictures=300))
    state = start(directions.SYNTHETIC, config)
    generator, net = directions.generator_of(state.networks), directions.net3d_of(state)
    ranges = directions.measure_ranges(generator, net, config)
    assert torch.equal(ranges, directions.measure_ranges(generator, net, config))
    with torch.no_grad():
        fresh = generator.synthesis(directions.random_codes(generator, 100)) / 2 + 0.5
        p = directions.pose_vector(net(fresh), 12)
    inside = (p > ranges[:, 0]) & (p < ranges[:, 1])
    assert float(inside.float().mean()) > 0.93
    assert float((p.amax(0) - p.amin(0)).div(ranges[:, 1] - ranges[:, 0]).min()) > 0.5, "and no wider than needed"


def test_half_of_the_mixed_codes_are_inverted(folder: Path) -> None:
    config = tiny("mixed")
    state, batch = start(directions.MIXED, config), batch_of(directions.MIXED, config, folder)
    directions.poses_of(state.networks).ranges.copy_(torch.tensor([[-1.5, 1.5]] * 15))
    with torch.no_grad():
        case = directions.mixed_cases(state, batch, config)
        inverted = directions.encoder_of(state.networks)(as_input(batch["image"][:2]))
    assert torch.equal(case.w_plus[2:], inverted)
    assert torch.equal(case.w_plus[:2, 1:], case.w_plus[:2, :1].expand(-1, 7, -1)), "one w for all layers"


def test_an_inverted_picture_is_moved_to_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two pictures each is the other's target, so that their changes are opposite."""
    monkeypatch.setattr(directions, "with_single_attributes", lambda change, a: change)
    config = tiny("mixed")
    state, batch = start(directions.MIXED, config), batch_of(directions.MIXED, config, folder)
    directions.poses_of(state.networks).ranges.copy_(torch.tensor([[-1.5, 1.5]] * 15))
    with torch.no_grad():
        change = directions.mixed_cases(state, batch, config).change
    torch.testing.assert_close(change[2], -change[3], atol=1e-4, rtol=1e-3)
    assert float(change[2].abs().max()) > 1e-3


def test_of_a_pair_the_truth_is_compared_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directions, "load_perceptual", lambda name: Perceptual(Maps()))
    config = tiny("paired")
    config = replace(config, reenactment=replace(config.reenactment, perceptual=1))
    state, batch = start(directions.PAIRED, config), batch_of(directions.PAIRED, config, folder)
    directions.poses_of(state.networks).ranges.copy_(torch.tensor([[-0.1, 0.1]] * 15))
    with torch.no_grad():
        case = directions.paired_cases(state, batch, config)
        moved = directions.matrix_of(state.networks).move(case.w_plus, case.change)
        made = directions.generator_of(state.networks).synthesis(moved) / 2 + 0.5
        perfect = directions.reenacted_terms(state, replace(case, truth=made), config)
        real = directions.reenacted_terms(state, case, config)
    for name in ("perceptual", "pixel"):
        assert float(perfect[name]) < 1e-5 < float(real[name])


def test_pairs_are_moved_to_the_driving_face(folder: Path) -> None:
    config = tiny("paired")
    state, batch = start(directions.PAIRED, config), batch_of(directions.PAIRED, config, folder)
    directions.poses_of(state.networks).ranges.copy_(torch.tensor([[-2.0, 2.0]] * 15))
    net = directions.net3d_of(state)
    with torch.no_grad():
        case = directions.paired_cases(state, batch, config)
        target = directions.pose_vector(net(batch["driving_image"].float() / 255), 12)
    assert case.truth is not None
    torch.testing.assert_close(case.truth, batch["driving_image"].float() / 255)
    change = directions.poses_of(state.networks).unscaled(case.change, a=config.directions.scale)
    reached = directions.pose_vector(case.source, 12) + change
    torch.testing.assert_close(reached, target, atol=1e-4, rtol=1e-3)


def test_a_is_learned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sources and changes over and over: the shape comes nearer."""
    config = replace(tiny("synthetic"), learning_rate=0.003)
    state = start(directions.SYNTHETIC, config)
    batch, seen = batch_of(directions.SYNTHETIC, config, folder), []
    for _ in range(40):
        torch.manual_seed(8)
        seen.append(float(directions.SYNTHETIC.train_step(state, batch, config)["shape"]))
    assert seen[-1] < 0.8 * seen[0]


def test_stages_follow_each_other(folder: Path, tmp_path: Path) -> None:
    encoder = start(train_encoder.STAGE, tiny("encoder"))
    train_encoder.save_weights(tmp_path / "encoder.safetensors", encoder, tiny("encoder"), {})
    before = tmp_path / "encoder.safetensors"
    with pytest.raises(InputError, match="holds no matrix"):
        directions.PAIRED.load_weights(before, start(directions.PAIRED, tiny("paired")))
    for name in ("mixed", "paired"):
        stage, config = STAGES[name], tiny(name)
        state = start(stage, config)
        stage.load_weights(before, state)
        matrix = state.networks["matrix"].linear.weight.clone()  # type: ignore[union-attr, operator]
        stage.train_step(state, batch_of(stage, config, folder), config)
        state.average(0.5)
        before = tmp_path / f"{name}.safetensors"
        stage.save_weights(before, state, config, {})
    again = start(directions.PAIRED, tiny("paired"))
    directions.PAIRED.load_weights(before, again)
    for part in ("matrix", "poses", "encoder", "generator"):
        for key, value in state.averaged[part].state_dict().items():
            torch.testing.assert_close(again.networks[part].state_dict()[key], value, atol=2e-3, rtol=1e-3)
    assert not torch.equal(again.networks["matrix"].linear.weight, matrix)  # type: ignore[union-attr]
    row = start(directions.MIXED, tiny("mixed"))  # of an ablation, which shares all but A
    fresh = row.networks["matrix"].linear.weight.clone()  # type: ignore[union-attr, operator]
    load_shared(before, row)
    assert torch.equal(row.networks["matrix"].linear.weight, fresh)  # type: ignore[union-attr]
    for part in ("poses", "encoder", "generator"):
        for key, value in state.averaged[part].state_dict().items():
            torch.testing.assert_close(row.networks[part].state_dict()[key], value, atol=2e-3, rtol=1e-3)


def test_an_untrained_generator_is_refused(folder: Path) -> None:
    config = tiny("synthetic")
    state = start(directions.SYNTHETIC, config)
    state.networks["generator"].mapping.w_mean.zero_()  # type: ignore[operator, union-attr]
    with pytest.raises(InputError, match="needs a trained generator: give its weights file with --init"):
        directions.SYNTHETIC.train_step(state, batch_of(directions.SYNTHETIC, config, folder), config)


@pytest.mark.parametrize("name", STAGES)
def test_previews(name: str, folder: Path) -> None:
    stage, config = STAGES[name], tiny(name)
    state, batch = start(stage, config), batch_of(stage, config, folder)
    directions.poses_of(state.networks).ranges.copy_(torch.tensor([[-1.5, 1.5]] * 15))
    rows = 3 if name == "paired" else 2
    assert stage.preview(state, batch, config).shape == (rows * 32, 4 * 32, 3)


def test_validation_measures_how_pairs_follow(folder: Path) -> None:
    """A matrix of zeros leaves every source as it is; one that moves them changes the numbers."""
    config = tiny("paired")
    state = start(directions.PAIRED, config)
    directions.poses_of(state.networks).ranges.copy_(torch.tensor([[-1.5, 1.5]] * 15))
    weight = state.averaged["matrix"].linear.weight  # type: ignore[union-attr]
    moving = weight.clone()  # type: ignore[operator]
    weight.zero_()  # type: ignore[operator]
    still = directions.validate(state, config, folder)
    assert set(still) == {"pose", "still", "expression", "lips"}
    assert still["pose"] == pytest.approx(still["still"], rel=1e-3)
    assert still["pose"] > 0
    weight.copy_(moving)  # type: ignore[operator]
    assert directions.validate(state, config, folder)["pose"] != pytest.approx(still["still"], rel=1e-3)


def test_four_steps_equal_two_and_two_more(folder: Path, tmp_path: Path) -> None:
    """Bit for bit; the ranges are measured once and kept."""
    init = start(train_encoder.STAGE, tiny("encoder"))
    train_encoder.save_weights(tmp_path / "init.safetensors", init, tiny("encoder"), {})
    config, stage = replace(tiny("mixed"), steps=4), directions.MIXED
    quick = {"data": folder, "device": "cpu", "precision": "32-true", "workers": 0, "save_every_steps": 2}
    quick |= {"init": tmp_path / "init.safetensors"}

    class Stop(Exception):
        pass

    def stop_after_two(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
        if state.step == 2:
            raise Stop
        return stage.train_step(state, batch, config)

    train(stage, config, RunOptions(out=tmp_path / "whole", **quick))  # type: ignore[arg-type]
    with pytest.raises(Stop):
        train(replace(stage, train_step=stop_after_two), config, RunOptions(out=tmp_path / "parts", **quick))  # type: ignore[arg-type]
    train(stage, config, RunOptions(out=tmp_path / "parts", **quick))  # type: ignore[arg-type]
    ends = []
    for run in ("whole", "parts"):
        checkpoint = latest_checkpoint(tmp_path / run)
        assert checkpoint is not None
        ends.append(torch.load(checkpoint / "state.pt", weights_only=True)["networks"])
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    assert float(ends[0]["poses.ranges"].abs().max()) != 1, "measured"
