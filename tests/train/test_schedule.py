import dataclasses
import math

import pytest

from portrayal.train.loop import train
from portrayal.train.schedule import Schedule, learning_rate_factor
from tests.train.conftest import metrics
from tests.train.toy import STAGE, Config


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        (Schedule(), 0, 0.01),
        (Schedule(), 99, 0.5 * (1 + math.cos(math.pi * 0.099))),
        (Schedule(), 500, 0.5),
        (Schedule("constant", warmup_steps=0), 0, 1.0),
        (Schedule("constant"), 999, 1.0),
        (Schedule("milestones", warmup_steps=0, milestones=(300, 600)), 299, 1.0),
        (Schedule("milestones", warmup_steps=0, milestones=(300, 600)), 300, 0.1),
        (Schedule("milestones", warmup_steps=0, milestones=(300, 600), factor=0.5), 600, 0.25),
    ],
)
def test_factor(schedule, step, factor):
    assert learning_rate_factor(schedule, step, 1000) == pytest.approx(factor)


@pytest.mark.parametrize("wrong", [{"kind": "milestones"}, {"kind": "cosine", "milestones": (3,)}])
def test_milestones_belong_to_their_kind(wrong):
    with pytest.raises(ValueError, match="milestones"):
        Schedule(**wrong)


def test_a_stage_chooses_its_schedule(options):
    """Each optimizer keeps its own greatest rate, also after a resume."""

    def optimizers(modules, config):
        found = STAGE.optimizers(modules, config)
        found["discriminator"].param_groups[0]["lr"] *= 4
        return found

    def interrupted(state, batch, config):
        if state.step == 4:
            raise KeyboardInterrupt
        return STAGE.train_step(state, batch, config)

    schedule = Schedule("milestones", warmup_steps=2, milestones=(3,))
    stage = dataclasses.replace(STAGE, schedule=lambda config: schedule, optimizers=optimizers)
    with pytest.raises(KeyboardInterrupt):
        train(dataclasses.replace(stage, train_step=interrupted), Config(steps=6), options(save_every_steps=4))
    train(stage, Config(steps=6), options(save_every_steps=4))
    lines = metrics(options().out)
    rates = [0.005, 0.01, 0.01, 0.001, 0.001, 0.001]
    assert [line["learning_rate/generator"] for line in lines] == pytest.approx(rates)
    assert [line["learning_rate/discriminator"] for line in lines] == pytest.approx([4 * r for r in rates])
