"""Pasting back: identical outside the mask, seamless inside, fast."""

import time

import cv2
import numpy as np
import pytest

from portrayal.media.crop import Crop, apply_crop
from portrayal.media.paste import Paster, feathered_mask, soft_sides
from tests.media.made_videos import picture
from tests.media.test_crop import similarity

NOISE = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)
CROPS = {
    "same size": similarity(1.0, 0, (-40, -30)),
    "enlarged": similarity(2.6, 0.3, (-200, -150), 96),
    "reduced": similarity(0.4, -0.2, (2, 5), 48),
    "over the border": similarity(1.0, 0, (20, 30)),
    "outside": similarity(1.0, 0, (500, 0)),
}


def mask_in_picture(crop, mask, shape):
    """Oracle: the mask at each picture pixel, bilinear in float64; 0 outside the crop."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    at = crop.matrix @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)]) - 0.5
    padded = np.pad(mask, 1)
    map_x, map_y = (at[k].reshape(shape[:2]).astype(np.float32) + 1 for k in (0, 1))
    return cv2.remap(padded, map_x, map_y, cv2.INTER_LINEAR, borderValue=0)


@pytest.mark.parametrize("name", CROPS)
def test_outside_the_mask_nothing_changes(name):
    crop = CROPS[name]
    red = np.zeros((crop.size, crop.size, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    result = Paster(NOISE, crop).paste(red)
    weight = mask_in_picture(crop, feathered_mask(crop.size), NOISE.shape)
    near = cv2.dilate(weight, np.ones((7, 7)))
    assert np.array_equal(result[near == 0], NOISE[near == 0])
    assert (near == 0).any()
    inside = cv2.erode(weight, np.ones((7, 7))) >= 1
    assert (result[inside] == [255, 0, 0]).all()
    assert inside.any() or name == "outside"


def test_mask_zero_keeps_every_bit():
    crop = CROPS["enlarged"]
    result = Paster(NOISE, crop, np.zeros((crop.size, crop.size), np.float32)).paste(np.zeros((96, 96, 3), np.uint8))
    assert np.array_equal(result, NOISE)
    assert result is not NOISE


def test_pasting_what_was_cut_out_at_the_same_size_changes_nothing():
    crop = CROPS["same size"]
    assert np.array_equal(Paster(NOISE, crop).paste(apply_crop(NOISE, crop)), NOISE)


@pytest.mark.parametrize("name", ["enlarged", "reduced", "over the border"])
def test_pasting_what_was_cut_out_of_a_smooth_picture_changes_little(name):
    smooth = cv2.GaussianBlur(picture(3, 200, 150), (0, 0), 6)
    crop = CROPS[name]
    result = Paster(smooth, crop).paste(apply_crop(smooth, crop))
    assert np.abs(result.astype(int) - smooth).max() <= 4


def test_blending_follows_the_mask():
    mask = feathered_mask(64)
    crop = Crop(np.eye(2, 3), 64)
    black, white = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)
    result = Paster(black, crop, mask).paste(white)
    assert np.abs(result[..., 1] - 255 * mask).max() <= 1


def test_onto_another_picture():
    crop = CROPS["same size"]
    paster, other = Paster(NOISE, crop), NOISE[::-1].copy()
    result = paster.paste(apply_crop(NOISE, crop), onto=other)
    assert np.array_equal(result[:10], other[:10])
    with pytest.raises(ValueError, match="must stay"):
        paster.paste(apply_crop(NOISE, crop), onto=other[:-1])


def test_wrong_arguments():
    crop = CROPS["same size"]
    with pytest.raises(ValueError, match="rendering"):
        Paster(NOISE, crop).paste(np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match="mask"):
        Paster(NOISE, crop, np.zeros((32, 32), np.float32))


@pytest.mark.parametrize("size", [2, 63, 512])
def test_the_mask(size):
    mask = feathered_mask(size, border=0.2)
    assert mask.shape == (size, size)
    assert mask.dtype == np.float32
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert edge.max() < 1e-3
    assert np.array_equal(mask, mask[::-1])
    assert np.array_equal(mask, mask.T)
    if size > 2:
        middle = mask[size // 2]
        assert middle.max() == 1
        assert np.diff(middle[: size // 2]).min() >= 0
        assert np.abs(np.diff(middle)).max() < 2 / (0.2 * size)
    with pytest.raises(ValueError, match="border"):
        feathered_mask(size, border=0)


def test_a_mask_is_hard_where_the_picture_ends():
    soft = soft_sides(similarity(1.0, 0, (10, -20), 100), 200, 80)
    assert soft == (False, True, True, False)
    mask = feathered_mask(100, soft=soft)
    whole = feathered_mask(100)
    assert np.array_equal(mask[:50, 50:], whole[:50, 50:])
    assert mask[50:, :50].min() == 1
    assert np.array_equal(mask[0], np.zeros(100))
    assert np.array_equal(mask[:, -1], np.zeros(100))
    assert np.array_equal(mask[:50, 0], whole[:50, 50])


def test_speed():
    """Far above what it needs here (2 to 3 ms), so that a busy machine passes, and far below a slow loop."""
    image = np.random.default_rng(1).integers(0, 256, (512, 512, 3), np.uint8)
    paster = Paster(image, similarity(0.9, 0.02, (3, 5), 512))
    times = []
    for _ in range(20):
        begin = time.thread_time()
        paster.paste(image)
        times.append(time.thread_time() - begin)
    assert min(times) < 0.02


def test_what_counts_of_a_rendering_can_change_from_frame_to_frame():
    crop = CROPS["same size"]
    rendered = np.full((crop.size, crop.size, 3), 200, np.uint8)
    paster = Paster(NOISE, crop, np.ones((crop.size, crop.size), np.float32))
    opacity = np.zeros((crop.size, crop.size), np.float32)
    assert np.array_equal(paster.paste(rendered, opacity=opacity), NOISE)
    opacity[:, 10:] = 0.25
    part = apply_crop(paster.paste(rendered, opacity=opacity), crop).astype(float)
    expected = 0.25 * 200 + 0.75 * apply_crop(NOISE, crop)[:, 10:]
    assert np.abs(part[1:-1, 11:-1] - expected[1:-1, 1:-1]).max() <= 1
    assert np.array_equal(paster.paste(rendered), Paster(NOISE, crop, paster._mask).paste(rendered))
