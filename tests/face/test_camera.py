"""Cameras: EG3D's numbers, and agreement of the perspective camera with the pose."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portrayal.face.camera import (
    FACE_DEPTH,
    FOCAL,
    FOV_DEG,
    RADIUS,
    camera_from_pose,
    camera_label,
    fov_to_intrinsics,
    head_to_world,
    look_at,
    orbit,
    picture_size,
    split_camera,
    world_to_picture,
)
from portrayal.face.pose import angles_to_rotation, head_to_picture

PARITY = Path(os.environ.get("PORTRAYAL_PARITY", "../shared/parity"))
FRONTAL = torch.diag(torch.tensor([1.0, -1, -1]))


@pytest.mark.skipif(not (PARITY / "eg3d_camera.npz").is_file(), reason=f"the parity fixtures are not at {PARITY}")
def test_parity_with_eg3d():
    manifest = json.loads((PARITY / "eg3d_camera.json").read_text())
    with np.load(PARITY / "eg3d_camera.npz") as arrays:
        fixture = {name: torch.from_numpy(arrays[name]) for name in arrays}
    limits = {o["name"]: {"atol": o["atol"], "rtol": o["rtol"]} for o in manifest["outputs"]}
    settings = manifest["configuration"]
    mine = orbit(fixture["in.h"], fixture["in.v"], radius=settings["radius"], target=torch.tensor(settings["lookat"]))
    torch.testing.assert_close(mine, fixture["out.cam2world"], **limits["cam2world"])
    intrinsics = fov_to_intrinsics(settings["fov_degrees"])
    torch.testing.assert_close(intrinsics, fixture["out.intrinsics_fov_18.837"], **limits["intrinsics_fov_18.837"])


def test_the_frontal_camera():
    level = torch.tensor([math.pi / 2])
    (cam2world,) = orbit(level, level)
    expected = torch.tensor([0, 0, RADIUS])
    torch.testing.assert_close(cam2world[:3, :3], FRONTAL, atol=1e-6, rtol=0)
    torch.testing.assert_close(cam2world[:3, 3], expected, atol=1e-6, rtol=0)
    side = orbit(level + 0.5, level)[0, :3, 3]
    above = orbit(level, level - 0.5)[0, :3, 3]
    assert side[0] > 0.5
    assert above[1] > 0.5
    assert fov_to_intrinsics(FOV_DEG)[0, 0].item() == pytest.approx(FOCAL, abs=2e-3)


def test_look_at_centres_its_target():
    origin, target = torch.tensor([[1.0, 2, 3]]), torch.tensor([[-0.3, 0.2, 0.1]])
    camera = camera_label(look_at(origin, target), fov_to_intrinsics(FOV_DEG))
    up = torch.tensor([[[0, 0.1, 0]]])
    points = torch.cat([target[:, None], target[:, None] + up], 1)
    seen = world_to_picture(points, camera, width=200, height=100)
    torch.testing.assert_close(seen[0, 0], torch.tensor([100.0, 50.0]), atol=1e-3, rtol=0)
    assert seen[0, 1, 1] < 50  # up in the world is up in the picture
    cam2world, intrinsics = split_camera(camera)
    torch.testing.assert_close(camera_label(cam2world, intrinsics), camera)


def test_a_centred_frontal_head_gives_the_frontal_camera():
    scale = torch.tensor([180.0])
    camera = camera_from_pose(
        torch.eye(3)[None], torch.tensor([[256.0, 256, 9]]), scale, width=512, height=512, radius=RADIUS
    )
    cam2world, intrinsics = split_camera(camera)
    torch.testing.assert_close(cam2world[0, :3, :3], FRONTAL)
    torch.testing.assert_close(cam2world[0, :3, 3], torch.tensor([0, 0, RADIUS]))
    torch.testing.assert_close(intrinsics[0, [0, 1, 0, 1], [0, 1, 2, 2]], torch.tensor([FOCAL, FOCAL, 0.5, 0.5]))


angles = st.floats(-1.2, 1.2)


@settings(max_examples=30, deadline=None)
@given(angles, angles, angles, st.floats(40, 300), st.floats(50, 600), st.floats(50, 400))
def test_the_camera_shows_the_face_where_the_picture_does(yaw, pitch, roll, scale, x, y):
    rotation = angles_to_rotation(torch.tensor([[yaw, pitch, roll]]))
    pose = torch.tensor([scale]), rotation, torch.tensor([[x, y, 0.0]])
    camera = camera_from_pose(rotation, pose[2], pose[0], width=640, height=480)
    in_plane = torch.tensor([[0.0, 0, 0], [0.4, 0, 0], [0, -0.7, 0], [-0.5, 0.3, 0]]) @ rotation[0]
    points = in_plane + torch.tensor([0, 0, -FACE_DEPTH])
    expected = head_to_picture(points[None], *pose)[..., :2]
    seen = world_to_picture(head_to_world(points)[None], camera, width=640, height=480)
    torch.testing.assert_close(seen, expected, atol=0.05, rtol=1e-4)
    assert picture_size(camera, pose[0]) == pytest.approx((640, 480), rel=1e-3)


def test_a_turned_head_is_an_orbiting_camera(model):
    """Turning the head by R about its origin keeps the distance and turns the camera by R^-1."""
    turn = angles_to_rotation(torch.tensor([[0.5, -0.3, 0.2]]))
    at = torch.tensor([[256.0, 256, 0]]), torch.tensor([150.0])
    straight = split_camera(camera_from_pose(torch.eye(3)[None], *at, width=512, height=512, radius=RADIUS))[0][0]
    turned = split_camera(camera_from_pose(turn, *at, width=512, height=512, radius=RADIUS))[0][0]
    world_turn = FRONTAL @ turn[0] @ FRONTAL
    torch.testing.assert_close(turned[:3, :3], world_turn.T @ straight[:3, :3], atol=1e-5, rtol=0)
    offset = (turned[:3, 3] - world_turn.T @ straight[:3, 3]).norm()
    assert offset < 0.05 * RADIUS  # the middle of the face, not the origin, keeps its depth


def test_no_camera_no_size():
    assert picture_size(torch.zeros(2, 25), torch.ones(2)) is None
