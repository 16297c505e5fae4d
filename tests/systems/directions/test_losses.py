"""Equations 3 to 7, by hand; the table of pairs."""

from __future__ import annotations

import pytest
import torch

from portrayal.face.morphable import load_face_model
from portrayal.face.topology import LEFT_EYE, LIPS_INNER, LIPS_OUTER, MIRROR, RIGHT_EYE
from portrayal.systems.directions import losses


def test_gaps_by_hand() -> None:
    truth = torch.zeros(2, 478, 3)
    shape = truth.clone()
    shape[0, 159] = torch.tensor([0.1, -0.2, 0.3])
    assert float(losses.gaps(shape, truth, losses.EYE_PAIRS)) == pytest.approx(0.6 / 2)
    shape[0, 145] = shape[0, 159]  # both lids moved alike: the gap is as it was
    assert float(losses.gaps(shape, truth, losses.EYE_PAIRS)) == pytest.approx(0)
    shape[1, 61, 0] = -0.5
    assert float(losses.gaps(shape, truth, losses.MOUTH_PAIRS)) == pytest.approx(0.5 / 2)


def test_the_three_parts_of_equation_4() -> None:
    truth = load_face_model().mean[None, :468]
    parts = losses.reenactment(truth + 0.25, truth)
    assert {name: round(float(term), 5) for name, term in parts.items()} == {"shape": 0.25, "eye": 0, "mouth": 0}
    wide = truth.clone()
    wide[:, :, 1] *= 1.5
    assert all(float(term) > 0.01 for term in losses.reenactment(wide, truth).values())


def test_the_pairs_are_lids_and_lips_on_both_sides() -> None:
    lids, lips = set(RIGHT_EYE) | set(LEFT_EYE), set(LIPS_INNER) | set(LIPS_OUTER)
    for pairs, points in ((losses.EYE_PAIRS, lids), (losses.MOUTH_PAIRS, lips)):
        assert {point for pair in pairs for point in pair} <= points
        known = {frozenset(pair) for pair in pairs}
        assert len(known) == len(pairs)
        assert {frozenset(MIRROR[i] for i in pair) for pair in pairs} == known
    mean = load_face_model().mean
    for upper, lower in (*losses.EYE_PAIRS, *losses.MOUTH_PAIRS[:-1]):
        assert mean[upper, 1] < mean[lower, 1], "the first of a pair is above the second"


def test_the_documented_table_is_the_code() -> None:
    listed = {f"{i}-{j}" for i, j in (*losses.EYE_PAIRS, *losses.MOUTH_PAIRS)}
    assert losses.__doc__ is not None
    assert all(pair in losses.__doc__ for pair in listed)


def test_identity_and_pixels() -> None:
    a = torch.tensor([[1.0, 0], [1, 0]])
    b = torch.tensor([[2.0, 0], [0, 3]])
    assert float(losses.identity(a, b)) == pytest.approx(0.5)
    assert float(losses.pixel(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.25))) == pytest.approx(0.25)
