"""Pictures behind heads: how they cover a frame, and the photo without its head."""

from __future__ import annotations

import numpy as np
import pytest

from portrayal.media.background import cover, without_heads
from portrayal.media.crop import scaling
from portrayal.motion.edit import apply_edit
from portrayal.types import Edit
from tests.media.test_crop import similarity
from tests.systems.conftest import SIZE, draw, mean_params


@pytest.mark.parametrize(("shape", "size"), [((40, 120), (60, 60)), ((120, 40), (60, 60)), ((30, 30), (90, 60))])
def test_a_picture_covers_the_frame_centred_and_undistorted(shape: tuple[int, int], size: tuple[int, int]) -> None:
    """Its colours are its own coordinates, from the middle, in sides of the frame."""
    (h, w), (width, height) = shape, size
    factor = max(width / w, height / h)
    y, x = (np.arange(n) + 0.5 - n / 2 for n in (h, w))
    picture = np.stack(np.broadcast_arrays(128 + x[None] * factor, 128 + y[:, None] * factor, 0), -1)
    covered = cover(picture.round().clip(0, 255).astype(np.uint8), size)
    assert covered.shape == (height, width, 3)
    inner = np.s_[4:-4, 4:-4]
    assert covered[..., 0][inner] == pytest.approx(
        np.broadcast_to(128 + np.arange(width) + 0.5 - width / 2, (height, width))[inner], abs=1.6
    )
    assert covered[..., 1][inner] == pytest.approx(
        np.broadcast_to(128 + np.arange(height)[:, None] + 0.5 - height / 2, (height, width))[inner], abs=1.6
    )


def test_a_colour_is_a_picture_of_one_pixel() -> None:
    assert (cover(np.array([[[1, 200, 30]]], np.uint8), (7, 4)) == [1, 200, 30]).all()


def test_the_head_is_gone_and_the_neck_and_all_else_stay() -> None:
    params = mean_params(SIZE)
    picture = draw(params)
    bare = without_heads(picture, [(params, scaling(SIZE, SIZE))])
    points = params.landmarks[0, :468, :2].round().int().numpy()
    x, y = points.T
    skin = np.abs(picture[y, x].astype(int) - (214, 168, 140)).sum(-1) < 30
    assert skin.sum() > 300
    assert (np.ptp(bare[y, x][skin], axis=-1) < 25).all(), "the background is grey, skin is not"
    changed = (bare != picture).any(-1)
    rows = changed.any(1).nonzero()[0]
    assert rows.max() < y.max() + 0.06 * SIZE
    assert not changed[:, :20].any()
    assert not changed[:, -20:].any()


def test_every_head_is_removed_where_it_is() -> None:
    """Two drawings side by side, each in a crop of twice its size."""
    params = mean_params(SIZE)
    half = np.ascontiguousarray(draw(params)[::2, ::2])
    picture = np.concatenate([half, half], 1)
    faces = [(params, similarity(2.0, 0, (-SIZE * i, 0), SIZE)) for i in range(2)]
    one, both = without_heads(picture, faces[:1]), without_heads(picture, faces)
    assert np.array_equal(one[:, 128:], half)
    assert (both[60, [64, 192]] != picture[60, [64, 192]]).any(-1).all()
    tilted = [(apply_edit(params, Edit(roll=0.5)), faces[0][1])]
    assert (without_heads(picture, tilted) != one).any()
