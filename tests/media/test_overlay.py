"""What of the portrait stays around a face that is laid over it."""

from __future__ import annotations

import pytest
import torch

from portrayal.media import overlay
from portrayal.media.head import head_mask, pixel_centres
from portrayal.media.overlay import Overlay
from portrayal.motion.edit import apply_edit
from portrayal.types import Depth, Edit, FaceParams, Layers, Portrait
from tests.systems.conftest import mean_params

SIZE = 128


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return Portrait(torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)), mean_params(SIZE))


def drawn_over(portrait: Portrait, faces: torch.Tensor, params: FaceParams, squares: torch.Tensor) -> torch.Tensor:
    laid = Overlay(portrait)
    return laid.blend(laid.place(faces, squares), params, squares)


def test_a_face_fills_its_square_on_the_head_and_nothing_else(portrait: Portrait) -> None:
    params = FaceParams.cat([portrait.params, apply_edit(portrait.params, Edit(shift=(0.3, 0.0)))])
    ramp = ((torch.arange(64) + 0.5) / 64).expand(2, 3, 64, 64)  # brightness is the share of the square's width
    squares = torch.tensor([[64.0, 60.0, 100.0, 0.0], [72.0, 60.0, 100.0, 0.0]])
    laid = drawn_over(portrait, ramp, params, squares)
    assert laid.shape == (2, 3, SIZE, SIZE)
    for frame, left in ((0, 64 - 50), (1, 72 - 50)):
        assert float(laid[frame, 0, 60, 70]) == pytest.approx((70.5 - left) / 100, abs=0.01)
    assert torch.equal(laid[..., :3], portrait.image[..., :3].expand(2, -1, -1, -1))
    assert torch.equal(laid[..., -3:, :], portrait.image[..., -3:, :].expand(2, -1, -1, -1))


def test_a_turned_square_turns_its_picture(portrait: Portrait) -> None:
    ramp = ((torch.arange(64) + 0.5) / 64).expand(1, 3, 64, 64)
    square = torch.tensor([[64.0, 60.0, 100.0, torch.pi / 2]])
    laid = drawn_over(portrait, ramp, portrait.params, square)
    assert float(laid[0, 0, 70, 64]) == pytest.approx((70.5 - 10) / 100, abs=0.01), "its width runs down the picture"


def test_a_depth_lies_where_its_face_is_drawn(portrait: Portrait) -> None:
    params, squares = portrait.params, torch.tensor([[64.0, 60.0, 100.0, 0.0]])
    laid = Overlay(portrait).lay_depth(Depth(torch.full((1, 1, 8, 8), 0.3), torch.ones(1, 1, 8, 8)), params, squares)
    drawn = drawn_over(portrait, torch.full((1, 3, 8, 8), 5.0), params, squares)
    share = (drawn - portrait.image)[:, :1] / (5 - portrait.image)[:, :1]
    torch.testing.assert_close(laid.opacity, share, atol=1e-4, rtol=0)
    torch.testing.assert_close(laid.nearness, torch.full_like(laid.nearness, 0.3))


def test_the_portraits_own_head_is_found_once(portrait: Portrait, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[FaceParams] = []
    monkeypatch.setattr(
        overlay, "head_mask", lambda params, *args, **sizes: found.append(params) or head_mask(params, *args, **sizes)
    )
    laid, moved = Overlay(portrait), apply_edit(portrait.params, Edit(yaw=0.1))
    for _ in range(3):
        laid.blend(torch.rand(1, 3, SIZE, SIZE), moved, torch.tensor([[64.0, 60.0, 100.0, 0.0]]))
    assert [params is portrait.params for params in found].count(True) == 1


def test_layers_lie_on_the_head_alone(portrait: Portrait) -> None:
    """Of the portrait nothing is left, where its head was neither."""
    params, squares = apply_edit(portrait.params, Edit(shift=(1.5, 0.0))), torch.tensor([[64.0, 60.0, 100.0, 0.0]])
    faces = Layers(torch.full((1, 3, 8, 8), 0.3), torch.full((1, 1, 4, 4), 0.5))
    laid = Overlay(portrait).lay_layers(faces, params, squares)
    torch.testing.assert_close(laid.picture, torch.full((1, 3, SIZE, SIZE), 0.3), atol=1e-5, rtol=0)
    head = head_mask(params, pixel_centres(portrait.image.shape[2:], torch.device("cpu")))
    assert float(laid.opacity.max()) <= 0.5
    torch.testing.assert_close(laid.opacity[0, 0, 60, 64:90], head[0, 60, 64:90] / 2)
    x = int(portrait.params.landmarks[0, :, 0].min())
    assert float(laid.opacity[0, 0, 60, x]) == 0


def test_a_head_that_has_gone_far_leaves_background_and_not_itself(portrait: Portrait) -> None:
    """The portrait: a bright head before a dark wall."""
    places = pixel_centres(portrait.image.shape[2:], torch.device("cpu"))
    head = head_mask(portrait.params, places, half_axes=(1.2, 1.2))[:, None]
    bright = Portrait(0.1 + 0.8 * head.expand(-1, 3, -1, -1), portrait.params)
    away, near = (apply_edit(portrait.params, Edit(shift=(x, 0.0))) for x in (4.0, 0.1))
    square, grey = torch.tensor([[10.0, 10.0, 8.0, 0.0]]), torch.full((1, 3, 8, 8), 0.5)
    x, y = (int(v) for v in portrait.params.landmarks[0, 10, :2])  # the top of the forehead
    assert float(drawn_over(bright, grey, away, square)[0, 0, y, x]) < 0.3
    assert float(drawn_over(bright, grey, near, square)[0, 0, y, x]) > 0.8, "a square that does not reach it"
    laid = Overlay(bright)
    assert torch.equal(laid.blend(laid.place(grey, square), away, square)[..., -8:, :], bright.image[..., -8:, :])
