"""Pivotal tuning: the picture comes nearer, codes around stay, early stop, cache and resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from portrayal.errors import InputError
from portrayal.nn.stylegan2 import Generator
from portrayal.systems.directions.config import Config
from portrayal.systems.directions.features import Perceptual
from portrayal.systems.directions.parts import build_generator
from portrayal.systems.directions.tuning import Tuned, tune, tuning_key
from tests.systems.directions.training import Maps

TINY = Config.tiny()


@pytest.fixture(scope="module")
def perceptual() -> Perceptual:
    return Perceptual(Maps())


@pytest.fixture(scope="module")
def case() -> tuple[Generator, Tensor, Tensor]:
    """Generator, a picture it does not make, and the pivot."""
    torch.manual_seed(0)
    generator = build_generator(TINY).requires_grad_(False)
    pivot = generator.broadcast(generator.mapping(torch.randn(1, 32))).clone()
    picture = generator.synthesis(pivot) * 0.5 + 0.3
    return generator, picture, pivot


def weights(tuned: Tuned) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tuned.generator.state_dict().items()}


def test_the_picture_comes_nearer(case: tuple[Generator, Tensor, Tensor], perceptual: Perceptual) -> None:
    generator, picture, pivot = case
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    seen: list[tuple[int, int, float]] = []
    tuned = tune(generator, picture, pivot, TINY.tuning, perceptual, progress=lambda *now: seen.append(now))
    assert [step for step, _, _ in seen] == list(range(1, 13))
    assert {steps for _, steps, _ in seen} == {12}
    assert tuned.distance < 0.7 * seen[0][2]
    assert tuned.steps == 12
    with torch.no_grad():
        made = tuned.generator.synthesis(pivot)
        assert float((made - picture).square().mean()) < 0.7 * float(
            (generator.synthesis(pivot) - picture).square().mean()
        )
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    after = weights(tuned)
    assert all(torch.equal(before[n], after[n]) for n in before if n.startswith("mapping"))
    assert any(not torch.equal(before[n], after[n]) for n in before if n.startswith("synthesis"))


def test_locality_holds_the_neighbours(case: tuple[Generator, Tensor, Tensor], perceptual: Perceptual) -> None:
    generator, picture, pivot = case
    torch.manual_seed(7)
    others = pivot + 0.3 * torch.randn(8, 1, 32)

    @torch.no_grad()
    def moved(locality: float) -> float:
        with torch.enable_grad():
            tuned = tune(generator, picture, pivot, replace(TINY.tuning, locality=locality), perceptual)
        return float((tuned.generator.synthesis(others) - generator.synthesis(others)).square().mean())

    assert moved(3.0) < 0.8 * moved(0.0)


def test_it_looks_at_another_neighbour_every_step(
    case: tuple[Generator, Tensor, Tensor], perceptual: Perceptual
) -> None:
    generator, picture, pivot = case
    seen: list[Tensor] = []
    hook = generator.synthesis.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    tune(generator, picture, pivot, TINY.tuning, perceptual)
    hook.remove()
    near = [w_plus for w_plus in seen if not torch.equal(w_plus, pivot)]
    assert len({bytes(w_plus.numpy()) for w_plus in near}) == TINY.tuning.steps
    for w_plus in near:
        assert float((w_plus - pivot).square().mean().sqrt()) == pytest.approx(TINY.tuning.radius, rel=1e-4)


def test_it_stops_when_it_is_near_enough(case: tuple[Generator, Tensor, Tensor], perceptual: Perceptual) -> None:
    generator, picture, pivot = case
    whole = tune(generator, picture, pivot, TINY.tuning, perceptual)
    first = tune(generator, picture, pivot, replace(TINY.tuning, steps=0), perceptual)
    enough = (whole.distance + first.distance) / 2
    early = tune(generator, picture, pivot, replace(TINY.tuning, enough=enough), perceptual)
    assert 0 < early.steps < 12
    assert early.distance <= enough
    assert first.steps == 0


def test_a_result_is_kept(case: tuple[Generator, Tensor, Tensor], perceptual: Perceptual, tmp_path: Path) -> None:
    generator, picture, pivot = case
    first = tune(generator, picture, pivot, TINY.tuning, perceptual, cache=tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [
        f"{tuning_key(generator, picture, pivot, TINY.tuning)}.safetensors"
    ]
    seen: list[tuple[int, int, float]] = []
    again = tune(
        generator, picture, pivot, TINY.tuning, perceptual, cache=tmp_path / "cache", progress=lambda *x: seen.append(x)
    )
    assert seen == [(12, 12, first.distance)]
    assert (again.steps, again.distance) == (first.steps, first.distance)
    mine, theirs = weights(first), weights(again)
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    damaged = next((tmp_path / "cache").iterdir())
    damaged.write_bytes(b"cut off")
    assert tune(generator, picture, pivot, TINY.tuning, perceptual, cache=tmp_path / "cache").distance == first.distance


def test_an_interrupted_tuning_goes_on(
    case: tuple[Generator, Tensor, Tensor], perceptual: Perceptual, tmp_path: Path
) -> None:
    generator, picture, pivot = case
    whole = tune(generator, picture, pivot, TINY.tuning, perceptual)

    def stop(step: int, steps: int, distance: float) -> None:
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(generator, picture, pivot, TINY.tuning, perceptual, cache=tmp_path, progress=stop)
    assert [p.name.endswith(".part.safetensors") for p in tmp_path.iterdir()] == [True]
    seen: list[int] = []
    rest = tune(
        generator, picture, pivot, TINY.tuning, perceptual, cache=tmp_path, progress=lambda step, *_: seen.append(step)
    )
    assert seen == list(range(5, 13))
    mine, theirs = weights(whole), weights(rest)
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    assert not any(p.name.endswith(".part.safetensors") for p in tmp_path.iterdir())


def test_the_key_changes_with_everything(case: tuple[Generator, Tensor, Tensor]) -> None:
    generator, picture, pivot = case
    torch.manual_seed(1)
    keys = {
        tuning_key(generator, picture, pivot, TINY.tuning),
        tuning_key(generator, picture + 0.01, pivot, TINY.tuning),
        tuning_key(generator, picture, pivot + 0.01, TINY.tuning),
        tuning_key(build_generator(TINY), picture, pivot, TINY.tuning),
        tuning_key(generator, picture, pivot, replace(TINY.tuning, steps=3)),
    }
    assert len(keys) == 5


def test_what_does_not_fit_is_explained(case: tuple[Generator, Tensor, Tensor], perceptual: Perceptual) -> None:
    generator, picture, pivot = case
    with pytest.raises(InputError, match=r"one picture \(1, 3, 32, 32\), got \(2, 3, 32, 32\)"):
        tune(generator, picture.expand(2, -1, -1, -1), pivot, TINY.tuning, perceptual)
    with pytest.raises(InputError, match="belong to different models"):
        tune(generator, picture, pivot[:, :4], TINY.tuning, perceptual)


def test_only_the_newest_results_are_kept(
    case: tuple[Generator, Tensor, Tensor], perceptual: Perceptual, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, picture, pivot = case
    monkeypatch.setattr("portrayal.nn.kept.KEPT", 2)
    config, names = replace(TINY.tuning, steps=1), []
    for factor in (1.0, 0.9, 0.8):
        tune(generator, factor * picture, pivot, config, perceptual, cache=tmp_path)
        names.append(f"{tuning_key(generator, factor * picture, pivot, config)}.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])
