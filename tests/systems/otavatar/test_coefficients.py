"""What the controller reads: rows worked out by hand, windows with repeated ends."""

import pytest
import torch

from portrayal.errors import InputError
from portrayal.face.camera import (
    FACE_DEPTH,
    FOCAL,
    RADIUS,
    WORLD_UNITS_PER_HEAD_UNIT,
    camera_from_pose,
    head_to_world,
    split_camera,
    world_to_picture,
)
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.topology import MIRROR
from portrayal.systems.otavatar.coefficients import (
    face_coefficients,
    face_square,
    mirror_coefficients,
    own_coefficients,
    square_camera,
    window_frames,
    windows,
)
from tests.data.made_faces import draw_face

SIZE = 128


@pytest.fixture(scope="module")
def params():
    landmarks = torch.stack([torch.from_numpy(draw_face(SIZE, (64 + 4 * t, 62), 32, 0.2 * t)[1]) for t in range(2)])
    return fit_params(load_face_model(), landmarks, width=SIZE, height=SIZE)


def test_rows(params) -> None:
    rows = face_coefficients(params, width=SIZE, height=SIZE, rows=73)
    assert rows.shape == (2, 73)
    assert torch.equal(rows[:, :64], params.expression)
    # Drawn frontal, tilted by 0.2: yaw and pitch stay, roll is the tilt.
    torch.testing.assert_close(rows[1, 66] - rows[0, 66], torch.tensor(0.2), atol=0.02, rtol=0)
    # Moved right by 4 pixels, seen at distance z with a focal length of FOCAL pictures.
    distance = rows[:, 69] + RADIUS
    expected = FOCAL * WORLD_UNITS_PER_HEAD_UNIT * SIZE / 32
    assert distance[0].item() == pytest.approx(expected, rel=0.1)
    moved = 4 / (FOCAL * SIZE) * distance[0]
    torch.testing.assert_close(rows[1, 67] - rows[0, 67], moved, atol=0.01, rtol=0)
    torch.testing.assert_close(face_coefficients(params, width=SIZE, height=SIZE, rows=70), rows[:, :70])


@pytest.mark.parametrize("rows", [70, 73])
def test_a_mirrored_face_has_the_mirrored_rows(rows) -> None:
    landmarks = torch.from_numpy(draw_face(SIZE, (70, 62), 32, 0.2)[1])[None]
    mirrored = landmarks[:, list(MIRROR)] * torch.tensor([-1.0, 1, 1]) + torch.tensor([SIZE, 0.0, 0])
    here, there = (
        face_coefficients(
            fit_params(load_face_model(), points, width=SIZE, height=SIZE), width=SIZE, height=SIZE, rows=rows
        )
        for points in (landmarks, mirrored)
    )
    torch.testing.assert_close(mirror_coefficients(here)[:, 64:], there[:, 64:], atol=5e-3, rtol=0)
    assert (here[:, 64:] - there[:, 64:]).abs().max() > 0.1
    torch.testing.assert_close(mirror_coefficients(mirror_coefficients(here)), here)
    assert bool((mirror_coefficients(here)[:, :64].abs() == here[:, :64].abs()).all())


def test_the_square_brings_the_head_to_the_distance_of_eg3d(params) -> None:
    side, centre = face_square(params.rotation, params.translation, params.scale)
    rows = face_coefficients(params, width=SIZE, height=SIZE, rows=73)
    torch.testing.assert_close(rows[:, 70], (side / SIZE).log())
    torch.testing.assert_close(rows[:, 71:], 2 * centre / SIZE - 1)
    corner = torch.cat([centre - side[:, None] / 2, torch.zeros(2, 1)], 1)
    for i in range(2):
        part = params[i : i + 1]
        shift = part.translation - corner[i : i + 1]
        camera = camera_from_pose(part.rotation, shift, part.scale, width=float(side[i]), height=float(side[i]))
        cam2world, _ = split_camera(camera)
        place = -(cam2world[:, :3, :3].mT @ cam2world[:, :3, 3:])[0, :, 0]
        assert place[2].item() == pytest.approx(RADIUS, abs=1e-4)
        face = head_to_world(torch.tensor([[[0, 0, -FACE_DEPTH]]]))
        torch.testing.assert_close(
            world_to_picture(face, camera, width=1, height=1), torch.full((1, 1, 2), 0.5), atol=1e-4, rtol=0
        )


def test_cameras_tell_how_large_the_picture_is(params) -> None:
    expected = face_coefficients(params, width=SIZE, height=SIZE, rows=73)
    assert torch.equal(own_coefficients(params, rows=73), expected)
    assert torch.equal(own_coefficients(params[1], rows=70), expected[1:, :70]), "frame by frame"
    with pytest.raises(InputError, match="the motion has no cameras"):
        own_coefficients(params.replace(camera=torch.zeros(2, 25)), rows=73)


def test_the_camera_of_the_square_tells_the_rotation_alone(params) -> None:
    place = params.rotation, params.translation, params.scale
    camera = square_camera(*place)
    moved = square_camera(params.rotation, params.translation + torch.tensor([30.0, -12, 0]), 1.7 * params.scale)
    torch.testing.assert_close(camera, moved, atol=1e-5, rtol=0)
    cam2world, _ = split_camera(camera)
    torch.testing.assert_close(cam2world[:, :3, :3], params.rotation.mT * torch.tensor([1.0, -1, -1])[:, None])
    # As the camera of the picture itself, where the square is all of the picture.
    side, centre = face_square(*place)
    whole = params.replace(
        translation=params.translation - torch.cat([centre - side[:, None] / 2, torch.zeros(2, 1)], 1)
    )
    for i in range(2):
        one = whole[i]
        wide = float(side[i])
        own = camera_from_pose(one.rotation, one.translation, one.scale, width=wide, height=wide)
        torch.testing.assert_close(camera[i : i + 1], own, atol=1e-4, rtol=1e-4)


def test_windows_repeat_the_ends() -> None:
    found = windows(torch.arange(5.0)[:, None], frames=27)
    assert found.shape == (5, 1, 27)
    assert found[0, 0].tolist() == [0.0] * 14 + [1, 2, 3] + [4] * 10
    for frame in range(5):
        assert found[frame, 0].tolist() == window_frames(frame, 5)
