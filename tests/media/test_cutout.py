"""A head cut out of its picture."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from portrayal.face.topology import FACE_OVAL
from portrayal.media.cutout import cut_out
from portrayal.media.image import to_tensor
from portrayal.media.matte import SIDE, Matte
from portrayal.types import Portrait
from tests.systems.conftest import SIZE, mean_params

WALL, HAIR, SKIN = (90, 110, 150), (60, 40, 25), (214, 168, 140)


def scene(wall: tuple[int, int, int] = WALL) -> tuple[Portrait, np.ndarray]:
    """Hair with strands of half a pixel to three before a wall of one colour, and (SIZE, SIZE) how much of each pixel
    the head is."""
    params, fine = mean_params(SIZE), 8
    oval = params.landmarks[0, list(FACE_OVAL), :2].numpy()
    x, y = (oval.mean(0) * fine).astype(int)
    mask = np.zeros((SIZE * fine, SIZE * fine), np.uint8)
    cv2.ellipse(mask, (x, y - 12 * fine), (58 * fine, 74 * fine), 0, 0, 360, 255, -1)
    for k, angle in enumerate(np.linspace(np.pi, 2 * np.pi, 60)):
        way = np.array([np.cos(angle), np.sin(angle)])
        start, end = ((x, y - 12 * fine) + way * (np.array([58, 74]) + more) * fine for more in (-2, 4))
        cv2.line(mask, tuple(start.astype(int).tolist()), tuple(end.astype(int).tolist()), 255, 4 + 7 * (k % 4))
    share = cv2.resize(mask, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    picture = share[..., None] * np.array(HAIR) + (1 - share[..., None]) * np.array(wall)
    cv2.fillPoly(picture, [oval.round().astype(np.int32)], SKIN)
    share = np.maximum(share, cv2.fillPoly(np.zeros_like(share), [oval.round().astype(np.int32)], 1.0))
    return Portrait(to_tensor(picture.round().astype(np.uint8)), params), share


@pytest.mark.parametrize("wall", [WALL, (240, 240, 235), (20, 160, 60)])
def test_strands_are_told_from_the_wall(wall: tuple[int, int, int]) -> None:
    portrait, truth = scene(wall)
    colour, share = (x[0].movedim(0, -1).numpy() for x in cut_out(portrait, Matte.of(portrait)))
    above = np.s_[: int(portrait.params.landmarks[0, 152, 1]) - 20]
    off = np.abs(share[..., 0] - truth)[above]
    soft = cv2.resize(Matte.of(portrait).soft[0, 0].numpy(), (SIZE, SIZE))
    assert off.mean() < 0.4 * np.abs(soft - truth)[above].mean()
    mixed = (truth > 0.3) & (truth < 0.95)
    mixed[int(portrait.params.landmarks[0, 10, 1]) :] = False
    own = portrait.image[0].movedim(0, -1).numpy()
    assert np.abs(255 * colour - HAIR)[mixed].mean() < 0.4 * np.abs(255 * own - HAIR)[mixed].mean()


def test_before_its_own_wall_it_is_the_portrait() -> None:
    portrait, _ = scene()
    colour, share = cut_out(portrait, Matte.of(portrait))
    wall = torch.tensor(WALL).view(1, 3, 1, 1) / 255
    again = torch.lerp(wall.expand_as(colour), colour, share)
    assert float((again - portrait.image).abs().mean()) < 0.004
    x, y = portrait.params.landmarks[0, 5, :2].int().tolist()
    assert torch.equal(
        colour[..., y - 30 : y + 30, x - 20 : x + 20], portrait.image[..., y - 30 : y + 30, x - 20 : x + 20]
    )
    assert float(share[..., y - 30 : y + 30, x - 20 : x + 20].min()) == 1
    assert float(share[..., :6, :].max()) == 0


def test_hair_before_a_wall_of_its_own_colour_has_the_mattes_soft_border() -> None:
    portrait, _ = scene()
    matte = Matte.of(portrait)
    plain = torch.tensor(HAIR).view(1, 3, 1, 1).expand_as(portrait.image) / 255
    _, share = cut_out(replace(portrait, image=plain), matte)
    soft = torch.nn.functional.interpolate(matte.soft, (SIZE, SIZE), mode="bilinear")
    outline = (soft > 0.1) & (soft < 0.6)
    assert float((share - soft)[outline].abs().mean()) < 0.1


def test_of_a_picture_that_is_all_head_there_is_the_matte() -> None:
    portrait, _ = scene()
    everywhere = replace(Matte.of(portrait), person=np.ones((SIDE, SIDE), bool))
    colour, share = cut_out(portrait, everywhere)
    assert colour is portrait.image
    assert share.shape == (1, 1, SIZE, SIZE)
    assert float(share.min()) > 0.99
