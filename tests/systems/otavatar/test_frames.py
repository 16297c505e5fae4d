"""Faces with cameras: what the camera sees is where the picture shows it."""

import numpy as np
import pytest
import torch

from portrayal.data.shot import Shot
from portrayal.face.camera import RADIUS, head_to_world, mirror_camera, split_camera, world_to_picture
from portrayal.face.morphable import load_face_model
from portrayal.systems.otavatar.frames import FaceFrames, frame_face
from tests.data.made_faces import draw_face, make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data") / "faces", frames=4)


def shot(*, roll: float = 0.0, scale: float = 32.0) -> Shot:
    picture, points = draw_face(128, (70, 58), scale, roll)
    turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]], np.float32)
    return Shot(picture, points, turn, np.array([70, 58, 0], np.float32), scale)


@pytest.mark.parametrize("framing", [1.0, 1.3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_camera_sees_the_head_where_the_picture_shows_it(mirrored: bool, framing: float) -> None:
    drawn = shot(roll=0.3).mirrored() if mirrored else shot(roll=0.3)
    face, camera = frame_face(drawn, 96, framing=framing)
    mean = load_face_model().mean
    # The camera agrees with the flat pose in the plane of the face's middle; perspective moves the rest a little.
    seen = world_to_picture(head_to_world(mean)[None], camera[None], width=96, height=96)[0]
    error = (seen - torch.from_numpy(face.landmarks[:, :2])).norm(dim=1)
    assert error.median() < 2
    assert error.max() < 8
    assert split_camera(camera)[0][:3, 3].norm() == pytest.approx(RADIUS, abs=0.05)


def test_the_picture_is_cut_where_its_landmarks_say() -> None:
    face, _ = frame_face(shot(scale=44), 192)
    x, y = face.landmarks[[468, 473], :2].astype(int).T
    irises = face.picture[y, x].astype(int)
    assert (irises.sum(1) < 250).all()  # drawn dark in white eyes
    near = face.picture[y, x + 9].astype(int)
    assert (near.sum(1) > 400).all()


def test_samples(folder) -> None:
    data = FaceFrames(folder, "train", size=32, seed=0, samples=8, photo_share=0.5)
    samples = [data[i] for i in range(8)]
    assert {tuple(s["picture"].shape) for s in samples} == {(3, 32, 32)}
    assert all(s["picture"].dtype == torch.uint8 and s["camera"].shape == (25,) for s in samples)
    again = FaceFrames(folder, "train", size=32, seed=0, samples=8, photo_share=0.5)[3]
    assert all(torch.equal(again[name], value) for name, value in samples[3].items())
    assert len({tuple(s["camera"].tolist()) for s in samples}) > 4


def test_a_wider_square_has_more_around_the_same_face() -> None:
    plain, _ = frame_face(shot(), 96)
    wide, _ = frame_face(shot(), 96, framing=1.5)
    torch.testing.assert_close(
        torch.from_numpy(wide.landmarks[:, :2] - 48), torch.from_numpy(plain.landmarks[:, :2] - 48) / 1.5
    )


def test_pairs_show_the_same_person_from_another_place(folder) -> None:
    def sample(photo_share: float) -> dict[str, torch.Tensor]:
        return FaceFrames(folder, "train", size=32, seed=0, samples=8, photo_share=photo_share, pairs=True)[3]

    photo, clip = sample(1.0), sample(0.0)
    assert set(photo) == {f"{role}{name}" for role in ("", "other_") for name in ("picture", "camera", "landmarks")}
    torch.testing.assert_close(photo["other_camera"], mirror_camera(photo["camera"]), atol=1e-4, rtol=0)
    off = (photo["other_picture"].flip(-1).float() - photo["picture"].float()).abs().mean()
    assert float(off) < 3, "a mirror's picture, cut out anew"
    assert not torch.equal(clip["other_picture"], clip["picture"])
    for drawn in (photo, clip):
        irises = drawn["other_landmarks"][[468, 473]]
        assert bool(((irises > 4) & (irises < 28)).all())


def test_photos_come_as_often_as_asked(folder, monkeypatch) -> None:
    data = FaceFrames(folder, "train", size=32, seed=0, samples=60, photo_share=0.3)
    drawn = []
    read = data.photos.draw
    monkeypatch.setattr(data.photos, "draw", lambda photo, rng: drawn.append(photo) or read(photo, rng))
    for i in range(60):
        data[i]
    assert 8 <= len(drawn) <= 28
