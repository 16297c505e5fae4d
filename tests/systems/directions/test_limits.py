"""What is kept of a change of expression that is too long."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portrayal.face.measure import mouth_openness
from portrayal.face.morphable import load_face_model
from portrayal.systems.directions.limits import (
    BEYOND,
    REACH,
    limited_angles,
    limited_expression,
    nearest,
    visible_change,
)

SLOPE = torch.full((12,), 3.0)


def difference(change: torch.Tensor, other: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    return torch.einsum("ti,ij,tj->t", change - other, visible, change - other)


def test_angles_stop_outside_their_range_or_where_the_source_is() -> None:
    ranges = torch.tensor([[-0.4, 0.4]]).expand(3, 2)
    far = torch.tensor([[1.5, -1.5, 0.1]])
    end = 0.4 + BEYOND * 0.8
    torch.testing.assert_close(limited_angles(torch.zeros(1, 3), far, ranges), torch.tensor([[end, -end, 0.1]]))
    assert float(limited_angles(torch.tensor([[1.2, 0.0, 0.0]]), far, ranges)[0, 0]) == pytest.approx(1.2)


@given(st.integers(0, 10_000), st.floats(0.1, 100))
@settings(max_examples=30, deadline=None)
def test_of_all_changes_of_that_length_none_looks_more_like_it(seed: int, size: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    change = size * torch.randn(1, 12, generator=generator)
    visible, length = visible_change(SLOPE), 0.4 * change.norm(dim=1, keepdim=True)
    found = nearest(change, visible, length)
    torch.testing.assert_close(found.norm(dim=1, keepdim=True), length, rtol=1e-3, atol=0)
    others = found + 0.2 * length * torch.randn(200, 12, generator=generator)
    others = others * length / others.norm(dim=1, keepdim=True)
    assert bool((difference(others, change, visible) > difference(found, change, visible) * (1 - 1e-3)).all())


def test_a_short_change_stays_and_a_long_one_has_the_greatest_length() -> None:
    visible = visible_change(SLOPE)
    short, long = torch.randn(5, 12), 1000 * torch.randn(5, 12)
    short = short / short.norm(dim=1, keepdim=True) * REACH / 2
    torch.testing.assert_close(limited_expression(short, visible), short)
    assert torch.equal(limited_expression(torch.zeros(1, 12), visible), torch.zeros(1, 12))
    torch.testing.assert_close(
        limited_expression(long, visible).norm(dim=1), torch.full((5,), REACH), rtol=1e-3, atol=0
    )


def test_the_change_of_neighbouring_frames_stays_near() -> None:
    """Nothing jumps, neither where the limit begins nor far beyond it."""
    visible, way = visible_change(SLOPE), torch.randn(1, 12)
    steps = torch.linspace(0, 40, 400)[:, None] * way / way.norm()
    assert float(limited_expression(steps, visible).diff(dim=0).norm(dim=1).max()) < 3 * 0.1


def test_an_open_mouth_stays_open() -> None:
    """A jaw that drops among changes that are hardly seen: these are left out first."""
    model = load_face_model()
    gaps = []
    for i in range(12):
        shape = model.shape(torch.zeros(1, 80), 2 * torch.eye(64)[i : i + 1])
        gaps.append(float(mouth_openness(shape)) - float(mouth_openness(model.mean)))
    opens = int(torch.tensor(gaps).argmax())
    change = torch.full((1, 12), 5.0)
    change[0, opens] = 8.0
    kept = limited_expression(change, visible_change(SLOPE))
    assert float(kept[0, opens]) / 8 > 1.2 * REACH / float(change.norm())
