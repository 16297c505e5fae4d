"""Depths as grey pictures: what the values mean, where they lie, and the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from portrayal.errors import InputError
from portrayal.face.camera import METRES_PER_WORLD_UNIT
from portrayal.media.crop import Crop, scaling
from portrayal.media.depth import MEANING, PlacedDepth, as_rgb, depth_picture, write_depth
from portrayal.types import Depth

SIZE = 16


def placed(metres: float, *, crop: Crop, opacity: float = 1.0, mask: float = 1.0) -> PlacedDepth:
    flat = torch.ones(1, 1, crop.size, crop.size)
    seen = Depth(flat * metres / METRES_PER_WORLD_UNIT, flat * opacity)
    return PlacedDepth(seen, crop, np.full((crop.size, crop.size), mask, np.float32))


def test_nearest_is_bright_and_nothing_is_black() -> None:
    whole = scaling(SIZE, SIZE)
    for metres, value in ((0.15, 65535), (0.3, 65535), (0.025, 32768), (-0.1, 1), (-0.5, 1)):
        grey = depth_picture([placed(metres, crop=whole)], (SIZE, SIZE))
        assert grey.dtype == np.uint16
        assert np.abs(grey.astype(int) - value).max() <= 1
    for hidden in ({"opacity": 0.4}, {"mask": 0.4}, {"opacity": 0.7, "mask": 0.7}):
        assert not depth_picture([placed(0.1, crop=whole, **hidden)], (SIZE, SIZE)).any()


def test_faces_lie_where_their_crops_are_and_the_nearest_counts() -> None:
    right = Crop(np.array([[0.5, 0, -8], [0, 0.5, 0]]), 8)  # pixels 16 to 31
    grey = depth_picture([placed(0.05, crop=right)], (32, SIZE))
    assert grey.shape == (SIZE, 32)
    assert not grey[:, :15].any()
    assert (grey[2:-2, 18:-2] == grey[8, 24]).all()
    both = depth_picture([placed(0.05, crop=right), placed(0.1, crop=right)], (32, SIZE))
    assert both[8, 24] > grey[8, 24]


def test_the_file_has_16_bits_and_says_what_they_mean(tmp_path: Path) -> None:
    grey = np.arange(SIZE * SIZE, dtype=np.uint16).reshape(SIZE, SIZE) * 255
    write_depth(tmp_path / "new" / "a--depth.png", grey)
    with Image.open(tmp_path / "new" / "a--depth.png") as picture:
        assert np.array_equal(np.asarray(picture), grey)
        assert picture.info["Description"] == MEANING
    assert as_rgb(grey)[-1, -1].tolist() == [254] * 3
    (tmp_path / "blocked").write_text("a file")
    with pytest.raises(InputError, match="blocked"):
        write_depth(tmp_path / "blocked" / "a--depth.png", grey)
