"""Where the head is in a picture, and what of the portrait stays around a face that is laid over it."""

from __future__ import annotations

import pytest
import torch

from portrayal.media.overlay import head_mask, lay_over, pixel_centres
from portrayal.motion.edit import apply_edit
from portrayal.types import Edit, FaceParams, Portrait
from tests.systems.conftest import mean_params

SIZE = 128


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return Portrait(torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)), mean_params(SIZE))


def test_the_head_is_where_the_face_is_and_turns_with_it(portrait: Portrait) -> None:
    places = pixel_centres(portrait.image.shape[2:], torch.device("cpu"))
    mask = head_mask(portrait.params, places)[0]
    points = portrait.params.landmarks[0, :468, :2].round().long()
    assert float(mask[points[:, 1], points[:, 0]].min()) == 1, "all of the face"
    assert float(mask[0].max()) < 1
    assert float(mask[:, 0].max()) == 0
    tilted = head_mask(apply_edit(portrait.params, Edit(roll=0.5)), places)[0]
    assert abs(float(tilted.sum() / mask.sum()) - 1) < 0.1, "as large"
    assert float((tilted - mask).abs().mean()) > 0.01


def test_a_face_fills_its_square_on_the_head_and_nothing_else(portrait: Portrait) -> None:
    params = FaceParams.cat([portrait.params, apply_edit(portrait.params, Edit(shift=(0.3, 0.0)))])
    ramp = ((torch.arange(64) + 0.5) / 64).expand(2, 3, 64, 64)  # brightness is the share of the square's width
    squares = torch.tensor([[64.0, 60.0, 100.0, 0.0], [72.0, 60.0, 100.0, 0.0]])
    laid = lay_over(portrait, ramp, params, squares)
    assert laid.shape == (2, 3, SIZE, SIZE)
    for frame, left in ((0, 64 - 50), (1, 72 - 50)):
        assert float(laid[frame, 0, 60, 70]) == pytest.approx((70.5 - left) / 100, abs=0.01)
    assert torch.equal(laid[..., :3], portrait.image[..., :3].expand(2, -1, -1, -1))
    assert torch.equal(laid[..., -3:, :], portrait.image[..., -3:, :].expand(2, -1, -1, -1))


def test_a_turned_square_turns_its_picture(portrait: Portrait) -> None:
    ramp = ((torch.arange(64) + 0.5) / 64).expand(1, 3, 64, 64)
    square = torch.tensor([[64.0, 60.0, 100.0, torch.pi / 2]])
    laid = lay_over(portrait, ramp, portrait.params, square)
    assert float(laid[0, 0, 70, 64]) == pytest.approx((70.5 - 10) / 100, abs=0.01), "its width runs down the picture"
