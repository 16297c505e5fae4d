"""Hair and background around a head that moves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from portrayal.face.camera import camera_from_pose
from portrayal.face.topology import FACE_OVAL
from portrayal.media.image import to_tensor
from portrayal.media.matte import Matte
from portrayal.motion.edit import apply_edit
from portrayal.nn.rendering.head import silhouette
from portrayal.systems.export3d.detail import own_places
from portrayal.systems.export3d.renderer import Fetched
from portrayal.systems.export3d.surroundings import Surroundings
from portrayal.types import Edit, FaceParams, Portrait
from tests.systems.conftest import SIZE, mean_params

WALL, HAIR, SKIN = (90, 110, 150), (60, 40, 25), (214, 168, 140)


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    """A head with a bun on its right before a wall."""
    params = mean_params(SIZE)
    oval = params.landmarks[0, list(FACE_OVAL), :2].numpy()
    wall = np.array(WALL) + np.random.default_rng(0).integers(-8, 8, (SIZE, SIZE, 3))
    picture = np.ascontiguousarray(wall.astype(np.uint8))
    x, y = oval.mean(0)
    cv2.ellipse(picture, (int(x), int(y) - 12), (58, 74), 0, 0, 360, HAIR, -1)
    cv2.circle(picture, bun(params), 18, HAIR, -1)
    cv2.fillPoly(picture, [oval.round().astype(np.int32)], SKIN)
    return Portrait(to_tensor(picture), params)


def bun(params: FaceParams) -> tuple[int, int]:
    """Where its middle is when the head has moved."""
    top, chin = params.landmarks[0, 10, :2], params.landmarks[0, 152, :2]
    side = (chin - top).flip(0) * torch.tensor([1.0, -1])
    x, y = ((top + chin) / 2 + 0.5 * side + 0.2 * (top - chin)).round().int().tolist()
    return x, y


MADE = torch.full((1, 3, SIZE, SIZE), 2.0)
"""Brighter than anything in the portrait."""


def view(params: FaceParams, by: tuple[float, float] = (0.0, 0.0)) -> Fetched:
    """An ellipsoid without the bun, fetched from `by` halves of the side away."""
    side = 64
    opacity = silhouette(params.camera, side=side, grown=1.05)
    places = own_places(side, side)[None] + torch.tensor(by)[:, None, None]
    return Fetched(torch.zeros(1, 3, side, side), torch.ones(1, 1, side, side), places, opacity, None)


def colour(frame: torch.Tensor, place: tuple[int, int]) -> torch.Tensor:
    """Of 8 x 8 pixels, of 255."""
    x, y = place
    return 255 * frame[0, :, y - 4 : y + 4, x - 4 : x + 4].mean((1, 2))


def test_a_head_that_stays_leaves_the_portrait_as_it_is(portrait: Portrait) -> None:
    own = view(portrait.params)
    assert own.opacity is not None
    around = Surroundings(portrait, Matte.of(portrait), own.opacity)
    frame = around.draw(own, portrait.params.camera, MADE, portrait.image)
    torch.testing.assert_close(frame, portrait.image, atol=0.01, rtol=0)


@pytest.mark.parametrize("roll", [0.0, 0.3])
def test_hair_goes_with_the_head_and_the_wall_is_where_it_was(portrait: Portrait, roll: float) -> None:
    own, shift = view(portrait.params), 0.25
    assert own.opacity is not None
    scale = float(portrait.params.scale)
    moved = portrait.params.translation + torch.tensor([[-shift * SIZE / 2, 0.0, 0.0]])
    rolled = apply_edit(portrait.params, Edit(roll=roll))
    rotation, size = rolled.rotation, torch.tensor([scale])
    camera = camera_from_pose(rotation, moved, size, width=SIZE, height=SIZE)
    by = moved - rolled.translation
    now = rolled.replace(translation=moved, camera=camera, landmarks=rolled.landmarks + by[:, None])
    around = Surroundings(portrait, Matte.of(portrait), own.opacity)
    frame = around.draw(view(now, (shift, 0.0)), camera, MADE, portrait.image)
    torch.testing.assert_close(colour(frame, bun(now)), torch.tensor(HAIR).float(), atol=25, rtol=0)
    torch.testing.assert_close(colour(frame, bun(portrait.params)), torch.tensor(WALL).float(), atol=25, rtol=0)
    assert torch.equal(frame[..., :12, -12:], portrait.image[..., :12, -12:])
    assert float(frame.max()) < 1.1, "what is drawn is nowhere needed"


def test_what_cannot_be_fetched_is_what_was_made(portrait: Portrait) -> None:
    own = view(portrait.params)
    assert own.opacity is not None
    own.share[..., :, 32:] = 0
    around = Surroundings(portrait, Matte.of(portrait), own.opacity)
    frame = around.draw(own, portrait.params.camera, MADE, portrait.image)
    x, y = portrait.params.landmarks[0, 5, :2].int().tolist()
    torch.testing.assert_close(frame[..., y, x + 20], MADE[..., y, x + 20], atol=0.01, rtol=0)
    assert float(frame[..., y, x - 20].max()) < 1


def test_long_hair_does_not_tear_from_a_head_that_moves(portrait: Portrait) -> None:
    """It hangs down to the shoulders on both sides; the head goes to the side by less than the hair is wide."""
    params, shift = portrait.params, 0.2
    picture = np.ascontiguousarray((portrait.image[0].movedim(0, -1) * 255).round().byte().numpy())
    (left, top), (right, _) = (params.landmarks[0, i, :2].int().tolist() for i in (234, 454))
    for x in (left - 12, right + 12):
        cv2.rectangle(picture, (x - 18, top), (x + 18, SIZE), HAIR, -1)
    long = Portrait(to_tensor(picture), params)
    own = view(params)
    assert own.opacity is not None
    moved = params.translation + torch.tensor([[-shift * SIZE / 2, 0.0, 0.0]])
    camera = camera_from_pose(params.rotation, moved, params.scale, width=SIZE, height=SIZE)
    now = params.replace(translation=moved, camera=camera)
    around = Surroundings(long, Matte.of(long), own.opacity)
    frame = around.draw(view(now, (shift, 0.0)), camera, MADE, long.image)
    chin = int(params.landmarks[0, 152, 1])
    left_behind = frame[0, :, chin - 18 : chin - 10, right + 12 : right + 20].mean()
    assert float(left_behind) == pytest.approx(np.mean(HAIR) / 255, abs=0.05)


def test_what_a_head_uncovers_is_nobody(portrait: Portrait) -> None:
    """Wherever the completed background is seen, also beside the jaw, where the portrait shows a hood."""
    params, shift = portrait.params, 0.25
    picture = np.ascontiguousarray((portrait.image[0].movedim(0, -1) * 255).round().byte().numpy())
    (left, _), (right, _), (_, chin) = (params.landmarks[0, i, :2].int().tolist() for i in (234, 454, 152))
    cv2.rectangle(picture, (left - 10, chin - 50), (right + 10, SIZE), HAIR, -1)
    cv2.fillPoly(picture, [params.landmarks[0, list(FACE_OVAL), :2].round().int().numpy()], SKIN)
    hooded = Portrait(to_tensor(picture), params)
    own, matte = view(params), Matte.of(hooded)
    assert own.opacity is not None
    moved = params.translation + torch.tensor([[-shift * SIZE / 2, 0.0, 0.0]])
    camera = camera_from_pose(params.rotation, moved, params.scale, width=SIZE, height=SIZE)
    now = view(params.replace(translation=moved, camera=camera), (shift, 0.0))
    around, nothing = Surroundings(hooded, matte, own.opacity), torch.zeros(1, 1, SIZE, SIZE)
    around._bare = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, SIZE, SIZE)
    green = around.draw(now, camera, MADE, hooded.image)[0, 1] > 0.95
    assert green.sum() > 200
    shown = torch.nn.functional.interpolate(matte.soft, (SIZE, SIZE), mode="bilinear")
    _, person = around.person(now, camera, nothing, shown)
    assert float(person[0, 0][green].max()) < 0.2
