"""The stages reconstruction and adversarial: what each teaches, exact resume, files, previews."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from portrayal.errors import InputError
from portrayal.systems.export3d import STAGES, train_clebs
from portrayal.systems.export3d import train as stages
from portrayal.systems.export3d.config import Config, LossConfig
from portrayal.systems.export3d.train import ADVERSARIAL, RECONSTRUCTION
from portrayal.train.loop import train
from portrayal.train.schedule import learning_rate_factor
from portrayal.train.stage import Stage
from portrayal.train.state import NotFiniteError, TrainState

TINY = Config.tiny()


class Stop(Exception):
    pass


def start(stage: Stage, config: Config = TINY) -> TrainState:
    """A state whose expression encoder and generator say that they are trained."""
    torch.manual_seed(0)
    networks, averaged = (nn.ModuleDict(stage.networks(config)) for _ in range(2))
    networks["model"].expression_encoder.pretrained.fill_(True)
    networks["model"].generator.mean_planes.fill_(0.01)
    averaged.load_state_dict(networks.state_dict())
    frozen = nn.ModuleDict(stage.frozen(config)).eval().requires_grad_(False)
    return TrainState(networks, averaged.eval(), stage.optimizers(networks, config), frozen)


@pytest.fixture(scope="module")
def batch(clips):
    data = RECONSTRUCTION.dataset(clips, TINY, 0, 2)
    return RECONSTRUCTION.collate([data[0], data[1]])


def moved(state: TrainState, step) -> set[str]:
    """Networks and their parts of which a parameter or buffer moves in the step."""
    before = {name: value.clone() for name, value in state.networks.state_dict().items()}
    step()
    changed = {name for name, value in state.networks.state_dict().items() if not torch.equal(value, before[name])}
    return {".".join(n.split(".")[:2]) if n.startswith("model") else n.split(".")[0] for n in changed}


def test_the_papers_recipe():
    paper = Config.paper()
    assert (paper.batch, paper.steps, ADVERSARIAL.configure(paper).steps) == (8, 300_000, 10_000)
    assert (paper.learning_rate, paper.discriminator_learning_rate, paper.clebs.learning_rate) == (1e-4, 1e-5, 1e-4)
    for stage in STAGES.values():
        rates = [learning_rate_factor(stage.schedule(paper), step, 1000) for step in (0, 500, 999)]
        assert rates == [1, 1, 1]
    assert (paper.loss.reconstruction, paper.loss.adversarial, paper.loss.perceptual_network) == (1, 0.01, "lpips-vgg")


def test_reconstruction_trains_generator_and_renderer_but_not_clebs(batch):
    state, terms = start(RECONSTRUCTION), {}
    step = lambda: terms.update(RECONSTRUCTION.train_step(state, batch, TINY))  # noqa: E731
    assert moved(state, step) == {"model.generator", "model.renderer", "model.seen"}
    assert set(terms) == {"pixel", "raw_pixel", "features", "made", "landmarks", "psnr"}


def test_expression_gaze_and_camera_are_the_driving_frames(batch):
    config = replace(TINY, clebs=replace(TINY.clebs, gaze=True))
    state = start(RECONSTRUCTION, config)
    assert RECONSTRUCTION.train_step(state, batch, config)["pixel"].isfinite()
    model = state.networks["model"].eval()
    for block in model.generator.conditional:
        nn.init.normal_(block.norm1.scale_shift.weight)

    @torch.no_grad()
    def made(changed):
        return stages.reconstruct(model, stages.Pair.of(changed))[0].raw

    for name in ("expression", "gaze", "camera", "pictures"):
        # The source's camera tells where its background and its pixels are.
        for frame, matters in ((0, name in ("pictures", "camera")), (1, name != "pictures")):
            changed = batch[name].clone()
            changed[:, frame] = 0.9 * changed[:, frame] + 0.1
            same = torch.allclose(made(batch | {name: changed}), made(batch), atol=1e-6)
            assert same != matters, (name, frame)


def test_the_moving_average_follows_the_planes_before_the_sum(batch):
    state = start(RECONSTRUCTION)
    model = state.networks["model"]
    with torch.no_grad():
        _, planes = stages.reconstruct(model, stages.Pair.of(batch))
        expected = 0.9 * model.generator.mean_planes + 0.1 * planes.mean(0)
    RECONSTRUCTION.train_step(state, batch, TINY)
    torch.testing.assert_close(model.generator.mean_planes, expected, atol=1e-6, rtol=1e-4)


def test_the_moving_average_steps_once_for_all_parts_of_a_batch(batch):
    state = start(RECONSTRUCTION)
    before = state.networks["model"].generator.mean_planes.clone()
    state.gradients.parts = 2
    RECONSTRUCTION.train_step(state, batch, TINY)
    assert torch.equal(state.networks["model"].generator.mean_planes, before)
    state.gradients.part = 1
    RECONSTRUCTION.train_step(state, batch, TINY)
    assert not torch.equal(state.networks["model"].generator.mean_planes, before)


def test_it_learns_the_driving_frame_by_heart(batch):
    state = start(RECONSTRUCTION)
    seen = [RECONSTRUCTION.train_step(state, batch, TINY) for _ in range(60)]
    assert seen[-1]["psnr"] > seen[0]["psnr"] + 4
    assert seen[-1]["raw_pixel"] < 0.5 * seen[0]["raw_pixel"]


def test_the_tracker_as_perceptual_network(batch):
    config = replace(TINY, loss=LossConfig(perceptual_network="tracker"))
    state = start(RECONSTRUCTION, config)
    terms = RECONSTRUCTION.train_step(state, batch, config)
    assert set(terms) == {"pixel", "raw_pixel", "perceptual", "raw_perceptual", "psnr"}
    assert all(bool(term.isfinite()) for term in terms.values())


def test_the_adversarial_stage_trains_the_discriminator_too(batch):
    state, terms = start(ADVERSARIAL), {}
    step = lambda: terms.update(ADVERSARIAL.train_step(state, batch, TINY))  # noqa: E731
    assert moved(state, step) == {"model.generator", "model.renderer", "model.seen", "discriminator"}
    assert set(terms) == {"pixel", "raw_pixel", "features", "made", "landmarks", "adversarial", "discriminator", "psnr"}
    # Binary cross-entropy of logits, as torch has it.
    logits = torch.tensor([0.3, -2.0])
    by_torch = nn.functional.binary_cross_entropy_with_logits(logits, torch.ones(2))
    torch.testing.assert_close(stages.generator_loss(logits), by_torch)


def test_the_discriminator_tells_a_generator_that_does_not_learn(batch):
    config = replace(TINY, learning_rate=0.0, discriminator_learning_rate=3e-3)
    state = start(ADVERSARIAL, config)
    seen = [ADVERSARIAL.train_step(state, batch, config) for _ in range(30)]
    assert seen[0]["discriminator"] > 1  # 2 log 2 = 1.39 is guessing
    assert seen[-1]["discriminator"] < 0.5
    assert seen[-1]["adversarial"] > seen[0]["adversarial"] + 0.5


def test_half_precision_leaves_planes_and_rendering_in_float32(batch):
    state = start(ADVERSARIAL)
    model, pair = state.averaged["model"], stages.Pair.of(batch)
    with torch.no_grad():
        exact = stages.reconstruct(model, pair)[0]
        with torch.autocast("cpu", torch.bfloat16):
            view, planes = stages.reconstruct(model, pair)
            rendered = model.renderer.march(planes, pair.camera).colour
    assert {x.dtype for x in (view.raw, view.picture, view.depth, planes, rendered)} == {torch.float32}
    assert (view.picture - exact.picture).abs().max() < 0.05
    with torch.autocast("cpu", torch.bfloat16):
        terms = ADVERSARIAL.train_step(state, batch, TINY)
    assert all(bool(term.isfinite()) for term in terms.values())


def test_the_discriminator_knows_the_camera(batch):
    discriminator = start(ADVERSARIAL).networks["discriminator"]
    pair = stages.Pair.of(batch)
    turned = pair.camera.roll(1, 0) + 0.1
    assert not torch.allclose(discriminator(pair.driving, pair.camera), discriminator(pair.driving, turned))


def test_equation_12():
    terms = {name: torch.tensor(value) for name, value in zip("abcd", (1.0, 2.0, 3.0, 4.0), strict=True)}
    named = dict(zip(("raw_pixel", "pixel", "raw_perceptual", "perceptual"), terms.values(), strict=True))
    assert stages.weighted(named, Config.paper()).item() == 10
    assert stages.weighted(named | {"adversarial": torch.tensor(5.0)}, Config.paper()).item() == pytest.approx(10.05)
    heavier = replace(TINY, loss=LossConfig(reconstruction=2, pixel=0.5, adversarial=1))
    assert stages.weighted(named | {"adversarial": torch.tensor(5.0)}, heavier).item() == 2 * 9 + 5


def test_untrained_parts_are_explained(batch):
    state = start(RECONSTRUCTION)
    state.networks["model"].expression_encoder.pretrained.fill_(False)
    with pytest.raises(InputError, match="give the weights file of the stage clebs with --init"):
        RECONSTRUCTION.train_step(state, batch, TINY)
    state = start(ADVERSARIAL)
    state.networks["model"].generator.mean_planes.zero_()
    with pytest.raises(InputError, match="give the weights file of the stage reconstruction with --init"):
        ADVERSARIAL.train_step(state, batch, TINY)


def test_a_loss_that_is_not_finite_teaches_nothing(batch):
    state = start(RECONSTRUCTION)
    bad = batch | {"camera": batch["camera"] * float("nan")}

    def step():
        with pytest.raises(NotFiniteError):
            RECONSTRUCTION.train_step(state, bad, TINY)

    assert moved(state, step) == set()


def test_the_three_stages_go_on_from_each_others_files(options):
    """Each in a run that is interrupted and resumed; the same weights as without."""
    given = None
    for name, stage in (("clebs", train_clebs.STAGE), ("reconstruction", RECONSTRUCTION), ("adversarial", ADVERSARIAL)):
        config = replace(stage.configure(TINY), steps=3)

        def stop(state, batch, config, stage=stage):
            if state.step == 2:
                raise Stop
            return stage.train_step(state, batch, config)

        files = []
        for kind in ("whole", "parts"):
            run = options(f"{name}-{kind}", init=given, save_every_steps=2)
            if kind == "parts":
                with pytest.raises(Stop):
                    train(replace(stage, train_step=stop), config, run)
            files.append(train(stage, config, run))
        whole, parts = map(load_file, files)
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[key], parts[key]) for key in whole), name
        if name == "reconstruction":
            before = load_file(given)
            kept = {key: x for key, x in whole.items() if key.startswith("expression_encoder.")}
            assert len(kept) == 6
            for key, x in kept.items():
                assert torch.equal(x, before[key.replace("expression_encoder.", "expression.")]), key
        given = files[0]
    assert not any(key.startswith("discriminator") for key in whole)


def test_a_file_that_does_not_fit_is_explained(tmp_path):
    narrow = replace(TINY, clebs=replace(TINY.clebs, hidden=8))
    path = tmp_path / "model.safetensors"
    RECONSTRUCTION.save_weights(path, start(RECONSTRUCTION, narrow), narrow, {})
    with pytest.raises(InputError, match=r"does not fit this preset of export3d: its tensor expression_encoder"):
        RECONSTRUCTION.load_weights(path, start(RECONSTRUCTION))


def test_preview_and_validation(clips, batch):
    state = start(RECONSTRUCTION)
    sheet = RECONSTRUCTION.preview(state, batch, TINY)
    assert sheet.shape == (5 * 64, 2 * 64, 3)
    for row in range(2):  # source, driving
        assert np.array_equal(sheet[64 * row : 64 * row + 64, :64], batch["pictures"][0, row].permute(1, 2, 0).numpy())
    numbers = RECONSTRUCTION.validate(state, TINY, clips)
    assert set(numbers) == {"loss", "psnr"}
    assert set(stages.held_out(clips, TINY, 4)["identity"].tolist()) == {0}
    state.averaged["model"].generator.mean_planes.add_(3)
    assert RECONSTRUCTION.validate(state, TINY, clips) != numbers
