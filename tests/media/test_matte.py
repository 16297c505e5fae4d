"""What of a portrait is head and hair."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from portrayal.face.camera import camera_from_pose
from portrayal.face.topology import FACE_OVAL
from portrayal.media.image import to_tensor, to_uint8
from portrayal.media.matte import SIDE, Matte, without_head, without_person
from portrayal.types import Portrait
from tests.systems.conftest import SIZE, mean_params
from tests.systems.test_meshwarp import turned

WALL, HAIR, SKIN = (90, 110, 150), (60, 40, 25), (214, 168, 140)


@pytest.fixture(scope="module")
def scene() -> tuple[Portrait, np.ndarray, np.ndarray]:
    """A head with a bun beside it before a wall with noise; (256, 256) bool where head and bun are, and the wall."""
    params = mean_params(SIZE)
    oval = params.landmarks[0, list(FACE_OVAL), :2].numpy()
    x, y = oval.mean(0)
    wall = np.array(WALL) + np.random.default_rng(0).integers(-12, 12, (SIZE, SIZE, 3))
    picture, head = np.ascontiguousarray(wall.astype(np.uint8)), np.zeros((SIZE, SIZE), np.uint8)
    for canvas, colour in ((picture, HAIR), (head, (1,))):
        cv2.ellipse(canvas, (int(x), int(y) - 12), (58, 74), 0, 0, 360, colour, -1)
        cv2.circle(canvas, (int(x) + 62, int(y) - 50), 20, colour, -1)
    cv2.fillPoly(picture, [oval.round().astype(np.int32)], SKIN)
    return Portrait(to_tensor(picture), params), head > 0, wall


def test_hair_that_no_landmark_knows_is_the_heads_and_the_wall_is_not(scene) -> None:
    portrait, head, _ = scene
    person = cv2.resize(Matte.of(portrait).person.astype(np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST) > 0
    above = np.arange(SIZE)[:, None] < portrait.params.landmarks[0, 152, 1].item() - 20
    assert (person == head)[above.repeat(SIZE, 1)].mean() > 0.98
    bun = head & (np.arange(SIZE)[None] > portrait.params.landmarks[0, 454, 0].item() + 20)
    assert person[bun].mean() > 0.9


def test_the_matte_is_soft_generous_and_ends_at_the_chin(scene) -> None:
    portrait, head, _ = scene
    matte = torch.nn.functional.interpolate(Matte.of(portrait).head, (SIZE, SIZE), mode="bilinear")[0, 0].numpy()
    chin = portrait.params.landmarks[0, 152, 1].item()
    eyes = int(portrait.params.landmarks[0, 33, 1])
    assert matte.min() == 0
    assert matte.max() <= 1
    assert matte[: eyes + 1][head[: eyes + 1]].min() > 0.7
    assert matte[int(chin) + 3 :].max() == 0
    assert np.abs(np.diff(matte[eyes])).max() < 0.5


def test_without_its_head_the_portrait_is_wall(scene) -> None:
    portrait, head, _ = scene
    bare, hidden = to_uint8(without_head(portrait))[0].astype(int), Matte.of(portrait).hidden(portrait.image.shape[2:])
    chin = int(portrait.params.landmarks[0, 152, 1])
    assert hidden[:chin][head[:chin]].all()
    assert np.array_equal(bare[~hidden], to_uint8(portrait.image)[0][~hidden])
    assert np.abs(bare[: chin - 30] - WALL).max() < 45, "neither hair nor skin"


def test_shoulders_of_a_tilted_head_are_upright() -> None:
    params = turned(mean_params(SIZE), roll=30)
    heights = Matte.of(Portrait(torch.rand(1, 3, SIZE, SIZE), params)).heights
    lowest = params.landmarks[0, list(FACE_OVAL), 1].max().item() / SIZE * SIDE
    below = torch.arange(SIDE) > lowest + 1
    assert float(heights[below].min()) > 1
    eyes = params.landmarks[0, [33, 263], :2].mean(0) / SIZE * SIDE
    assert float(heights[int(eyes[1]), int(eyes[0])]) < 0.5


def test_without_its_person_there_are_no_shoulders_either(scene) -> None:
    portrait, _, _ = scene
    picture, chin = to_uint8(portrait.image)[0].copy(), int(portrait.params.landmarks[0, 152, 1])
    picture[chin + 12 :] = (150, 30, 30)
    dressed = Portrait(to_tensor(picture), portrait.params)
    matte = Matte.of(dressed)
    bare = to_uint8(without_person(dressed, matte))[0].astype(int)
    assert np.abs(bare - WALL).max() < 60, "neither hair nor skin nor coat"
    below = torch.nn.functional.interpolate(matte.below, (SIZE, SIZE), mode="bilinear")[0, 0].numpy()
    assert below[chin + 20 :].min() == 1
    assert below[: chin - 40].max() == 0


def test_the_same_portrait_gives_the_same_matte_whatever_was_drawn_before(scene) -> None:
    portrait = scene[0]
    first = Matte.of(portrait).head
    cv2.setRNGSeed(7)
    assert torch.equal(first, Matte.of(portrait).head)


def test_shoulders_are_the_persons_and_the_wall_beside_a_neck_is_not(scene) -> None:
    portrait, _, _ = scene
    picture, chin = to_uint8(portrait.image)[0].copy(), portrait.params.landmarks[0, 152].int().tolist()
    coat = np.zeros((SIZE, SIZE), np.uint8)
    cv2.rectangle(picture, (chin[0] - 22, chin[1]), (chin[0] + 22, SIZE), SKIN, -1)
    cv2.ellipse(coat, (chin[0], SIZE + 10), (90, 45), 0, 0, 360, (1,), -1)
    picture[coat > 0] = (150, 30, 30)
    matte = Matte.of(Portrait(to_tensor(picture), portrait.params))
    person, body, throat = (
        torch.nn.functional.interpolate(x, (SIZE, SIZE), mode="bilinear")[0, 0].numpy()
        for x in (matte.soft, matte.soft * matte.lower, matte.throat)
    )
    assert person[coat > 0].mean() > 0.9
    assert body[coat > 0].mean() > 0.9
    beside = np.s_[chin[1] + 8 : chin[1] + 16, chin[0] - 110 : chin[0] - 80]
    assert person[beside].mean() < 0.1, "wall, below the chin"
    brow = int(portrait.params.landmarks[0, 9, 1])
    assert body[: brow + 1].max() == 0
    assert throat[: chin[1]].min() == 1
    assert throat[-1].max() == 0


def test_a_wall_whose_light_changes_is_no_coat(scene) -> None:
    """All of the picture below the chin but a thin neck is wall, darker towards the bottom."""
    portrait, _, _ = scene
    picture, chin = to_uint8(portrait.image)[0].copy(), portrait.params.landmarks[0, 152].int().tolist()
    light = np.linspace(1.1, 0.9, SIZE)[:, None, None]
    wall = np.abs(picture.astype(int) - WALL).max(-1, keepdims=True) < 20
    picture = np.where(wall, np.array(WALL) * light, picture).astype(np.uint8)
    cv2.rectangle(picture, (chin[0] - 12, chin[1]), (chin[0] + 12, SIZE), SKIN, -1)
    matte = Matte.of(Portrait(to_tensor(picture), portrait.params))
    person = torch.nn.functional.interpolate(matte.soft, (SIZE, SIZE), mode="bilinear")[0, 0].numpy()
    wall = np.hstack([person[chin[1] :, : chin[0] - 24], person[chin[1] :, chin[0] + 24 :]])
    assert wall.mean() < 0.05
    assert person[chin[1] + 4 :, chin[0]].min() > 0.9


def test_hair_drawn_out_beyond_the_picture_is_nobodys(scene) -> None:
    """The picture ends in the middle of the hair; the portrait goes on with its last line."""
    portrait, head, _ = scene
    top = int(np.flatnonzero(head.any(1))[0]) + 6
    image = portrait.image.clone()
    image[..., :top, :] = image[..., top : top + 1, :]
    person = Matte.of(Portrait(image, portrait.params)).soft
    seen = torch.nn.functional.interpolate(person, (SIZE, SIZE), mode="bilinear")[0, 0].numpy()
    column = int(portrait.params.landmarks[0, 10, 0])
    assert seen[top + 4, column] > 0.9
    assert seen[: top // 3, column].max() < 0.1


@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
def test_where_colours_tell_nothing_the_rough_shape_stays(colour: float) -> None:
    portrait = Portrait(torch.full((1, 3, 64, 64), colour), mean_params(64))
    person = Matte.of(portrait).person
    assert person.shape == (SIDE, SIDE)
    assert 0.05 < person.mean() < 0.95
    assert torch.isfinite(without_head(portrait)).all()


def test_a_face_larger_than_its_picture_is_all_head() -> None:
    params = mean_params(64)
    large = params.replace(scale=params.scale * 6)
    large = large.replace(
        camera=camera_from_pose(large.rotation, large.translation, large.scale, width=64, height=64),
        landmarks=(params.landmarks - params.translation[:, None]) * 6 + params.translation[:, None],
    )
    portrait = Portrait(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)), large)
    assert float(Matte.of(portrait).head.mean()) > 0.5
    assert torch.isfinite(without_head(portrait)).all()
