"""From depths along rays to how near a head is, and to other pixels."""

from __future__ import annotations

import torch

from portrayal.face.camera import camera_from_pose, split_camera
from portrayal.face.pose import angles_to_rotation
from portrayal.nn.rendering.depth import depth_map, enlarge_depth, resample_depth
from portrayal.nn.rendering.rays import camera_rays
from portrayal.types import Depth

SIDE = 8


def camera(*, yaw: float = 0.0, scale: float = 0.3) -> torch.Tensor:
    """(1, 25) of a head in the middle of a picture of side 1; `scale` is its size."""
    rotation = angles_to_rotation(torch.tensor([[yaw, 0.0, 0.0]]))
    return camera_from_pose(rotation, torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([scale]), width=1, height=1)


def test_a_plane_across_the_view_is_everywhere_as_near() -> None:
    """The world's z points at the frontal camera; how far away that is does not matter."""
    for scale in (0.3, 0.1):
        view = camera(scale=scale)
        origins, directions = camera_rays(view, height=SIDE, width=SIDE)
        depth = (0.2 - origins[..., 2]) / directions[..., 2]
        seen = depth_map(depth.unflatten(1, (SIDE, SIDE)), torch.ones(1, SIDE, SIDE), view)
        assert seen.nearness.shape == seen.opacity.shape == (1, 1, SIDE, SIDE)
        torch.testing.assert_close(seen.nearness, torch.full((1, 1, SIDE, SIDE), 0.2), atol=1e-5, rtol=0)


def test_a_turned_head_is_measured_along_the_camera() -> None:
    """The head's origin itself is at 0 from everywhere."""
    view = camera(yaw=0.5)
    origin = split_camera(view)[0][:, :3, 3]
    seen = depth_map(origin.norm(dim=-1).expand(1, 1, 1), torch.ones(1, 1, 1), view)
    torch.testing.assert_close(seen.nearness, torch.zeros(1, 1, 1, 1), atol=2e-3, rtol=0)


def test_borders_do_not_mix_what_is_seen_with_what_is_not() -> None:
    seen = Depth(torch.tensor([[[[0.2, -9.0]]]]), torch.tensor([[[[1.0, 0.0]]]]))
    middle = resample_depth(seen, torch.zeros(1, 1, 1, 2))
    torch.testing.assert_close(middle.nearness, torch.full((1, 1, 1, 1), 0.2))
    torch.testing.assert_close(middle.opacity, torch.full((1, 1, 1, 1), 0.5))
    wide = enlarge_depth(Depth(seen.nearness.expand(-1, -1, 2, -1), seen.opacity.expand(-1, -1, 2, -1)), 6)
    torch.testing.assert_close(wide.opacity[0, 0, 3], torch.tensor([1, 1, 2 / 3, 1 / 3, 0, 0]))
    torch.testing.assert_close(wide.nearness[0, 0, 3, :4], torch.full((4,), 0.2))
