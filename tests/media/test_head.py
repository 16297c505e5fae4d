"""Where a head is in a picture."""

from __future__ import annotations

import torch

from portrayal.media.head import head_mask, pixel_centres
from portrayal.motion.edit import apply_edit
from portrayal.types import Edit
from tests.systems.conftest import mean_params

SIZE = 128


def test_the_head_is_where_the_face_is_and_turns_with_it() -> None:
    params, places = mean_params(SIZE), pixel_centres(torch.Size((SIZE, SIZE)), torch.device("cpu"))
    mask = head_mask(params, places)[0]
    points = params.landmarks[0, :468, :2].round().long()
    assert float(mask[points[:, 1], points[:, 0]].min()) == 1, "all of the face"
    assert float(mask[0].max()) < 1
    assert float(mask[:, 0].max()) == 0
    tilted = head_mask(apply_edit(params, Edit(roll=0.5)), places)[0]
    assert abs(float(tilted.sum() / mask.sum()) - 1) < 0.1, "as large"
    assert float((tilted - mask).abs().mean()) > 0.01
