"""Values of tensors are joined, picked from and moved in all their fields."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from portrayal.types import Driving, FaceParams, join_drivings, move, own_fields
from tests.systems.conftest import mean_params


@dataclass(frozen=True)
class Coded(Driving):
    codes: Tensor
    """(t, 4)"""


def coded(count: int, start: int = 0) -> Coded:
    numbers = torch.arange(start, start + count, dtype=torch.float32)
    params = mean_params(96)[[0] * count]
    times = tuple(Fraction(i, 25) for i in range(start, start + count))
    return Coded(params.replace(scale=numbers + 1), times, numbers[:, None].expand(-1, 4).clone())


def same(a: Coded, b: Coded) -> bool:
    return a.times == b.times and torch.equal(a.codes, b.codes) and torch.equal(a.params.scale, b.params.scale)


def test_own_fields_are_those_a_system_adds() -> None:
    assert own_fields(Driving) == []
    assert own_fields(Coded) == ["codes"]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_pieces_join_to_the_whole(lengths: list[int]) -> None:
    whole = coded(sum(lengths))
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    parts = [whole[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    joined = join_drivings(parts)
    assert isinstance(joined, Coded)
    assert same(joined, whole)


def test_frames_are_picked_from_every_field_and_may_repeat() -> None:
    picked = coded(5).pick([3, 1, 1])
    assert picked.times == (Fraction(3, 25), Fraction(1, 25), Fraction(1, 25))
    assert picked.codes[:, 0].tolist() == [3, 1, 1]
    assert picked.params.scale.tolist() == [4, 2, 2]


def test_moving_reaches_every_tensor_and_changes_nothing_else() -> None:
    value = {"a": [coded(2), ("text", torch.ones(2))], "b": 3}
    moved = move(value, "meta")
    driving, (text, tensor) = moved["a"]  # type: ignore[misc]
    assert isinstance(driving, Coded)
    assert isinstance(driving.params, FaceParams)
    assert driving.codes.is_meta
    assert driving.params.camera.is_meta
    assert tensor.is_meta
    assert (text, moved["b"]) == ("text", 3)
    here = coded(2)
    assert move(here, "cpu") is here
