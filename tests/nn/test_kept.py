"""Optimisations on the disk: what was kept comes back, what is damaged is gone, the oldest go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from portrayal.errors import InputError
from portrayal.nn.kept import KeptFile, digest_of, forget_oldest, learned_tensors, restore_learned


def steps(value: torch.Tensor, optimizer: torch.optim.Optimizer, count: int) -> None:
    for _ in range(count):
        value.grad = value.detach() - 1
        optimizer.step()


def test_adam_goes_on_where_it_was(tmp_path: Path) -> None:
    runs = []
    for _ in range(2):
        value = torch.zeros(3, requires_grad=True)
        runs.append((value, torch.optim.Adam([value], lr=0.1)))
    (one, first), (other, second) = runs
    steps(one, first, 3)
    file = KeptFile(tmp_path / "new", "a.safetensors")
    file.write(learned_tensors({"x": one}, first), {"step": "3"})
    steps(one, first, 2)
    tensors, about = file.read() or ({}, {})
    restore_learned({"x": other}, second, tensors, int(about["step"]))
    steps(other, second, 2)
    assert torch.equal(one, other)


def test_all_comes_back_or_nothing() -> None:
    values = {"x": torch.zeros(3, requires_grad=True), "y": torch.zeros(2, requires_grad=True)}
    optimizer = torch.optim.Adam(values.values())
    kept = {"weight.x": torch.ones(3), "weight.y": torch.ones(3)}
    with pytest.raises(ValueError, match=r"there is no weight\.y of \(2,\)"):
        restore_learned(values, optimizer, kept, 1)
    assert float(values["x"].detach().sum()) == 0


def test_a_damaged_file_is_removed_and_no_folder_keeps_nothing(tmp_path: Path) -> None:
    file = KeptFile(tmp_path, "a.safetensors")
    assert file.read() is None
    (tmp_path / "a.safetensors").write_bytes(b"cut off")
    assert file.read() is None
    assert not (tmp_path / "a.safetensors").exists()
    nowhere = KeptFile(None, "a.safetensors")
    nowhere.write({"x": torch.zeros(1)}, {})
    assert nowhere.read() is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        KeptFile(tmp_path / "file", "a.safetensors").write({"x": torch.zeros(1)}, {})


def test_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portrayal.nn.kept.KEPT", 2)
    for age, name in enumerate("cab"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"")
        os.utime(tmp_path / f"{name}.safetensors", (age, age))
    forget_oldest(tmp_path)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_digest_changes_with_names_shapes_values_and_words() -> None:
    x = torch.zeros(4)
    digests = {
        digest_of({"rate": 1}, {"x": x}),
        digest_of({"rate": 2}, {"x": x}),
        digest_of({"rate": 1}, {"y": x}),
        digest_of({"rate": 1}, {"x": x.view(2, 2)}),
        digest_of({"rate": 1}, {"x": x + 1}),
    }
    assert len(digests) == 5
    assert digest_of({"a": 1, "b": 2}, {}) == digest_of({"b": 2, "a": 1}, {})
