"""What a portrait from the side hides of a face, in what somebody else draws of it."""

from __future__ import annotations

import torch

from portrayal.media.image import to_tensor
from portrayal.systems.other_half import OtherHalf
from portrayal.systems.portrait_mesh import PortraitMesh
from portrayal.types import FaceParams, Portrait
from tests.systems.conftest import SIZE, mean_params
from tests.systems.test_meshwarp import turned
from tests.systems.test_meshwarp_twin import drawn, halves


def test_the_hidden_half_is_that_of_the_portrait_and_the_rest_is_as_drawn() -> None:
    ahead = mean_params(SIZE)
    aside = turned(ahead, yaw=50.0)
    half, grey = OtherHalf(PortraitMesh(Portrait(to_tensor(drawn(aside)), aside))), torch.full((2, 3, SIZE, SIZE), 0.5)
    still, filled = half.fill(grey, FaceParams.cat([aside, ahead])).split(1)
    assert torch.equal(still, grey[:1]), "which shows no more than the portrait"
    near, far = halves(ahead)
    if aside.landmarks[0, 454, 2] < aside.landmarks[0, 234, 2]:
        near, far = far, near
    changed = (filled - 0.5).abs().amax((0, 1)).numpy() > 0.02
    assert changed[far].mean() > 0.5
    assert changed[near].mean() < 0.05
    truth = to_tensor(drawn(ahead))
    taken = far & changed
    assert (filled - truth).abs().mean((0, 1)).numpy()[taken].mean() < 0.1


def test_a_portrait_that_looks_ahead_hides_nothing() -> None:
    ahead = mean_params(SIZE)
    frames = torch.rand(2, 3, SIZE, SIZE)
    params = FaceParams.cat([turned(ahead, yaw=30.0), turned(ahead, yaw=-30.0)])
    assert OtherHalf(PortraitMesh(Portrait(torch.rand(1, 3, SIZE, SIZE), ahead))).fill(frames, params) is frames
