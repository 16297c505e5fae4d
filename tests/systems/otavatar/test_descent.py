"""Optimisations that are watched: growth is divergence where asked, an interrupted one gives what a whole one does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from portrayal.nn.kept import KeptFile
from portrayal.systems.otavatar.descent import Descent, Watch, descend


def start(rate: float) -> Descent:
    value = torch.zeros(3, requires_grad=True)
    return Descent({"value": value}, torch.optim.Adam([value], lr=rate), limited=[value], clip=1.0)


def bowl(learned: Mapping[str, Tensor], step: int) -> Tensor:
    return (learned["value"] - torch.tensor([1.0, -2.0, 3.0])).square().sum()


def found(watch: Watch, steps: int = 12, rate: float = 0.1) -> Descent:
    descent = descend(start, bowl, rate=rate, steps=steps, watch=watch)
    assert descent is not None
    return descent


def test_growth_is_divergence_where_asked() -> None:
    """Steps of 8 jump over the bowl; a tenth of that goes down into it."""
    assert found(Watch(), steps=2, rate=8.0).losses[-1] > 14
    slower = found(Watch(must_gain=True), steps=2, rate=8.0)
    assert slower.losses[-1] < slower.losses[0] == 14
    assert descend(start, bowl, rate=800.0, steps=2, watch=Watch(must_gain=True)) is None


def test_losses_of_other_terms_are_not_compared() -> None:
    def with_more(learned: Mapping[str, Tensor], step: int) -> Tensor:
        return bowl(learned, step) + (100 if step >= 3 else 0)

    watch = Watch(must_gain=True, comparable=3)
    assert descend(start, with_more, rate=0.1, steps=5, watch=watch) is not None
    assert descend(start, with_more, rate=0.1, steps=5, watch=replace(watch, comparable=None)) is None


@pytest.mark.parametrize("rate", [0.1, 8.0])
def test_an_interrupted_one_goes_on_with_the_attempt_it_was_in(tmp_path: Path, rate: float) -> None:
    calls: list[int] = []

    def watch(stop: int | None) -> Watch:
        def told(done: int, steps: int, loss: float) -> None:
            calls.append(done)
            if len(calls) == stop:
                raise KeyboardInterrupt

        return Watch(
            told, must_gain=True, comparable=2, part=KeptFile(tmp_path, "part.safetensors"), save_every_steps=2
        )

    whole = found(replace(watch(None), part=KeptFile(None, "")), rate=rate)
    taken, calls[:] = len(calls), []
    with pytest.raises(KeyboardInterrupt):
        found(watch(taken - 1), rate=rate)
    calls.clear()
    rest = found(watch(None), rate=rate)
    assert calls == [11, 12]
    assert torch.equal(rest.learned["value"], whole.learned["value"])
    assert rest.losses == whole.losses


def test_what_was_kept_of_something_else_is_not_taken(tmp_path: Path) -> None:
    part = KeptFile(tmp_path, "part.safetensors")
    part.write({"weight.value": torch.zeros(4), "losses": torch.zeros(3)}, {"attempt": "0"})
    assert len(found(Watch(part=part)).losses) == 12
