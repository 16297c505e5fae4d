"""Aligned faces are the same in a training in half precision."""

import torch

from portrayal.face.align import align
from portrayal.face.pose import fit_similarity
from portrayal.nn.mobilefacenet import ALIGNED_POINTS, INPUT_SIZE


def test_autocast_moves_no_pixel():
    torch.manual_seed(0)
    images, targets = torch.rand(2, 3, 200, 200), torch.tensor(ALIGNED_POINTS)
    points = targets * 1.3 + torch.rand(2, len(targets), 2) * 4 + 20
    wanted = align(images, points, targets, INPUT_SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(align(images, points, targets, INPUT_SIZE), wanted)
        scale, rotation, translation = fit_similarity(targets.expand_as(points), points)
    moved = scale[:, None, None] * targets @ rotation.mT + translation[:, None]
    assert float((moved - points).norm(dim=-1).max()) < 4
    assert rotation.dtype == torch.float32
