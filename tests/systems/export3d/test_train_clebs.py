"""The stage clebs: what it teaches, exact resume, preview, validation, weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from portrayal.errors import InputError
from portrayal.systems.export3d import train_clebs
from portrayal.systems.export3d.config import Config
from portrayal.systems.export3d.train_clebs import STAGE
from portrayal.train.loop import train
from portrayal.train.state import TrainState

TINY = STAGE.configure(Config.tiny())


class Stop(Exception):
    pass


def start(config: Config) -> TrainState:
    torch.manual_seed(0)
    networks, averaged = (nn.ModuleDict(STAGE.networks(config)) for _ in range(2))
    averaged.load_state_dict(networks.state_dict())
    return TrainState(networks, averaged.eval(), STAGE.optimizers(networks, config))


@pytest.fixture(scope="module")
def batch(clips):
    data = STAGE.dataset(clips, TINY, 0, 2)
    return STAGE.collate([data[0], data[1]])


def test_the_paper_trains_33_frames_of_8_clips():
    paper = STAGE.configure(Config.paper())
    assert (paper.batch, paper.steps, 1 + paper.clebs.negatives) == (8, 60_000, 33)


def test_both_encoders_learn_to_find_each_others_frame(batch):
    state = start(TINY)
    before = {name: p.detach().clone() for name, p in state.networks.named_parameters()}
    seen = [STAGE.train_step(state, batch, TINY) for _ in range(60)]
    assert not [name for name, p in state.networks.named_parameters() if torch.equal(p, before[name])]
    assert seen[-1]["contrastive"] < seen[0]["contrastive"] - 2
    assert seen[-1]["accuracy"] > 0.9 > 0.6 > seen[0]["accuracy"]
    basis = state.networks["expression"].basis()
    torch.testing.assert_close(basis @ basis.mT, torch.eye(10), atol=1e-5, rtol=0)


def test_the_usual_objective_and_gaze_train_too(batch):
    config = replace(TINY, clebs=replace(TINY.clebs, objective="info-nce", gaze=True))
    state = start(config)
    seen = [float(STAGE.train_step(state, batch, config)["contrastive"]) for _ in range(20)]
    assert all(value > 0 for value in seen)
    assert seen[-1] < seen[0]
    assert state.networks["expression"].layers[0].weight.grad is None  # forgotten after the step
    moved = dict(batch, gaze=batch["gaze"] + 0.3)
    with torch.no_grad():
        shift = (
            train_clebs.encode(state.networks, moved, config)[0] - train_clebs.encode(state.networks, batch, config)[0]
        )
    assert shift.abs().max() > 1e-3


def test_an_interrupted_run_gives_the_same_weights(options):
    config = replace(TINY, steps=7)

    def step(state, batch, config):
        if state.step == 6:
            raise Stop
        return STAGE.train_step(state, batch, config)

    whole = load_file(train(STAGE, config, options("whole")))
    with pytest.raises(Stop):
        train(replace(STAGE, train_step=step), config, options("parts"))
    parts = load_file(train(STAGE, config, options("parts")))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert bool(whole["expression.pretrained"])


def test_preview_shows_frames_and_cosines(batch):
    state = start(TINY)
    sheet = STAGE.preview(state, batch, TINY)
    n, cell = 6, train_clebs.CELL
    assert sheet.shape == ((1 + n) * cell, n * cell, 3)
    with torch.no_grad():
        f_e, f_i = train_clebs.encode(state.averaged, {k: v[:1] for k, v in batch.items()}, TINY)
    cosine = torch.cosine_similarity(f_e[0, 2], f_i[0, 4], 0)
    assert np.allclose(sheet[3 * cell + 5, 4 * cell + 5], float((cosine + 1) / 2 * 255), atol=1)
    first = batch["pictures"][0, 0].float().mean((1, 2))
    assert np.allclose(sheet[:cell, :cell].mean((0, 1)), first.numpy(), atol=1)


def test_validation_looks_at_held_out_clips(clips, batch):
    state = start(TINY)
    identities = {int(sample["identity"]) for sample in train_clebs.held_out(clips, TINY)}
    numbers = STAGE.validate(state, TINY, clips)
    assert identities == {0}  # the only validation identity
    assert set(numbers) == {"loss", "accuracy"}
    assert 0 <= numbers["accuracy"] <= 1
    assert STAGE.preview_batch(clips, TINY)["pictures"].shape == (1, 6, 3, 64, 64)
    long = replace(TINY, clebs=replace(TINY.clebs, negatives=12))
    with pytest.raises(InputError, match="no train clip has 13 frames"):
        STAGE.validate(state, long, clips)


def test_weights_go_through_a_file(tmp_path, batch):
    state, other = start(TINY), start(TINY)
    for _ in range(3):
        STAGE.train_step(state, batch, TINY)
    state.averaged.load_state_dict(state.networks.state_dict())
    path = tmp_path / "clebs.safetensors"
    STAGE.save_weights(path, state, TINY, {})
    STAGE.load_weights(path, other)
    for modules in (other.networks, other.averaged):
        assert bool(modules["expression"].pretrained)
        for name, value in state.averaged.state_dict().items():
            torch.testing.assert_close(modules.state_dict()[name], value, atol=2e-3, rtol=2e-3)
    wide = start(replace(TINY, clebs=replace(TINY.clebs, hidden=8)))
    with pytest.raises(InputError, match=r"does not fit the stage clebs .* expression\.layers\.0\.weight is"):
        STAGE.load_weights(path, wide)


def test_faces_alone_are_cut_out_and_vary_in_training_only(clips):
    config = replace(TINY, clebs=replace(TINY.clebs, close=True))
    (sample,) = [STAGE.dataset(clips, config, 0, 1)[0]]
    size = TINY.clebs.image_size
    assert sample["pictures"].shape[-1] == train_clebs.CLOSER * size
    pictures, camera = sample["pictures"].float() / 255, sample["camera"]
    still = [train_clebs.cut_out(pictures, camera, config, varied=False) for _ in range(2)]
    varied = train_clebs.cut_out(pictures, camera, config, varied=True)
    assert still[0].shape == (len(pictures), 3, size, size)
    assert torch.equal(*still)
    assert (varied - still[0]).abs().max() > 0.01
