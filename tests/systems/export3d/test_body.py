"""Neck, shoulders and hair that go with a head."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portrayal.face.topology import CHIN
from portrayal.nn.rendering.depth import depth_map
from portrayal.nn.rendering.head import seen_from
from portrayal.systems.export3d.body import NECK, behind_places, below_neck, ends_below, neck_of
from portrayal.systems.export3d.detail import OwnSight
from portrayal.types import Portrait
from tests.systems.conftest import SIZE, mean_params
from tests.systems.export3d.cameras import camera

SIDE = 64


def grid() -> torch.Tensor:
    steps = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y])[None]


def moved(right: float, down: float) -> torch.Tensor:
    """A camera that sees the head so many sides of the picture away from where `camera` sees it."""
    view = camera()
    unit = float(seen_from(view, torch.tensor([NECK]))[1])
    view[:, 3] -= right / unit
    view[:, 7] += down / unit
    return view


def sight(person: torch.Tensor, *, ends: bool = False) -> OwnSight:
    depth = depth_map(torch.full((1, SIDE, SIDE), 4.0), torch.ones(1, SIDE, SIDE), camera())
    return OwnSight(torch.zeros(1, 2, SIDE, SIDE), depth, person, torch.tensor([NECK]), ends)


NOBODY = torch.zeros(1, 1, SIDE, SIDE)


def test_neck_and_shoulders_go_with_the_neck_and_all_else_stays() -> None:
    before, now = camera(), moved(0.08, 0.0)
    places = behind_places(before, now, side=SIDE)
    point = torch.tensor([[NECK]])
    (was, _), (is_, _) = (seen_from(view, point) for view in (before, now))
    by = (is_ - was)[0, 0]
    torch.testing.assert_close(by, torch.tensor([0.08, 0.0]), atol=1e-3, rtol=0)
    column, row = (is_[0, 0] * SIDE).int().tolist()
    at = min(row + 8, 57)
    shift = (grid() - places)[0] / 2
    torch.testing.assert_close(shift[:, at, column], by, atol=0.3 * float(by[0]), rtol=0)
    assert shift[:, : row - 16].abs().max() < 0.1 * by[0]
    assert shift[0, :, 0].abs().max() < 0.1 * by[0]
    torch.testing.assert_close(behind_places(before, before, side=SIDE), grid())


@settings(deadline=None, max_examples=40)
@given(right=st.floats(-0.25, 0.25), down=st.floats(-0.3, 0.05), known=st.booleans())
def test_however_far_a_neck_goes_its_shoulders_neither_fold_nor_leave_the_picture(
    right: float, down: float, known: bool
) -> None:
    now = moved(right, down)
    places = behind_places(camera(), now, side=SIDE, own=sight(NOBODY) if known else None)
    row = int(float(seen_from(now, torch.tensor([NECK]))[0][0, 0, 1]) * SIDE)
    below = places[0, :, min(row + 12, SIDE - 2) :]
    assert float(below[1].diff(dim=0).min()) > -1e-5
    assert float(below.abs().max()) <= 1
    assert float(below[0].diff(dim=1).min()) > -0.01


def test_hair_on_shoulders_goes_with_a_head_that_moves_far_and_what_is_beside_it_stays() -> None:
    person = torch.zeros(1, 1, SIDE, SIDE)
    person[..., 14:50] = 1
    before, now = camera(), moved(0.0, -0.2)
    own, without = (behind_places(before, now, side=SIDE, own=sight(x)) for x in (person, NOBODY))
    row = int(float(seen_from(now, torch.tensor([NECK]))[0][0, 0, 1]) * SIDE)
    shift = (own - grid())[0, 1] / 2
    assert float(shift[row - 4, 20]) == pytest.approx(0.2, abs=0.02)
    torch.testing.assert_close(own[..., :, :10], without[..., :, :10])
    assert float((without - grid())[0, 1, row - 10, 20]) / 2 < 0.1 < float(shift[row - 10, 20])


def test_a_neck_that_rises_far_keeps_its_length_and_what_is_below_is_stretched() -> None:
    before, now = camera(), moved(0.0, -0.2)
    places = behind_places(before, now, side=SIDE, own=sight(NOBODY))
    column, row = (seen_from(now, torch.tensor([NECK]))[0][0, 0] * SIDE).int().tolist()
    below = places[0, 1, row + 1 :, column].diff() * SIDE / 2  # pixels of the source in one of the view
    assert float(below[:5].min()) > 0.9
    assert float(below[-8:].max()) < 0.75
    assert float(places[0, 1, -1, column]) == pytest.approx(float(grid()[0, 1, -1, 0]), abs=0.02)


def test_shoulders_go_sideways_where_the_picture_ends_below_them() -> None:
    before, now = camera(), moved(0.15, 0.0)
    goes_on, ends = (behind_places(before, now, side=SIDE, own=sight(NOBODY, ends=x)) for x in (False, True))
    column = int(float(seen_from(now, torch.tensor([NECK]))[0][0, 0, 0]) * SIDE)
    last = [float((grid() - places)[0, 0, -1, column]) / 2 for places in (goes_on, ends)]
    assert last[0] < 0.02
    assert last[1] == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize("rows", [0, 3])
def test_a_picture_that_is_continued_below_ends_there(rows: int) -> None:
    image = torch.rand(1, 3, SIZE, SIZE)
    image[..., SIZE - rows :, :] = image[..., [SIZE - rows - 1], :]
    assert ends_below(Portrait(image, mean_params(SIZE))) == (rows > 0)


def test_a_head_that_hardly_moves_ends_nowhere() -> None:
    neck = torch.tensor([NECK])
    assert float(below_neck(camera(), moved(0.02, 0.0), neck, side=SIDE).max()) == 0
    far = moved(0.0, -0.2)
    ended = below_neck(camera(), far, neck, side=SIDE)[0, 0]
    row = int(float(seen_from(far, neck)[0][0, 0, 1]) * SIDE)
    assert float(ended[: row + 1].max()) < 0.1
    assert float(ended[row + 8 :].min()) == 1


@pytest.mark.parametrize("lower", [0.0, 0.05, -0.04])
def test_the_neck_is_where_the_chin_is(lower: float) -> None:
    params = mean_params(SIZE)
    landmarks = params.landmarks.clone()
    landmarks[0, CHIN, 1] += lower * SIZE
    params = params.replace(landmarks=landmarks)
    seen = seen_from(params.camera, neck_of(Portrait(torch.rand(1, 3, SIZE, SIZE), params)))[0][0, 0]
    torch.testing.assert_close(seen * SIZE, landmarks[0, CHIN, :2], atol=1.5, rtol=0)
